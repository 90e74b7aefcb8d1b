"""``cmdop connect workspace sync | move``: workspaces as machines see them (D-5, D-20). The rest is ``workspace``'s."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.commands.machines import DETAILS, affected
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.vocab import ErrorCode, Reach

if TYPE_CHECKING:
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import Machine
    from cmdop_sdk.models import Workspace

COLUMNS = (Column("slug", kind="id"), Column("name"), Column("role"))


@verb(needs="account")
def sync(ctx: Ctx) -> Listing:
    """Refresh what is known here of your workspaces.

    Asks the server which workspaces you may enter, for commands and completion to know. What is active stays active.

    cmdop connect workspace sync
    cmdop connect workspace sync --json
    """
    from cmdop_cli import memberships

    call = ctx.call
    if call.identity is None:
        raise usage("a key has no memberships to refresh", hint="cmdop connect workspace sync --no-api-key")
    rows = memberships.gathered(call, call.identity, call.resolution.mode, call.resolution.workspace)
    call.note(f"{len(rows.items)} workspaces are known here now")
    return Listing("workspace", rows.items, columns=COLUMNS, identifier="slug", exit_code=rows.exit_code)


@verb(needs="workspace", mutates=True)
def move(
    ctx: Ctx,
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="id, exact hostname or exact name")],
    to: Annotated[str, typer.Option("--to", metavar="SLUG", help="the workspace that it moves to, by slug or id")],
) -> Record:
    """Move a machine to another workspace, the only way there is.

    Needs the right to move machines here and to register them there, and a sign-in for all workspaces. Its session
    ends. If its name is taken there, nothing happens.

    cmdop connect workspace move web-1 --to globex
    cmdop connect workspace move web-1 --workspace=acme --to globex --yes
    """
    from cmdop_cli import unreached

    call = ctx.call
    with unreached.explained(call, machine):
        found, there = call.ask(lambda client: _both(client, machine, to))
    here = call.workspace()
    if here.is_called(there.id) or here.is_called(there.slug):
        raise Failure(ErrorCode.CONFLICT, f"{found.name} is in {there.slug} already")
    if call.is_dry_run:
        return Record("machine", _moved(found, there), columns=_MOVED, planned=True)
    call.confirm(
        f"move {found.name} from {here.label} to {there.slug}?",
        affects=[
            f"from  {here.label} (chosen by {call.resolution.detail})",
            f"to    {there.slug} ({there.name}), {there.members} {'member' if there.members == 1 else 'members'}",
            *affected(found),
        ],
    )
    moved = call.ask(lambda client: client.machines.move(found.id, there.id))
    call.note(f"moved {moved.name} from {here.label} to {there.slug}")
    return Record("machine", _moved(moved, there), columns=_MOVED[:4], piped=_MOVED)


_MOVED = (Column("workspace.slug", "workspace"), *DETAILS)  # the first four at a terminal


def _moved(machine: "Machine", there: "Workspace") -> dict[str, object]:
    fields = {name: getattr(machine, name) for name in machine.__struct_fields__}
    return {"workspace": {"id": there.id, "slug": there.slug}, **fields}


async def _both(client: "AsyncCMDOPClient", machine: str, to: str) -> "tuple[Machine, Workspace]":
    """Return the machine and where it goes; ``Failure`` when the caller does not see one of them."""
    found = await client.machines.show(machine)
    workspaces = await client.me.workspaces().all()
    there = next((each for each in workspaces if to in (each.id, each.slug)), None)
    if there is None:
        info = await client.sign_in.info()
        is_narrow = info.reach != Reach.ALL  # a sign-in for one workspace, or a key: it sees no other one
        unseen = f"there is no workspace {to} that this sign-in may enter; moving needs one for all workspaces"
        raise Failure(
            ErrorCode.NOT_FOUND,
            unseen if is_narrow else f"there is no workspace {to} that you may enter",
            hint="cmdop login" if is_narrow else "cmdop workspace list",
        )
    return found, there
