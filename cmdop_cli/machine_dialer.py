"""Streams to machines, opened as a call resolves. No HTTP client is loaded for one unless a token must be renewed."""

from pathlib import Path
from typing import TYPE_CHECKING

from cmdop_cli.credentials import client, client_options
from cmdop_sdk.dialing import Dialer, Purpose, Target, Ticketed, Tickets

if TYPE_CHECKING:
    from cmdop_cli.context import Call


async def dialer(call: "Call") -> Dialer:
    """Return what opens streams with the credential of ``call``, in its workspace and nowhere else."""
    call.check_credential()
    key = call.resolution.key
    return await _with_sign_in(call) if key is None else _with_key(call, key.key.text)


def _with_key(call: "Call", text: str) -> Dialer:
    from cmdop_sdk.auth import KeyCredential
    from cmdop_sdk.bearers import KeyBearer

    origin = call.server.origin
    bearer = KeyBearer(KeyCredential.from_text(text, origin), origin)
    return Dialer(_target(call, origin), bearer, tickets=_tickets(call))


async def _with_sign_in(call: "Call") -> Dialer:
    from cmdop_cli.stored_sign_ins import stored_sign_in, token_source
    from cmdop_sdk.bearers import PairBearer, refresh_over_http

    stored = await stored_sign_in(call, call.workspace())
    bearer = PairBearer(
        token_source(call, stored),
        refresh_over_http(stored.origin, stored.mode, **client_options(call, stored.origin)),
        origin=stored.origin,
        mode=stored.mode,
        workspace=stored.workspace_id,
    )
    return Dialer(_target(call, stored.origin), bearer, tickets=_tickets(call))


def _tickets(call: "Call") -> Tickets:
    async def ticket(purpose: Purpose) -> Ticketed:
        # Only where the relay has an address of its own: this loads the HTTP client.
        async with client(call) as asked:
            return await asked.stream_ticket(purpose)

    return ticket


def _target(call: "Call", origin: str) -> Target:
    trust = client_options(call, origin)
    authority = trust.get("ca_file")
    return Target(origin, None if authority is None else Path(authority), trust.get("ca_pin"))
