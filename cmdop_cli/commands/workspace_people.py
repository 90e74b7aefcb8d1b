"""``cmdop workspace members | set-role | remove | leave``: who is in the workspace, and as what (D-6 to D-8, D-17)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_cli.signing_out import left
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import ErrorCode, Role, parse_role

if TYPE_CHECKING:
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import Member, Workspace

COLUMNS = (
    Column("you", "", "mark"),
    Column("email", kind="id"),
    Column("name"),
    Column("role"),
    Column("joined_at", "joined", "time"),
)
Person = Annotated[str, typer.Argument(metavar="PERSON", help="an e-mail address or an account id (usr_…), exact")]


@verb(needs="workspace")
def members(ctx: Ctx) -> Listing:
    """List the members of the workspace.

    The mark shows who you are. People are added where the server runs, by its operator: cmdop server user create
    EMAIL --workspace SLUG --role ROLE --token

    cmdop workspace members
    cmdop workspace members --workspace=acme --json
    """
    limit = ctx.call.options.limit

    async def listed(client: "AsyncCMDOPClient") -> "tuple[list[Member], str | None]":
        if limit is None:
            return await client.members.list().all(), None
        page = await client.members.list().first(limit)
        return page.items, page.next

    found, following = ctx.call.ask(listed)
    return Listing("member", found, columns=COLUMNS, piped=(*COLUMNS[1:], COLUMNS[0]), next=following)


@verb(needs="workspace", mutates=True)
def set_role(
    ctx: Ctx,
    person: Person,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, member or guest")],
) -> Record:
    """Give a member another role.

    Nobody grants above their own role, and a workspace always keeps an owner. Making somebody an owner is asked
    about first: owners can remove each other.

    cmdop workspace set-role bob@example.com admin
    cmdop workspace set-role usr_5w3r8x0m2n4p6q8s0t1v guest --workspace=acme
    """
    call = ctx.call
    try:
        wanted = parse_role(role)
    except ValueError as wrong:
        raise usage(f"{role!r}: {wrong}") from None
    member = call.ask(lambda client: _person(client, person))
    if member.role == wanted:
        call.note(f"{member.email} already is {wanted} in {call.resolution.why}")
        return _member(member)
    if call.is_dry_run:
        planned = {**_fields(member), "role": wanted, "previous_role": member.role}
        return Record("member", planned, columns=_DETAILS, planned=True)
    if wanted is Role.OWNER:
        call.confirm(
            f"make {member.email} an owner?",
            affects=["an owner may change and remove every other owner, and delete the workspace"],
        )
    changed = call.ask(lambda client: client.members.set_role(member.id, wanted))
    call.note(f"{changed.email} is {changed.role} now, was {member.role}, in {call.resolution.why}")
    return _member(changed)


@verb(needs="workspace", mutates=True)
def remove(ctx: Ctx, person: Person) -> Record:
    """Remove a member from the workspace.

    Ends at once, and for ever, all of theirs here: personal keys, sign-ins and open sessions. Workspace keys stay.

    cmdop workspace remove bob@example.com
    cmdop workspace remove bob@example.com --workspace=acme --yes
    """
    call = ctx.call
    member = call.ask(lambda client: _person(client, person))
    if call.is_dry_run:
        return Record("member", member, columns=_DETAILS, planned=True)
    who = "yourself" if member.you else f"{member.email} ({member.role})"
    call.confirm(
        f"remove {who} from the workspace?",
        affects=["their personal keys, sign-ins and open sessions here end now and are never revived"],
    )
    call.ask(lambda client: client.members.remove(member.id))
    call.note(f"removed {member.email} from {call.resolution.why}")
    if member.you:
        left(call)
    return _member(member)


@verb(needs="workspace", mutates=True)
def leave(ctx: Ctx) -> Record:
    """Leave the workspace.

    Your personal keys, sign-ins and open sessions here end for ever; the last owner cannot leave.

    cmdop workspace leave --workspace=acme
    cmdop workspace leave --workspace=acme --yes
    """
    call = ctx.call
    workspace = call.ask(lambda client: client.workspace.show())
    shown = Record("workspace", workspace, columns=_LEFT, identifier="slug", planned=call.is_dry_run)
    if call.is_dry_run:
        return shown
    call.confirm(
        f"leave {workspace.name} ({workspace.slug})?",
        affects=[
            f"you lose the role {workspace.role}; {_others(workspace)}",
            "your personal keys, sign-ins and open sessions here end now and are never revived",
        ],
    )
    call.ask(lambda client: client.workspace.leave())
    left(call)
    call.note(f"left {workspace.name} ({workspace.slug})")
    return shown


_LEFT = (Column("id", kind="id"), Column("slug"), Column("name"), Column("role", "your role"))


def _others(workspace: "Workspace") -> str:
    others = workspace.members - 1
    return "nobody stays" if others < 1 else f"{others} {'member stays' if others == 1 else 'members stay'}"


_DETAILS = (
    Column("id", kind="id"),
    Column("email"),
    Column("name"),
    Column("role"),
    Column("joined_at", "joined", "time"),
)


def _member(member: "Member") -> Record:
    return Record("member", member, columns=_DETAILS)


def _fields(member: "Member") -> dict[str, object]:
    return {name: getattr(member, name) for name in member.__struct_fields__}


async def _person(client: "AsyncCMDOPClient", ref: str) -> "Member":
    """Return the member with that e-mail address or id; nothing shorter and nothing similar is taken for them."""
    wanted = ref.strip()
    if is_id(wanted, "account"):
        found = [each async for each in client.members.list() if each.id == wanted]
    elif "@" in wanted:
        asked = client.members.list(email=wanted)
        found = [each async for each in asked if each.email.casefold() == wanted.casefold()]
    else:
        raise usage("a person is named by an e-mail address or an account id (usr_…)", hint="cmdop workspace members")
    if len(found) != 1:
        raise Failure(ErrorCode.NOT_FOUND, f"no member is called {wanted}", hint="cmdop workspace members")
    return found[0]
