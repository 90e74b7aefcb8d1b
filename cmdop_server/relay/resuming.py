"""A stream is taken up again by whoever was lost: with the secret of OPENED, within the grace, also after a restart."""

import asyncio
import contextlib
from typing import Any

from cmdop_server.access.errors import Refused
from cmdop_server.relay import authority
from cmdop_server.relay.admitting import let_in, still_open
from cmdop_server.relay.authority import Caller, ask
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.streams import Holder, Stream
from cmdop_wire.frames import LIMITS, Malformed
from cmdop_wire.vocab import Action, ErrorCode


async def to_resume(hub: Hub, caller: Caller, body: dict[str, Any]) -> tuple[Stream, dict[str, int]]:
    """Return the stream that RESUME asks for, and what was received of it; ``Refused`` when it is not the caller's.

    It is true until the caller of this waits for anything, as with ``let_in``.
    """
    stream_id, received = str(body.get("stream_id", "")), body.get("received")
    if not isinstance(received, dict) or not all(type(count) is int and count >= 0 for count in received.values()):
        raise Malformed("RESUME tells how much was received")
    secret = str(body.get("resume", ""))
    stream = hub.streams.get(stream_id) or await _restored(hub, caller, stream_id, secret, received)
    if not stream.is_resumed_by(caller.actor, secret):
        raise _ended()
    await let_in(hub, caller, stream.machine_id, stream.operator.action)
    if stream.id not in hub.streams or stream.operator.is_fenced:
        raise _ended()
    return stream, received


async def _restored(hub: Hub, caller: Caller, stream_id: str, secret: str, received: dict[str, int]) -> Stream:
    """Return a session that outlived a restart of the relay: its row stands, and its machine still has it."""
    machine_id = await ask(authority.resumable_session, caller, stream_id, secret)
    with contextlib.suppress(TimeoutError):  # the machine may come back a moment later than the person
        async with asyncio.timeout(LIMITS.grace):
            while machine_id not in hub.links:
                await hub.news()
    await still_open(hub, caller, stream_id, secret)  # before there is a stream to clean up
    link = hub.links.get(machine_id)
    if link is None or stream_id not in link.surviving:
        raise _ended()
    existing = hub.streams.get(stream_id)
    if existing is not None:
        return existing
    holder = Holder(caller.actor, Action.SESSION_OPERATE, None)
    stream = Stream(stream_id, "session", machine_id, link.machine.workspace_id, holder)
    stream.resume_secret = secret
    stream.restore(received)
    hub.streams[stream_id] = hub.leases[machine_id] = stream
    hub.closed_by_operator(stream, was_clean=False)  # nobody holds it yet; it ends if nobody does
    return stream


def _ended() -> Refused:
    return Refused(ErrorCode.GONE, "it has ended meanwhile")
