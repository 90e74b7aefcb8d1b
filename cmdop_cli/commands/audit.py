"""``cmdop audit list | head``: who did what in the workspace, and the signed end of the chain (D-30)."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli import times
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.vocab import EventResult

if TYPE_CHECKING:
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import Event, Page

ON_A_TERMINAL = 50  # events, unless --limit says otherwise
IN_A_PIPE = 10_000  # a bound for memory; what lies beyond is said and reached with --limit or --until
COLUMNS = (
    Column("at", "time", "time"),
    Column("actor.label", "actor"),
    Column("action", kind="id"),
    Column("target.label", "target"),
    Column("result"),
)


@verb(needs="workspace")
def list_events(
    ctx: Ctx,
    days: Annotated[int | None, typer.Option("--days", metavar="N", help="the last N days of 24 hours")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="from then on: a date, a time, or 24h ago")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="before then; a date includes that whole day")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="who acted: an e-mail address, key name or id")] = None,
    action: Annotated[str | None, typer.Option("--action", help="what was done: key.created, or all of key.*")] = None,
    target: Annotated[str | None, typer.Option("--target", help="what it was done to: a name or id")] = None,
) -> Listing:
    """List the events of the workspace, newest first.

    Changes and refusals, each with who, what and when; on a terminal the result is shown where not everything was
    ok. Times are local on a terminal and UTC elsewhere; a date or time without a zone is local. At most 50 events on
    a terminal and 10000 in a pipe, unless --limit is given.

    cmdop audit list --days 30
    cmdop audit list --since 2026-03-01 --until 2026-03-31 --action 'key.*' --json
    """
    call = ctx.call
    start, end = _range(days, since, until, now=datetime.now(UTC))
    limit = call.options.limit or (ON_A_TERMINAL if call.output.form == "table" else IN_A_PIPE)

    async def first(client: "AsyncCMDOPClient") -> "Page[Event]":
        return await client.audit.list(since=start, until=end, actor=actor, action=action, target=target).first(limit)

    page = call.ask(first)
    return Listing(
        "event",
        page.items,
        columns=COLUMNS if any(each.result != EventResult.OK for each in page.items) else COLUMNS[:-1],
        piped=COLUMNS,
        empty=f"no such events in {call.resolution.why}",
        next=page.next,
        extra={"since": start, "until": end},
    )


def _range(
    days: int | None, since: str | None, until: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return both bounds in UTC; one that cannot be read, or contradicts the other, is refused and never widened."""
    if days is not None and since is not None:
        raise usage("--days and --since both say where to begin; give one of them")
    start: datetime | None = None
    if days is not None:
        if not 0 < days <= times.FURTHEST.days:
            raise usage(f"--days is a whole number from 1 to {times.FURTHEST.days}")
        start = times.last_days(days, now=now)
    elif since is not None:
        start = _bound("--since", since, now=now)
    end = None if until is None else _bound("--until", until, now=now, end=True)
    if start is not None and end is not None and start >= end:
        raise usage(f"nothing can lie between {times.iso(start)} and {times.iso(end)}")
    return start, end


def _bound(option: str, text: str, *, now: datetime, end: bool = False) -> datetime:
    try:
        return times.parse_bound(text, now=now, end=end)
    except (ValueError, OverflowError) as wrong:
        raise usage(f"{option} {text!r}: {wrong}") from None


@verb(needs="workspace")
def head(ctx: Ctx) -> Record:
    """Show the signed end of the workspace's audit chain.

    Keep what it prints somewhere else: a log that was cut or rewritten since cannot reach this hash any more.

    cmdop audit head
    cmdop audit head --json > head.json
    """
    found = ctx.call.ask(lambda client: client.audit.head())
    return Record("audit_head", found, columns=_HEAD, identifier="hash")


_HEAD = (
    Column("workspace_id", "workspace", "id"),
    Column("seq", "events"),
    Column("hash", kind="id"),
    Column("signature", kind="id"),
    Column("key_id", "signed with", "id"),
    Column("public_key", "public key", "id"),
    Column("signed_at", "signed", "time"),
)
