"""``cmdop connect sessions | end``: who is or was on which machine, and ending it (D-26)."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import ErrorCode, SessionState

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import Session
    from cmdop_sdk.models import Page

ON_A_TERMINAL, IN_A_PIPE = 50, 10_000  # as for events: history grows without end
COLUMNS = (
    Column("id", kind="id"),
    Column("machine.hostname", "machine"),
    Column("operator.label", "operator"),
    Column("state"),
    Column("opened_at", "opened", "time"),
    Column("ended_at", "ended", "time"),
    Column("end_reason", "why"),
    Column("observers", kind="number"),
)
# What fits a terminal; a session without an end runs now.
_SHOWN = (*COLUMNS[:3], Column("opened_at", "opened", "ago"), Column("end_reason", "ended"))


@verb(needs="workspace")
def list_sessions(
    ctx: Ctx,
    machine: Annotated[
        str | None, typer.Option("--machine", help="only on this one: id, exact hostname or exact name")
    ] = None,
    active: Annotated[bool, typer.Option("--active", help="only those that run now")] = False,
) -> Listing:
    """List sessions, newest first.

    Who was on which machine, when, and why it ended. At most 50 on a terminal and 10000 in a pipe, unless --limit is
    given.

    cmdop connect sessions --active
    cmdop connect sessions --machine web-1 --json
    """
    call = ctx.call
    limit = call.options.limit or (ON_A_TERMINAL if call.output.form == "table" else IN_A_PIPE)

    async def listed(client: "AsyncCMDOPClient") -> "Page[Session]":
        return await client.sessions.list(machine=machine, active=active or None).first(limit)

    from cmdop_cli import unreached

    with nullcontext() if machine is None else unreached.explained(call, machine):
        page = call.ask(listed)
    return Listing(
        "session",
        page.items,
        columns=_SHOWN,
        piped=COLUMNS,
        empty=f"no {'' if machine is None and not active else 'such '}sessions in {call.resolution.why}",
        next=page.next,
    )


@verb(needs="workspace", mutates=True)
def end(
    ctx: Ctx,
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help="a session's id, or the machine that it runs on, exactly")
    ],
) -> Record:
    """End a session, at once.

    One's own, or as an owner or admin anybody's. Its shell and what runs in it are ended, and everybody who watches is
    told.

    cmdop connect end ses_5w3r8x0m2n4p6q8s0t1v
    cmdop connect end web-1 --yes
    """
    call = ctx.call
    found = _found(call, session)
    if call.is_dry_run:
        return Record("session", found, columns=COLUMNS, planned=True)
    if found.state == SessionState.ENDED:
        call.note(f"{found.id} has ended already")
        return Record("session", found, columns=COLUMNS)
    if call.identity is None or found.operator.id != call.identity.account_id:
        call.confirm(
            f"end the session of {found.operator.label} on {found.machine.hostname}?",
            affects=["their shell ends now, with everything that runs in it"],
        )
    ended = call.ask(lambda client: client.sessions.terminate(found.id))
    call.note(f"ended {ended.id} of {ended.operator.label} on {ended.machine.hostname}, in {call.resolution.why}")
    return Record("session", ended, columns=COLUMNS)


def _found(call: "Call", ref: str) -> "Session":
    from cmdop_cli import unreached
    from cmdop_sdk.errors import NotFound

    if is_id(ref, "session"):
        try:
            return call.ask(lambda client: client.sessions.show(ref))
        except NotFound as unknown:
            unknown.message, unknown.hint = f"no such session: {ref}", "cmdop connect sessions"
            raise
    with unreached.explained(call, ref):
        active = call.ask(lambda client: client.terminal.get_active_session(ref))
    if active is None:
        raise Failure(
            ErrorCode.NOT_FOUND, f"there is no active session on {ref}", hint=f"cmdop connect sessions --machine {ref}"
        )
    return active
