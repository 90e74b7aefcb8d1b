"""The one primitive of revocation: cut every stream that a cause touches, unless its right still holds (D-14).

Causes come as effects. Each is one line in ``AppConfig.ready``; the cut is made after the commit, and whoever asked
for the change is answered only when every live relay has confirmed it.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from cmdop_server.access import effects
from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Refused
from cmdop_server.relay import authority
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.streams import Holder, Stream
from cmdop_wire.frames import CloseCode
from cmdop_wire.vocab import ErrorCode

PATIENCE = 2.0  # seconds for the confirmation; beyond it the answer is 503 and the revocation stands


@dataclass(frozen=True, slots=True)
class Cut:
    """What ends, and why. A stream is touched when everything that is given here matches.

    ``is_final``: the credential or machine is dead, nothing needs to be asked; else the right is decided anew.
    """

    reason: str
    workspace_id: str | None = None
    account_id: str | None = None
    credential_id: str | None = None  # key_…, fam_… or sig_…
    machine_id: str | None = None
    session_id: str | None = None
    is_final: bool = True
    ends_link: bool = False
    keeps_streams: bool = False  # the machine comes back with another credential, and they with it
    code: CloseCode = CloseCode.AUTH

    def touches(self, stream: Stream, holder: Holder) -> bool:
        """Tell whether this holder of this stream is meant."""
        actor = holder.actor
        return (
            self.workspace_id in (None, stream.workspace_id)
            and self.account_id in (None, actor.account_id)
            and (self.credential_id is None or self.credential_id in (actor.credential_id, actor.sign_in_id))
            and self.machine_id in (None, stream.machine_id)
            and self.session_id in (None, stream.id)
        )


# Effect → the cut that it means. One line a cause.
CAUSES: dict[type[effects.Effect], Callable[..., Cut]] = {
    effects.CredentialRevoked: lambda e: Cut(e.cause, credential_id=e.credential_id),
    effects.MemberRemoved: lambda e: Cut("member_removed", workspace_id=e.workspace_id, account_id=e.account_id),
    effects.RoleChanged: lambda e: Cut(
        "role_lowered", e.workspace_id, e.account_id, is_final=False, code=CloseCode.FORBIDDEN
    ),
    effects.MachineRemoved: lambda e: Cut(
        "machine_removed", machine_id=e.machine_id, ends_link=True, code=CloseCode.GONE
    ),
    effects.MachineMoved: lambda e: Cut("machine_moved", machine_id=e.machine_id, ends_link=True, code=CloseCode.GONE),
    effects.MachineCredentialChanged: lambda e: Cut(
        "machine_replaced" if e.is_replaced else "credential_changed",
        machine_id=e.machine_id,
        ends_link=True,
        keeps_streams=not e.is_replaced,
    ),
    effects.SessionTerminated: lambda e: Cut("ended_by_admin", session_id=e.session_id, code=CloseCode.POLICY),
}


class Fence:
    """Carries cuts from the threads that commit them to the event loop that holds the streams."""

    def __init__(self) -> None:
        self._hub: Hub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, hub: Hub) -> None:
        """Name the relay of this process; to be called in its event loop."""
        self._hub, self._loop = hub, asyncio.get_running_loop()

    def unbind(self) -> None:
        """The relay of this process is gone, with every stream."""
        self._hub = self._loop = None

    def cut(self, cut: Cut) -> None:
        """Make a cut and wait for its confirmation; ``Refused`` with ``unavailable`` when there was none in time."""
        if self._hub is None or self._loop is None:
            return
        done = asyncio.run_coroutine_threadsafe(apply(self._hub, cut), self._loop)
        try:
            done.result(PATIENCE)
        except concurrent.futures.TimeoutError:
            raise Refused(
                ErrorCode.UNAVAILABLE,
                "the change stands, but the relay has not confirmed that every stream is closed",
                hint="ask again in a few seconds",
                retry_after=2,
            ) from None


async def apply(hub: Hub, cut: Cut) -> None:
    """Close what the cut touches. On return no further byte of it reaches a shell."""
    touched = [(stream, holder) for stream, holder in hub.holders() if cut.touches(stream, holder)]
    if cut.keeps_streams:
        pass
    elif cut.is_final:
        for stream, holder in touched:
            end(hub, stream, holder, cut)
    else:
        await asyncio.gather(*(_decide_anew(hub, stream, holder, cut) for stream, holder in touched))
    if cut.ends_link and cut.machine_id in hub.links:
        link = hub.links[cut.machine_id]
        hub.detach(link)
        link.close(cut.code, cut.reason)


async def _decide_anew(hub: Hub, stream: Stream, holder: Holder, cut: Cut) -> None:
    question = holder.question = asyncio.Event()  # input waits while it is open
    try:
        if not await authority.ask(authority.may_still, holder.actor, stream.machine_id, holder.action):
            end(hub, stream, holder, cut)
    except Exception:
        end(hub, stream, holder, cut)  # it cannot be told: deny
        raise
    finally:
        if holder.question is question:
            holder.question = None
        question.set()


def end(hub: Hub, stream: Stream, holder: Holder, cut: Cut) -> None:
    """Close one holder's end: an operator's takes the stream with it, an observer's only their view."""
    if holder is stream.operator:
        hub.finish(stream, cut.reason, cut.code)
    else:
        holder.end(cut.reason, cut.code)


fence = Fence()


def register() -> None:
    """Hang a cut on every effect that means one; run from ``AppConfig.ready``."""
    for effect, cut_of in CAUSES.items():
        effects.on(effect, _after_commit(cut_of))


def _after_commit(cut_of: Callable[..., Cut]) -> Callable[[effects.Effect], None]:
    def cut_after_commit(effect: effects.Effect) -> None:
        cut = cut_of(effect)
        transaction.on_commit(lambda: fence.cut(cut))

    return cut_after_commit


__all__ = ["Actor", "Cut", "Fence", "apply", "fence", "register"]
