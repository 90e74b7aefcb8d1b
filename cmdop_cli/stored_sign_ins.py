"""Stored sign-ins as clients: the pair of a workspace, or a new one got by exchange from another (D-16).

Pairs are per workspace and mode, and go to their own origin only (D-23); how they are kept and refreshed is
``cmdop_sdk.store``'s.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cmdop_cli.failures import Code, Failure
from cmdop_cli.state import Identity, Membership, Place
from cmdop_wire.vocab import ErrorCode, Reach

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.errors import LocalStateError
    from cmdop_sdk.resources.sign_in import SignedIn
    from cmdop_sdk.store import FileTokenSource
    from cmdop_sdk.token_files import StoredToken


def stored_tokens(call: "Call", identity: Identity, mode: str) -> "list[StoredToken]":
    """Return what is stored for one account in one mode, sign-ins for all workspaces and later ends first."""
    from cmdop_sdk.token_files import StoredToken

    found = [
        each
        for each in call.store.tokens()
        if isinstance(each, StoredToken)
        and (each.origin, each.account_id, each.mode) == (identity.origin, identity.account_id, mode)
    ]
    return sorted(found, key=lambda each: (each.reach != Reach.ALL, -each.refresh_expires_at))


def check_usable(call: "Call", identity: Identity, mode: str, place: Place | None = None) -> None:
    """Raise what is wrong with a token file of the account (of ``place`` only), such as a crash leaves: exit 78."""
    for wrong in unusable_tokens(call, identity, mode, place):
        raise wrong


def unusable_tokens(call: "Call", identity: Identity, mode: str, place: Place | None = None) -> "list[LocalStateError]":
    """Return what is wrong with the token files of one account and mode, in the order of their paths."""
    from cmdop_sdk.errors import LocalStateError
    from cmdop_sdk.token_files import account_hash

    account = account_hash(identity.origin, identity.account_id)
    found = call.store.tokens(account, (place and place.id) or "*", mode)
    return [each for each in found if isinstance(each, LocalStateError)]


@asynccontextmanager
async def signed_in_client(
    call: "Call", place: Place | None = None, *, enter: bool = True
) -> "AsyncIterator[AsyncCMDOPClient]":
    """Give a client that acts with a stored sign-in in ``place``, entering it first where that is possible."""
    async with pair_client(call, await stored_sign_in(call, place, enter=enter)) as client:
        yield client


async def stored_sign_in(call: "Call", place: Place | None = None, *, enter: bool = True) -> "StoredToken":
    """Return the stored pair of ``place``, entering it first where that is possible; or exit 4.

    Without a place, or when it need not be entered, any live pair will do: for what concerns the account alone.
    """
    identity, mode = call.identity, call.resolution.mode
    if identity is None:
        raise Failure(Code.NO_CREDENTIAL, "not signed in", hint="cmdop login")
    tokens = [each for each in stored_tokens(call, identity, mode) if not each.has_ended]
    stored = _stored_for(tokens, place)
    if stored is None and place is not None and place.id is not None and enter:
        # Not another sign-in in its place: a file that cannot be used is somebody's to look at, and is kept.
        check_usable(call, identity, mode, place)
    if not tokens:
        check_usable(call, identity, mode)
    if stored is None and place is not None and enter:
        stored = await _entered(call, identity, mode, tokens, place)
    stored = stored or next(iter(tokens), None)
    if stored is None:
        raise Failure(
            Code.NO_CREDENTIAL, f"the sign-in of {identity.email} at {identity.origin} has ended", hint="cmdop login"
        )
    return stored


def token_source(call: "Call", stored: "StoredToken") -> "FileTokenSource":
    """Return what shares and refreshes one stored pair."""
    from cmdop_sdk.store import FileTokenSource

    return FileTokenSource(
        call.store,
        origin=stored.origin,
        account_id=stored.account_id,
        workspace_id=stored.workspace_id,
        mode=stored.mode,
    )


@asynccontextmanager
async def pair_client(call: "Call", stored: "StoredToken") -> "AsyncIterator[AsyncCMDOPClient]":
    """Give a client that acts with one stored pair, in its workspace."""
    from cmdop_cli.credentials import client_options
    from cmdop_sdk.client import AsyncCMDOPClient

    made = AsyncCMDOPClient.with_source(
        token_source(call, stored),
        stored.origin,
        stored.workspace_id,
        mode=stored.mode,
        **client_options(call, stored.origin),
    )
    async with made as client:
        yield client


def _stored_for(tokens: "Sequence[StoredToken]", place: Place | None) -> "StoredToken | None":
    if place is None:
        return None
    if place.id is not None:
        return next((each for each in tokens if each.workspace_id == place.id), None)
    return next((each for each in tokens if each.workspace_slug == place.slug), None)


async def _entered(
    call: "Call", identity: Identity, mode: str, tokens: "Sequence[StoredToken]", place: Place
) -> "StoredToken":
    """Exchange a sign-in for all workspaces for a pair of ``place`` and store it where the first is; or exit 4."""
    from cmdop_sdk.errors import AuthenticationError, NotFound

    for source in tokens:
        if source.reach != Reach.ALL:
            continue
        try:
            signed = await _exchanged(call, source, place)
        except AuthenticationError:
            continue  # this sign-in has ended at the server; another may stand
        except NotFound as unknown:
            raise Failure(
                ErrorCode.NOT_FOUND,
                f"there is no workspace {place.label} that {identity.email} may enter",
                hint="cmdop workspace list",
                http_status=unknown.http_status,
                request_id=unknown.request_id,
            ) from None
        stored = call.store.save(signed.pair, source.store)
        remember_one(call, identity, Membership(*_known(signed)))
        return stored
    raise _not_signed_in(place, identity, mode, tokens)


async def _exchanged(call: "Call", source: "StoredToken", place: Place) -> "SignedIn":
    pair = call.store.pair(
        origin=source.origin, account_id=source.account_id, workspace_id=source.workspace_id, mode=source.mode
    )
    if pair is None:
        raise Failure(Code.NO_CREDENTIAL, "the stored sign-in has just been removed", hint="cmdop login")
    async with pair_client(call, source) as client:
        return await client.sign_in.exchange(pair, place.ref)


def _known(signed: "SignedIn") -> tuple[Place, str, str]:
    there = signed.workspace
    return Place(there.id, there.slug), there.name, there.role or ""


def remember_one(call: "Call", identity: Identity, membership: Membership) -> None:
    """Add or renew one workspace in the cached memberships; a cache that cannot be written is no failure."""
    from datetime import UTC, datetime

    from cmdop_cli.state_draft import Draft
    from cmdop_cli.times import iso
    from cmdop_sdk.errors import LocalStateError

    def change(draft: Draft) -> None:
        known = draft.state.identities.get(identity.key)
        others = [each for each in known.memberships if each.place.id != membership.place.id] if known else []
        draft.remember(identity.key, [membership, *others], at=iso(datetime.now(UTC)))
        draft.renamed(membership.place)

    try:
        call.change_state(change)
    except (Failure, LocalStateError):
        return


def _not_signed_in(place: Place, identity: Identity, mode: str, tokens: "Sequence[StoredToken]") -> Failure:
    others = ", ".join(sorted({each.workspace_slug for each in tokens}))
    message = f"not signed in to workspace {place.label} (mode {mode})"
    if others:
        message += f"; {identity.email} is signed in to {others} only"
    return Failure(Code.NO_CREDENTIAL, message, hint=f"cmdop login --workspace {place.label}")
