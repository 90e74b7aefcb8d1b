"""``cmdop profile``: several accounts and servers, kept apart by name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli import environment
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure
from cmdop_cli.profiles import check_name
from cmdop_cli.results import Column, Listing, Record
from cmdop_cli.state_shape import DEFAULT_PROFILE, MODES
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call

_COLUMNS = (
    Column("current", "", "mark"),
    Column("name"),
    Column("mode"),
    Column("server"),
    Column("email"),
    Column("workspace.slug", "workspace"),
)
_NAME = (Column("name", "profile"),)


@verb()
def list_profiles(ctx: Ctx) -> Listing:
    """List the stored profiles.

    One line for every mode of a profile that has a server or a chosen workspace.

    cmdop profile list
    cmdop profile list --json
    """
    call = ctx.call
    rows = [row for name in _names(call) for row in _rows(call, name)]
    return Listing("profile", rows, _COLUMNS, identifier="name")


@verb(mutates=True)
def use(ctx: Ctx, profile: Annotated[str, typer.Argument(help="name of the profile")]) -> Record:
    """Make a profile the current one.

    cmdop profile use work
    cmdop profile use default
    """
    call = ctx.call
    _check_known(call, profile)
    if not call.is_dry_run:
        call.change_state(lambda draft: draft.use_profile(profile))
        call.note(f"the profile is {profile} now")
        if call.environ.get(environment.PROFILE, profile) != profile:
            call.warn(f"{environment.PROFILE} hides it: commands here still use {call.environ[environment.PROFILE]}")
    return Record("profile", {"name": profile}, _NAME, identifier="name", planned=call.is_dry_run)


@verb(mutates=True)
def rename(
    ctx: Ctx,
    old: Annotated[str, typer.Argument(help="its name now")],
    new: Annotated[str, typer.Argument(help="its new name")],
) -> Record:
    """Rename a profile.

    Its sign-ins, its active workspaces and its directory bindings stay with it.

    cmdop profile rename default work
    cmdop profile rename work acme --dry-run
    """
    call = ctx.call
    _check_known(call, old)
    check_name(new)
    in_state, in_file = call.state.choices, call.local.profiles().names()
    # A rename that was killed between the two files can be repeated: only what would be overwritten is in the way.
    if (old in in_state and new in in_state) or (old in in_file and new in in_file):
        raise Failure(ErrorCode.NAME_TAKEN, f"there is a profile {new} already", hint="cmdop profile list")
    if not call.is_dry_run:
        call.change_state(lambda draft: draft.rename_profile(old, new))
        call.local.profiles().rename(old, new)
        call.note(f"{old} is called {new} now")
    return Record("profile", {"name": new, "old_name": old}, _NAME, identifier="name", planned=call.is_dry_run)


@verb(mutates=True)
def forget(ctx: Ctx, profile: Annotated[str, typer.Argument(help="name of the profile")]) -> Record:
    """Forget a profile and what is stored for it.

    Its sign-ins are removed from this machine, not ended on the server: cmdop logout --profile NAME does that.

    cmdop profile forget work
    cmdop profile forget work --yes
    """
    call = ctx.call
    _check_known(call, profile)
    tokens = _tokens_of(call, profile)
    workspaces = sorted({token.workspace_slug for token in tokens})
    call.confirm(
        f"forget the profile {profile}?",
        affects=[f"signed in to {each}, which the server still accepts" for each in workspaces],
    )
    if not call.is_dry_run:
        call.local.check_schema()
        for token in tokens:
            call.store.forget(token)
        call.change_state(lambda draft: draft.forget_profile(profile))
        call.local.profiles().forget(profile)
        call.note(f"{profile} is forgotten")
    fields = {"name": profile, "workspaces": workspaces}
    return Record("profile", fields, _NAME, identifier="name", planned=call.is_dry_run)


def _names(call: "Call") -> list[str]:
    known = dict.fromkeys((*call.local.profiles().names(), *call.state.choices))
    return list(known) if call.state.profile in known else [call.state.profile, *known]


def _rows(call: "Call", name: str) -> list[dict[str, Any]]:
    rows = []
    for mode in MODES:
        server = call.local.profiles().server(name, mode)
        choice = call.state.choice(name, mode)
        if server is None and choice.active is None and choice.identity is None:
            continue
        rows.append(_row(call, name, mode, server.url if server else None, server.email if server else None))
    return rows or [_row(call, name, None, None, None)]


def _row(call: "Call", name: str, mode: str | None, server: str | None, email: str | None) -> dict[str, Any]:
    active = call.state.choice(name, mode).active if mode else None
    return {
        "current": name == call.state.profile and mode in (None, call.state.mode),
        "name": name,
        "mode": mode,
        "server": server,
        "email": email,
        "workspace": None if active is None else {"id": active.id, "slug": active.slug},
    }


def _check_known(call: "Call", name: str) -> None:
    names = _names(call)
    if name in names or name == DEFAULT_PROFILE:
        return
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=1)
    hint = f"cmdop profile use {near[0]}" if near else "cmdop profile list"
    raise Failure(ErrorCode.NOT_FOUND, f"there is no profile {name}", hint=hint)


def _tokens_of(call: "Call", name: str) -> list[Any]:
    """Return the token files that only this profile uses."""
    from cmdop_sdk.token_files import StoredToken, account_hash

    def used(profile: str) -> set[tuple[str, str]]:
        choices = call.state.choices.get(profile, {})
        return {(choice.identity, mode) for mode, choice in choices.items() if choice.identity}

    others = set().union(*(used(each) for each in call.state.choices if each != name))
    mine = used(name) - others
    return [
        token
        for token in call.store.tokens()
        if isinstance(token, StoredToken) and (account_hash(token.origin, token.account_id), token.mode) in mine
    ]
