"""``cmdop connect list | show | rename | tag | remove``: the machines of a workspace (D-5, D-28)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Column, Listing, Record

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import Machine
    from cmdop_sdk.models import Page


COLUMNS = (
    Column("name"),
    Column("hostname", kind="aside"),  # the name is what is typed, and fits as long as anything does
    Column("state"),
    Column("tags"),
    Column("session.operator.label", "session"),
    Column("last_seen_at", "seen", "ago"),
)
DETAILS = (
    Column("id", kind="id"),
    Column("name"),
    Column("hostname"),
    Column("state"),
    Column("tags"),
    Column("session.operator.label", "session of"),
    Column("session.since", "since", "time"),
    Column("gate_mode", "gate"),
    Column("os"),
    Column("arch"),
    Column("agent_version", "agent"),
    Column("last_seen_at", "seen", "time"),
    Column("registered_at", "registered", "time"),
    Column("registered_by.label", "by"),
    Column("authorized_actions", "you may"),
)
Exact = Annotated[str, typer.Argument(metavar="MACHINE", help="id, exact hostname or exact name")]


@verb(needs="workspace")
def list_machines(
    ctx: Ctx,
    online: Annotated[bool, typer.Option("--online", help="only those whose agent is connected")] = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY:VALUE", help="only machines with all of these tags")
    ] = None,
    all_workspaces: Annotated[
        bool, typer.Option("--all-workspaces", help="of every workspace that you may enter")
    ] = False,
) -> Listing:
    """List the machines of the workspace.

    A machine is online as long as its agent was heard of in the last 90 seconds.

    cmdop connect list --online --tag env:prod
    cmdop connect list --all-workspaces --json
    """
    from cmdop_cli import machine_list, machine_names
    from cmdop_cli.explaining import same_workspace

    call = ctx.call
    tags, limit = machine_names.tags_of(tag or ()), call.options.limit

    async def listed(client: "AsyncCMDOPClient") -> "Page[Machine]":
        from cmdop_sdk.models import Page

        found = client.machines.list(online=online or None, tags=tags)
        return Page(await found.all()) if limit is None else await found.first(limit)

    if all_workspaces:
        return _everywhere(call, listed, narrowed=online or bool(tags))
    page = call.ask(listed)
    if not (online or tags or page.next):
        machine_list.keep(call, page.items)
    return Listing(
        "machine",
        page.items,
        columns=_shown(page.items),
        piped=COLUMNS,
        identifier="name",
        empty=f"no such machines in {call.resolution.why}"
        if online or tags
        else f"no machines in {call.resolution.why}; bring one in with: {same_workspace(call, 'cmdop connect')}",
        next=page.next,
    )


def _shown(machines: "Sequence[Machine]") -> "Sequence[Column]":
    """Return the columns of a table: hostnames only where one is not the name."""
    has_others = any(each.hostname != each.name for each in machines)
    return [each for each in COLUMNS if has_others or each.name != "hostname"]


def _everywhere(call: "Call", listed: Any, *, narrowed: bool) -> Listing:
    """List the machines of every workspace that the call's credential may enter; one that fails does not end it."""
    from cmdop_cli import memberships, stored_sign_ins
    from cmdop_cli.failures import Failure
    from cmdop_cli.state import Place
    from cmdop_sdk.errors import CMDOPError
    from cmdop_wire.vocab import Exit

    rows = memberships.here(call)
    items: list[dict[str, Any]] = []
    status = rows.exit_code
    for row in rows.items:
        there = Place(row["id"], row["slug"])
        try:
            if call.resolution.key is not None:
                page = call.ask(listed)
            else:
                page = call.run(_asked(stored_sign_ins.signed_in_client(call, there), listed))
        except (CMDOPError, Failure) as problem:
            call.warn(f"{there.label}: {problem}")
            status = Exit.PARTIAL
            continue
        for each in page.items:
            fields = {name: getattr(each, name) for name in each.__struct_fields__}
            items.append({"workspace": {"id": there.id, "slug": there.slug}, **fields})
    empty = "no machines in any of your workspaces" if not narrowed else "no such machines in any of your workspaces"
    columns = (Column("workspace.slug", "workspace", "id"), *COLUMNS)
    return Listing("machine", items, columns=columns, identifier="name", empty=empty, exit_code=status)


async def _asked(opening: Any, listed: Any) -> Any:
    async with opening as client:
        return await listed(client)


