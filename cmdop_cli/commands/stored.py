"""``cmdop auth status | token``: where each credential lives and when it ends, and handing one to another tool."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli import environment
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Code, Failure
from cmdop_cli.results import Column, Listing, Secret, Text
from cmdop_wire.vocab import Exit

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.auth import TokenPair
    from cmdop_sdk.token_files import StoredToken

COLUMNS = (
    Column("in_force", "", "mark"),
    Column("workspace.slug", "workspace", "id"),
    Column("mode"),
    Column("server"),
    Column("account.email", "account"),
    Column("store", "kept in", "id"),
    Column("expires_at", "ends", "ends"),
)


@verb()
def stored_credentials(ctx: Ctx) -> Listing:
    """List what is stored here to sign in with.

    Every stored sign-in of every profile and mode, and a key in the environment: where it is kept and when it ends.
    The mark shows what is in force. Nothing is asked over the network, and no secret is read.

    cmdop auth status
    cmdop auth status --json
    """
    from cmdop_sdk.errors import LocalStateError

    call = ctx.call
    rows = [] if call.resolution.key is None else [_key_row(call)]
    is_complete = True
    for each in call.store.tokens():
        if isinstance(each, LocalStateError):
            call.warn(f"{each.message}{f'; to set it aside: {each.hint}' if each.hint else ''}")
            is_complete = False
        else:
            rows.append(_token_row(call, each))
    return Listing(
        "credential",
        rows,
        columns=COLUMNS,
        piped=(*COLUMNS[1:], COLUMNS[0]),
        identifier="workspace.slug",
        empty="nothing is stored; sign in with: cmdop login" if is_complete else "",
        exit_code=Exit.DONE if is_complete else Exit.LOCAL_STATE,
    )


def _key_row(call: "Call") -> dict[str, Any]:
    key = call.resolution.key
    return {
        "in_force": True,
        "kind": "key",
        "server": call.server.origin,
        "mode": call.resolution.mode,
        "account": None,
        "workspace": {"id": None, "slug": key.key.slug if key else None},
        "prefix": key.key.prefix if key else None,
        "reach": None,
        "store": key.given_by if key else environment.API_KEY,
        "path": None,
        "access_expires_at": None,
        "expires_at": None,
    }


def _token_row(call: "Call", token: "StoredToken") -> dict[str, Any]:
    resolution = call.resolution
    identity, place = resolution.identity, resolution.workspace
    is_ours = identity is not None and (token.origin, token.account_id, token.mode) == (
        identity.origin,
        identity.account_id,
        resolution.mode,
    )
    return {
        "in_force": is_ours and place is not None and place.ref in (token.workspace_id, token.workspace_slug),
        "kind": "sign_in",
        "server": token.origin,
        "mode": token.mode,
        "account": {"id": token.account_id, "email": token.account_email},
        "workspace": {"id": token.workspace_id, "slug": token.workspace_slug},
        "prefix": None,
        "reach": token.reach,
        "store": token.store,
        "path": os.fspath(token.path),
        "access_expires_at": datetime.fromtimestamp(token.expires_at, UTC),
        "expires_at": datetime.fromtimestamp(token.refresh_expires_at, UTC),
    }


@verb(needs="workspace")
def token(
    ctx: Ctx,
    reveal: Annotated[bool, typer.Option("--reveal", help="show it on a terminal too")] = False,
) -> Secret | Text:
    """Print the token that requests are made with.

    For other tools, through a pipe: a fresh access token of the workspace, or the key in force. A token is good for
    an hour at most, and for everything that you may do there. On a terminal it stays hidden unless --reveal is given.

    cmdop auth token --workspace=acme --json
    curl -H @<(cmdop auth token | sed 's/^/Authorization: Bearer /') http://…
    """
    call = ctx.call
    if call.output.is_terminal and not reveal:
        raise Failure(
            Code.CONFIRMATION_REQUIRED,
            "the token is not shown on a terminal, where it stays in the scrollback",
            hint=f"{call.line} --reveal",
        )
    info = call.ask(lambda client: client.sign_in.info())
    key = call.resolution.key
    expires_at: object = info.expires_at
    if key is not None:
        text = key.key.text
    else:
        pair = _pair(call, info.workspace.id)
        text, expires_at = pair.access_token.reveal(), datetime.fromtimestamp(pair.expires_at, UTC)
    if call.output.form == "table":
        return Text([text], noun="token")
    fields = {
        "kind": info.kind,
        "id": info.id,
        "workspace": {"id": info.workspace.id, "slug": info.workspace.slug},
        "server": call.server.origin,
        "expires_at": expires_at,
        "secret": text,
    }
    return Secret("token", fields)


def _pair(call: "Call", workspace_id: str) -> "TokenPair":
    """Return the pair that the request before was made with, which refreshed it if there was need."""
    identity = call.identity
    pair = identity and call.store.pair(
        origin=identity.origin,
        account_id=identity.account_id,
        workspace_id=workspace_id,
        mode=call.resolution.mode,
    )
    if not pair:
        raise Failure(Code.NO_CREDENTIAL, "the stored sign-in has just been removed", hint="cmdop login")
    return pair
