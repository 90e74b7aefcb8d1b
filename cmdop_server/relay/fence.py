"""The one primitive of revocation: cut every stream that a cause touches, unless its right still holds (D-14).

Causes come as effects. Each is one line in ``AppConfig.ready``; the cut is made after the commit, and whoever asked
for the change is answered only when every live relay has confirmed it.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.conf import settings
from django.db import transaction

from cmdop_server.access import effects
from cmdop_server.access.errors import Refused
from cmdop_server.relay import authority
from cmdop_server.relay.cuts import CAUSES, Cut
from cmdop_server.relay.doorway import knock
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.streams import Holder, Stream
from cmdop_wire.frames import CloseCode
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds for the confirmation; beyond it the answer is 503 and the revocation stands

_messengers = ThreadPoolExecutor(4, thread_name_prefix="fence")  # to a relay in another process


class _Turn(threading.local):
    """What the thread's present transaction cut: who was announced last waits for all of it, once."""

    latest: object | None = None
    under_way: "list[Future[bool]]"

    def __init__(self) -> None:
        self.under_way = []


class Fence:
    """Carries cuts from the threads that commit them to the relay: in this process, or behind its private socket."""

    def __init__(self) -> None:
        self._hub: Hub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = _Turn()

    def bind(self, hub: Hub) -> None:
        """Name the relay of this process; to be called in its event loop."""
        self._hub, self._loop = hub, asyncio.get_running_loop()

    def unbind(self) -> None:
        """The relay of this process is gone, with every stream."""
        self._hub = self._loop = None

    def after_commit(self, cut: Cut) -> None:
        """Make a cut when the transaction commits, and let its caller go on when every cut of it is confirmed.

        All of them are handed over before anybody waits, so one that is not confirmed keeps no other from being made.
        ``Refused`` with ``unavailable`` when a confirmation did not come in time.
        """
        mine = self._turn.latest = object()

        def made() -> None:
            self._turn.under_way.append(self._hand_over(cut))
            if self._turn.latest is mine:
                self._confirm()

        transaction.on_commit(made)

    def _hand_over(self, cut: Cut) -> "Future[bool]":
        if self._hub is None or self._loop is None:
            return _messengers.submit(knock, settings.DATA_DIR, cut, PATIENCE)
        return asyncio.run_coroutine_threadsafe(apply(self._hub, cut), self._loop)

    def _confirm(self) -> None:
        under_way, self._turn.under_way = self._turn.under_way, []
        done, late = concurrent.futures.wait(under_way, PATIENCE)
        if late or not all(each.result() for each in done):
            raise Refused(
                ErrorCode.UNAVAILABLE,
                "the change stands, but the relay has not confirmed that every stream is closed",
                hint="ask again in a few seconds",
                retry_after=2,
            )


async def apply(hub: Hub, cut: Cut) -> bool:
    """Close what the cut touches. On return, which is always ``True``, no further byte of it reaches a shell."""
    hub.cuts += 1
    touched = [(stream, holder) for stream, holder in hub.holders() if cut.touches(stream, holder)]
    if cut.keeps_streams:
        pass
    elif cut.is_final:
        for _, holder in touched:  # before the end of one takes others with it, to whom a word of farewell is said then
            holder.cut()
        for stream, holder in touched:
            end(hub, stream, holder, cut)
    else:
        await asyncio.gather(*(_decide_anew(hub, stream, holder, cut) for stream, holder in touched))
    if cut.ends_link and cut.machine_id in hub.links:
        link = hub.links[cut.machine_id]
        hub.detach(link)
        if not cut.comes_back:
            link.socket.cut()
        link.close(CloseCode.GOING_AWAY if cut.comes_back else cut.code, cut.reason)
    return True


async def _decide_anew(hub: Hub, stream: Stream, holder: Holder, cut: Cut) -> None:
    question = holder.question = asyncio.Event()  # input waits while it is open
    try:
        if not await authority.ask(authority.may_still, holder.actor, stream.machine_id, holder.action):
            end(hub, stream, holder, cut)
    except Exception:
        log.exception("a right cannot be read; it is taken as gone")
        end(hub, stream, holder, cut)
    finally:
        if holder.question is question:
            holder.question = None
        question.set()


def end(hub: Hub, stream: Stream, holder: Holder, cut: Cut) -> None:
    """Close one holder's end: an operator's takes the stream with it, an observer's only their view."""
    holder.cut()
    if holder is stream.operator:
        hub.finish(stream, cut.reason, cut.code, is_personal=bool(cut.account_id or cut.credential_id))
    else:
        holder.end(cut.reason, cut.code)


fence = Fence()


def register() -> None:
    """Hang a cut on every effect that means one; run from ``AppConfig.ready``."""
    for effect, cut_of in CAUSES.items():
        effects.on(effect, _after_commit(cut_of))


def _after_commit(cut_of: Callable[..., Cut]) -> Callable[[effects.Effect], None]:
    def cut_after_commit(effect: effects.Effect) -> None:
        fence.after_commit(cut_of(effect))

    return cut_after_commit


__all__ = ["Fence", "apply", "end", "fence", "register"]
