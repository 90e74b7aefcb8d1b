"""``cmdop login`` and ``logout``: signing in by device grant or one-time token, and letting go of it again (D-16)."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_cli.signing_out import Ended, as_far_as_possible, end_pairs, forget_identity, forget_place
from cmdop_cli.stored_sign_ins import check_usable, stored_tokens, unusable_tokens
from cmdop_wire.vocab import Exit, Reach

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.resolver import Resolution
    from cmdop_cli.state import Identity

_SIGNED_IN = (
    Column("account.email", "account"),
    Column("workspace.slug", "signed in to"),
    Column("reach", "may enter"),
    Column("server", kind="id"),
    Column("mode"),
    Column("profile"),
    Column("store", "kept in"),
    Column("expires_at", "ends", "time"),
    Column("in_force.slug", "acting in"),
    Column("in_force.detail", "because of"),
)

# Server and account have been said in a sentence, and what is out of the ordinary in a sentence of its own.
_NEWS = (
    Column("in_force.slug", "acting in"),
    Column("reach", "may enter", show=lambda reach: "all your workspaces" if reach == Reach.ALL else "this workspace"),
    Column("store", "kept in"),
    Column("expires_at", "ends", "time"),
)


@verb(lenient=True, mutates=True)
def login(
    ctx: Ctx,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="only show the address")] = False,
    ca_pin: Annotated[
        str | None, typer.Option("--ca-pin", metavar="sha256:…", help="believe exactly this server certificate")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="-", help="read an operator's one-time token from stdin")
    ] = None,
) -> Record:
    """Sign in with a browser.

    Shows a code and an address; open it anywhere, check the code, approve. The browser opens by itself only on a
    desktop. Another account is never replaced: sign in to it with --profile NAME. A workspace becomes active only
    where none is. The server is remembered for this profile and mode.

    cmdop login
    cmdop login --server https://cmdop.example --workspace acme
    """
    from cmdop_cli import signing_in

    if token not in (None, "-"):
        # The value may be the token itself: it is not repeated here, and must not stay in the shell's history.
        raise usage("--token takes only -, and reads the token from stdin", hint=_from_stdin(ctx.call))
    call = ctx.call
    done = signing_in.sign_in(call, ca_pin=ca_pin, opens_browser=not no_browser, by_token=token is not None)
    columns = _SIGNED_IN if call.is_dry_run else _NEWS
    return Record(
        "sign_in", done, columns=columns, identifier="account.email", planned=call.is_dry_run, piped=_SIGNED_IN
    )


_ENDED = (
    Column("workspace.slug", "workspace", "id"),
    Column("mode"),
    Column("account.email", "account"),
    Column("server", kind="id"),
)


@verb(mutates=True)
def logout(
    ctx: Ctx,
    everything: Annotated[
        bool, typer.Option("--all", help="every workspace of this account and mode, and the sign-in itself")
    ] = False,
) -> Listing:
    """Sign out of the workspace that commands act in.

    Ends its tokens at the server and removes them here; the removal happens even when the server cannot be told, and
    then says what stays valid there. Other workspaces stay signed in unless --all is given.

    cmdop logout
    cmdop logout --all
    """
    call = ctx.call
    # A key in force has no sign-in to end: the question is where this person's own sign-in would act.
    resolution = call.resolve(call.options._replace(no_api_key=True))
    if resolution.credential_problem is not None:
        raise resolution.credential_problem
    if resolution.identity is None:
        call.note(f"not signed in (profile {resolution.profile}, mode {resolution.mode})")
        return _listing(call, Ended())
    call.local.check_schema()
    if everything:
        return _everywhere(call, resolution.identity, resolution)
    return _here(call, resolution.identity, resolution)


def _everywhere(call: "Call", identity: "Identity", resolution: "Resolution") -> Listing:
    tokens = stored_tokens(call, identity, resolution.mode)
    if call.is_dry_run:
        return _listing(call, Ended(tokens))
    ended = end_pairs(call, tokens, whole=True)
    ended.remains += [each.message for each in unusable_tokens(call, identity, resolution.mode)]
    as_far_as_possible(ended, lambda: forget_identity(call, identity, resolution.mode))
    call.note(f"signed out {identity.email} at {identity.origin} (mode {resolution.mode})")
    return _listing(call, ended)


def _here(call: "Call", identity: "Identity", resolution: "Resolution") -> Listing:
    if resolution.workspace is None:
        raise resolution.problem or Failure(Code.NO_WORKSPACE, "no workspace is chosen", hint="cmdop logout --all")
    place = resolution.workspace
    tokens = stored_tokens(call, identity, resolution.mode)
    chosen = [each for each in tokens if place.ref in (each.workspace_id, each.workspace_slug)]
    others = sorted({each.workspace_slug for each in tokens if each not in chosen})
    if not chosen:
        check_usable(call, identity, resolution.mode, place if place.id else None)
        raise Failure(
            Code.NO_CREDENTIAL,
            f"not signed in to workspace {place.label} (from {resolution.detail})",
            hint=f"cmdop logout --workspace {others[0]}" if others else "cmdop logout --all",
        )
    if call.is_dry_run:
        return _listing(call, Ended(chosen))
    ended = end_pairs(call, chosen, whole=False)
    if others:
        as_far_as_possible(ended, lambda: forget_place(call, identity, place, is_member=True))
    else:
        as_far_as_possible(ended, lambda: forget_identity(call, identity, resolution.mode))
    call.note(f"signed out of workspace {place.label} (mode {resolution.mode})")
    if others:
        call.note(f"still signed in to {', '.join(others)}; to end that too: cmdop logout --all")
    return _listing(call, ended)


def _listing(call: "Call", ended: Ended) -> Listing:
    for sentence in ended.remains:
        call.warn(sentence)
    rows = [
        {
            "workspace": {"id": each.workspace_id, "slug": each.workspace_slug},
            "mode": each.mode,
            "account": {"id": each.account_id, "email": each.account_email},
            "server": each.origin,
        }
        for each in ended.removed
    ]
    return Listing(
        "sign_out",
        rows,
        columns=_ENDED,
        identifier="workspace.slug",
        exit_code=Exit.PARTIAL if ended.remains else Exit.DONE,
        extra={"remains": ended.remains, **({"planned": True} if call.is_dry_run else {})},
    )


def _from_stdin(call: "Call") -> str:
    """Return the line with ``-`` where its token stood, which may be the token itself."""
    words = ["--token=-" if word.startswith("--token=") else word for word in call.arguments]
    if "--token" in words:
        words[words.index("--token") + 1] = "-"
    return shlex.join(["cmdop", *words])
