"""Letting somebody in while rights may end: asked again until no cut was made meanwhile.

A cut misses a stream that is not there yet. What a caller does with an answer of these must not wait for anything, else
it has to ask again (D-14).
"""

from cmdop_server.relay import authority
from cmdop_server.relay.authority import Admitted, Caller, ask
from cmdop_server.relay.hub import Hub
from cmdop_wire.vocab import Action


async def let_in(hub: Hub, caller: Caller, machine: str, action: Action) -> Admitted:
    """Return what the door says when no cut was made meanwhile."""
    while True:
        before = hub.cuts
        admitted = await ask(authority.admit, caller, machine, action)
        if hub.cuts == before:
            return admitted


async def still_open(hub: Hub, caller: Caller, session_id: str, secret: str) -> None:
    """Do the same for a session that is written down: somebody may have ended it meanwhile."""
    while True:
        before = hub.cuts
        machine_id = await ask(authority.resumable_session, caller, session_id, secret)
        await ask(authority.admit, caller, machine_id, Action.SESSION_OPERATE)
        if hub.cuts == before:
            return
