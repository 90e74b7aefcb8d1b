"""``cmdop workspace list | create | show | update``: which workspaces there are, and what each is called."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.ids import check_slug, derive_slug
from cmdop_wire.vocab import ErrorCode, Plan, Reach, Role, WorkspaceKind

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import SlugPreview, Workspace

COLUMNS = (
    Column("active", "", "mark"),
    Column("slug", kind="id"),
    Column("name"),
    Column("role"),
    Column("machines", kind="number"),
)
DETAILS = (
    Column("id", kind="id"),
    Column("slug"),
    Column("name"),
    Column("kind"),
    Column("state"),
    Column("plan"),
    Column("description"),
    Column("timezone"),
    Column("locale"),
    Column("role", "your role"),
    Column("members"),
    Column("machines"),
    Column("created_at", "created", "time"),
)
# What is worth reading right after it was made; the rest is what `workspace show` is for.
_CREATED = (Column("slug"), Column("name"), Column("plan"), Column("role", "your role"), Column("id", kind="id"))


@verb(needs="account")
def list_workspaces(
    ctx: Ctx,
    all_modes: Annotated[bool, typer.Option("--all-modes", help="of both modes, prod and dev")] = False,
) -> Listing:
    """List the workspaces you may enter.

    The mark shows the one that commands act in now. With a key, it is the key's workspace alone.

    cmdop workspace list
    cmdop workspace list --all-modes --json
    """
    from cmdop_cli.memberships import everywhere, here

    call = ctx.call
    rows = everywhere(call) if all_modes else here(call)
    columns = (COLUMNS[0], Column("mode"), *COLUMNS[1:]) if all_modes else COLUMNS
    return Listing(
        "workspace",
        rows.items,
        columns=columns,
        piped=(*columns[1:], columns[0]),
        identifier="slug",
        empty="no workspaces; make one with: cmdop workspace create NAME",
        exit_code=rows.exit_code,
    )


@verb(needs="account", mutates=True)
def create(
    ctx: Ctx,
    name: Annotated[str, typer.Argument(metavar="NAME", help="what people call it")],
    slug: Annotated[str | None, typer.Option("--slug", help="what is typed; made from the name when left out")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="starter, scale or enterprise")] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="succeed if you already are in a workspace with that slug")
    ] = False,
) -> Record:
    """Create a workspace, with you as its owner.

    Slugs are unique on the whole server and never given to another workspace again. What is active stays active.

    cmdop workspace create "My Workspace" --slug my-workspace
    cmdop workspace create Staging --if-not-exists --json
    """
    call = ctx.call
    wanted = _slug_for(name, slug)
    if plan is not None and plan not in tuple(Plan):
        raise usage(f"--plan is one of {', '.join(Plan)}")

    async def created(client: "AsyncCMDOPClient") -> "tuple[Workspace | SlugPreview, bool]":
        from cmdop_sdk.errors import Conflict

        if call.is_dry_run:
            preview = await client.workspace.slug_preview(slug=wanted)
            if preview.available:
                return preview, False
            taken = Conflict("", code=ErrorCode.SLUG_TAKEN, details={"suggestion": preview.suggestion})
        else:
            try:
                return await client.workspace.create(name, slug=slug, plan=plan), True
            except Conflict as conflict:
                if conflict.code != ErrorCode.SLUG_TAKEN:
                    raise
                taken = conflict
        mine = await _mine(client, wanted) if if_not_exists else None
        if mine is None:
            raise _slug_taken(name, wanted, plan, taken)
        return mine, False

    made, is_new = call.ask(created)
    if not hasattr(made, "created_at"):
        return _planned(name, made.slug, plan)
    workspace: Workspace = made  # type: ignore[assignment]  # what has a creation is no preview
    if is_new:
        call.note(f"created workspace {workspace.name} ({workspace.slug}); you are its {workspace.role}")
    else:
        call.note(f"workspace {workspace.slug} already exists and you are its {workspace.role}")
    _note_new(call, workspace)
    return Record("workspace", workspace, columns=_CREATED, identifier="slug", piped=DETAILS)


def _planned(name: str, slug: str, plan: str | None) -> Record:
    """Return the workspace as it would be, in the shape of one that is there."""
    from cmdop_sdk.models import Workspace

    nothing = dict.fromkeys(Workspace.__struct_fields__)
    known = {"slug": slug, "name": name, "kind": WorkspaceKind.TEAM, "plan": plan, "role": Role.OWNER}
    return Record("workspace", {**nothing, **known}, columns=_CREATED, identifier="slug", planned=True)


def _slug_for(name: str, slug: str | None) -> str:
    """Return the slug that will be asked for; a name that yields none is a usage failure (D-2)."""
    if not name.strip():
        raise usage("a workspace needs a name")
    try:
        if slug is not None:
            return check_slug(slug)
        derived = derive_slug(name)
        if not derived:
            raise usage(
                "nothing of this name can be kept in a slug; choose one",
                hint=f"cmdop workspace create {shlex.quote(name)} --slug SLUG",
            )
        return check_slug(derived)
    except ValueError as wrong:
        hint = "" if slug is not None else f"cmdop workspace create {shlex.quote(name)} --slug SLUG"
        raise usage(f"{slug or derive_slug(name)!r} cannot be a slug: {wrong}", hint=hint) from None


async def _mine(client: "AsyncCMDOPClient", slug: str) -> "Workspace | None":
    async for each in client.me.workspaces():
        if each.slug == slug:
            return each
    return None


def _slug_taken(name: str, slug: str, plan: str | None, conflict: Exception) -> Failure:
    suggestion = getattr(conflict, "details", {}).get("suggestion")
    fix = ""
    if isinstance(suggestion, str) and suggestion:
        rest = f" --plan {plan}" if plan else ""
        fix = f"cmdop workspace create {shlex.quote(name)} --slug {suggestion}{rest}"
    return Failure(
        ErrorCode.SLUG_TAKEN,
        f"the slug {slug} is taken",
        hint=fix,
        http_status=getattr(conflict, "http_status", None),
        request_id=getattr(conflict, "request_id", None),
    )


def _note_new(call: "Call", workspace: "Workspace") -> None:
    """Cache the membership and tell how to enter; a sign-in for one workspace cannot go to another (D-16)."""
    from cmdop_cli.memberships import membership_of
    from cmdop_cli.stored_sign_ins import remember_one, stored_tokens

    identity = call.identity
    if identity is None:  # with a key, which the server refuses before we come here
        return
    remember_one(call, identity, membership_of(workspace))
    tokens = stored_tokens(call, identity, call.resolution.mode)
    can_enter = any(
        not each.has_ended and (each.reach == Reach.ALL or each.workspace_id == workspace.id) for each in tokens
    )
    if can_enter:
        call.note(f"to act in it: cmdop workspace use {workspace.slug}")
    else:
        call.note(f"your sign-in is for one workspace only; to enter: cmdop login --workspace {workspace.slug}")


@verb(needs="workspace")
def show(ctx: Ctx) -> Record:
    """Show one workspace in full.

    cmdop workspace show
    cmdop workspace show --workspace=acme --json
    """
    return Record("workspace", ctx.call.ask(lambda client: client.workspace.show()), columns=DETAILS, identifier="slug")


@verb(needs="workspace", mutates=True)
def update(
    ctx: Ctx,
    name: Annotated[str | None, typer.Option("--name", help="what people call it")] = None,
    slug: Annotated[str | None, typer.Option("--slug", help="what is typed; keys and sign-ins go on working")] = None,
    description: Annotated[str | None, typer.Option("--description", help="what it is for")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="such as Europe/Berlin")] = None,
    locale: Annotated[str | None, typer.Option("--locale", help="such as de-DE")] = None,
) -> Record:
    """Change what a workspace is called.

    A slug that was given up stays this workspace's for ever: nobody else gets it, and it can come back.

    cmdop workspace update --name "Acme Corporation"
    cmdop workspace update --slug acme-corp --workspace=acme
    """
    given = {"name": name, "slug": slug, "description": description, "timezone": timezone, "locale": locale}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise usage("nothing to change was given", hint="cmdop workspace update --help")
    return changed_workspace(ctx.call, changes)


def changed_workspace(call: "Call", changes: "dict[str, str]") -> Record:
    """Change these fields of the workspace, bring the local labels up to date, and return it."""
    if "slug" in changes:
        try:
            check_slug(changes["slug"])
        except ValueError as wrong:
            raise usage(f"{changes['slug']!r} cannot be a slug: {wrong}") from None
    if call.is_dry_run:
        before = call.ask(lambda client: client.workspace.show())
        fields = {field: getattr(before, field) for field in before.__struct_fields__}
        return Record("workspace", {**fields, **changes}, columns=DETAILS, identifier="slug", planned=True)
    workspace = call.ask(lambda client: client.workspace.update(**changes))
    call.note(f"changed {', '.join(changes)} of workspace {workspace.slug}")
    if call.identity is not None:
        from cmdop_cli.memberships import membership_of
        from cmdop_cli.stored_sign_ins import remember_one

        remember_one(call, call.identity, membership_of(workspace))
    told = [each for each in DETAILS if each.name in {"slug", "name", *changes}]
    return Record("workspace", workspace, columns=told, identifier="slug", piped=DETAILS)
