"""Letting go of stored sign-ins: the server is told where it can be, and what is here goes in any case (D-16)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cmdop_cli.failures import Failure
from cmdop_cli.state import Identity, Place
from cmdop_cli.stored_sign_ins import stored_tokens

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.state_draft import Draft
    from cmdop_sdk.auth import TokenPair
    from cmdop_sdk.token_files import StoredToken


@dataclass
class Ended:
    """What a sign-out did: pairs removed here, and sentences about what could not be ended at the server."""

    removed: "list[StoredToken]" = field(default_factory=list)
    remains: list[str] = field(default_factory=list)


def end_pairs(call: "Call", tokens: "Sequence[StoredToken]", *, whole: bool) -> Ended:
    """Revoke stored pairs at the server and remove them here; ``whole`` ends the sign-ins they grew from.

    The removal never waits for the server's goodwill: what it could not be told is in ``remains``.
    """
    ended = Ended()
    told: set[str] = set()
    for token in tokens:
        name = token.sign_in_id if whole else token.family_id
        if name not in told:
            problem = _revoked(call, token, whole=whole)
            if problem:
                ended.remains.append(problem)
            told.add(name)
        if _removed(call, token, ended):
            ended.removed.append(token)
    return ended


def _revoked(call: "Call", token: "StoredToken", *, whole: bool) -> str:
    """Tell the server; return ``""``, or a sentence on what stays valid there."""
    from cmdop_sdk.errors import CMDOPError

    if token.has_ended:
        return ""
    try:
        pair = call.store.pair(
            origin=token.origin, account_id=token.account_id, workspace_id=token.workspace_id, mode=token.mode
        )
        if pair is None:
            return ""
        call.run(told(call, pair, whole=whole))
    except (CMDOPError, Failure) as problem:
        what = "the sign-in" if whole else f"the sign-in for workspace {token.workspace_slug}"
        return f"{what} at {token.origin} could not be ended there and stays valid until {_end(token)}: {problem}"
    return ""


async def told(call: "Call", pair: "TokenPair", *, whole: bool) -> None:
    """Revoke at the pair's own origin, whatever server this call names (D-23)."""
    from cmdop_cli.credentials import client_options
    from cmdop_sdk.client import AsyncCMDOPClient

    options = client_options(call, pair.origin)
    async with AsyncCMDOPClient.anonymous(pair.origin, mode=pair.mode, **options) as client:
        await client.sign_in.revoke(pair.refresh_token, all=whole)


def _removed(call: "Call", token: "StoredToken", ended: Ended) -> bool:
    from cmdop_sdk.errors import LocalStateError

    try:
        return call.store.forget(token)
    except LocalStateError as problem:
        ended.remains.append(f"{token.path} could not be removed: {problem}")
        return False


def as_far_as_possible(ended: Ended, forget: "Callable[[], None]") -> None:
    """Forget what is noted here; where nothing can be written, say so beside what has ended at the server."""
    from cmdop_sdk.errors import LocalStateError

    try:
        forget()
    except LocalStateError as problem:
        ended.remains.append(f"what is noted of it here stays: {problem}")


def _end(token: "StoredToken") -> str:
    from datetime import UTC, datetime

    from cmdop_cli.times import local

    return local(datetime.fromtimestamp(token.refresh_expires_at, UTC))


def left(call: "Call") -> None:
    """Forget the call's workspace, which its account is no member of any more: pairs, cache, active."""
    identity = call.identity
    if identity is None:
        return
    place = call.workspace()
    tokens = stored_tokens(call, identity, call.resolution.mode)
    gone = [each for each in tokens if place.ref in (each.workspace_id, each.workspace_slug)]
    for token in gone:
        _removed(call, token, Ended())
    forget_place(call, identity, place, is_member=False)
    if len(gone) == len(tokens):
        call.note("you are signed in to no workspace any more; to sign in: cmdop login")


def forget_place(call: "Call", identity: Identity, place: Place, *, is_member: bool) -> None:
    """Make ``place`` neither active nor previous for ``identity``, nor, for a former member, known."""
    from datetime import UTC, datetime

    from cmdop_cli.times import iso

    def change(draft: "Draft") -> None:
        draft.deselect(identity.key, place)
        known = draft.state.identities.get(identity.key)
        if known is not None and not is_member:
            stay = [each for each in known.memberships if place.ref not in (each.place.id, each.place.slug)]
            draft.remember(identity.key, stay, at=iso(datetime.now(UTC)))

    call.change_state(change)


def forget_identity(call: "Call", identity: Identity, mode: str) -> None:
    """Note that nobody is signed in any more wherever ``identity`` was, in ``mode``; servers stay remembered."""

    def change(draft: "Draft") -> None:
        for profile, choices in draft.state.choices.items():
            if mode in choices and choices[mode].identity == identity.key:
                draft.signed_out(profile, mode)

    call.change_state(change)