@verb(needs="workspace")
def show(
    ctx: Ctx,
    machine: Annotated[
        str | None, typer.Argument(help="id, hostname or name; at a terminal the beginning of one will do")
    ] = None,
) -> Record:
    """Show one machine in full.

    What may be done on it is also up to its own gate, which is asked there.

    cmdop connect show web-1
    cmdop connect show web-1 --json
    """
    from cmdop_cli import machine_names

    call = ctx.call
    wanted = machine or machine_names.chosen(call, "show")
    found = machine_names.understood(call, wanted, lambda ref: call.ask(lambda client: client.machines.show(ref)))
    return Record("machine", found, columns=DETAILS)


@verb(needs="workspace", mutates=True)
def rename(
    ctx: Ctx, machine: Exact, name: Annotated[str, typer.Argument(metavar="NAME", help="what people call it now")]
) -> Record:
    """Give a machine another name; its hostname stays.

    A name may not lead to another machine of the workspace, by name or by hostname.

    cmdop connect rename web-1 frontend
    cmdop connect rename mch_5w3r8x0m2n4p6q8s0t1v frontend --workspace=acme
    """
    call = ctx.call
    before = _exactly(call, machine)
    if call.is_dry_run:
        return Record("machine", {**_fields(before), "name": name}, columns=DETAILS, planned=True)
    changed = call.ask(lambda client: client.machines.rename(before.id, name))
    call.note(f"{before.name} is called {changed.name} now, in {call.resolution.why}")
    return Record("machine", changed, columns=DETAILS)


@verb(needs="workspace", mutates=True)
def tag(
    ctx: Ctx,
    machine: Exact,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY:VALUE", help="tags to give it")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="KEY", help="a tag to take away")] = None,
) -> Record:
    """Give a machine tags, or take some away.

    A tag is a key with one value; a new value replaces the old one. Other tags stay.

    cmdop connect tag web-1 env:prod role:frontend
    cmdop connect tag web-1 --remove role
    """
    from cmdop_cli import machine_names

    call = ctx.call
    given, taken = machine_names.tags_of(tags or ()), set(remove or ())
    if not given and not taken:
        raise usage("which tags?", hint=f"cmdop connect tag {machine} KEY:VALUE")
    if taken & set(given):
        raise usage(f"{', '.join(sorted(taken & set(given)))}: given and removed at once")
    before = _exactly(call, machine)
    wanted = {key: value for key, value in {**before.tags, **given}.items() if key not in taken}
    if call.is_dry_run:
        return Record("machine", {**_fields(before), "tags": wanted}, columns=DETAILS, planned=True)
    if wanted == before.tags:
        call.note(f"{before.name} has these tags already")
        return Record("machine", before, columns=DETAILS)
    changed = call.ask(lambda client: client.machines.tag(before.id, wanted))
    call.note(f"tagged {changed.name} in {call.resolution.why}")
    return Record("machine", changed, columns=DETAILS)


@verb(needs="workspace", mutates=True)
def remove(ctx: Ctx, machine: Exact) -> Record:
    """Remove a machine from the workspace, for good.

    Its credential and its session end at once, and its history stays. The agent on it may register again.

    cmdop connect remove web-1
    cmdop connect remove web-1 --workspace=acme --yes
    """
    call = ctx.call
    found = _exactly(call, machine)
    if call.is_dry_run:
        return Record("machine", found, columns=DETAILS, planned=True)
    call.confirm(f"remove {found.name} ({found.hostname}) from the workspace?", affects=affected(found))
    call.ask(lambda client: client.machines.remove(found.id))
    call.note(f"removed {found.name} from {call.resolution.why}")
    return Record("machine", found, columns=DETAILS)


def affected(machine: "Machine") -> Sequence[str]:
    """Return what somebody should know before a machine leaves its workspace."""
    lines = [f"its agent is {machine.state}; nobody of the workspace reaches it any more"]
    if machine.session is not None:
        lines.append(f"the session of {machine.session.operator.label} ({machine.session.id}) on it ends")
    return lines


def _exactly(call: "Call", ref: str) -> "Machine":
    from cmdop_cli import unreached

    with unreached.explained(call, ref):
        return call.ask(lambda client: client.machines.show(ref))


def _fields(machine: "Machine") -> dict[str, Any]:
    return {name: getattr(machine, name) for name in machine.__struct_fields__}
