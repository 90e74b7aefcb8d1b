"""Which workspaces an account may enter: gathered over its stored sign-ins, and cached for `use` and completion.

A sign-in for one workspace sees only that one (D-16), so an account with three of them is asked about three times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cmdop_cli.failures import Code, Failure
from cmdop_cli.state import Identity, Membership, Place
from cmdop_cli.state_shape import MODES
from cmdop_cli.stored_sign_ins import check_usable, pair_client, stored_tokens
from cmdop_wire.vocab import Exit, Reach

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.state_draft import Draft
    from cmdop_sdk.models import Workspace
    from cmdop_sdk.token_files import StoredToken


@dataclass
class Rows:
    """The workspaces that were found, as a listing shows them; ``exit_code`` tells whether all could be asked."""

    items: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int = Exit.DONE


def membership_of(workspace: "Workspace") -> Membership:
    """Return what is cached of a workspace."""
    return Membership(Place(workspace.id, workspace.slug), workspace.name, workspace.role or "")


def here(call: "Call") -> Rows:
    """Return the workspaces that the call's credential may enter, in its mode; with a key, the key's own."""
    resolution = call.resolution
    if resolution.key is not None:
        found = call.ask(lambda client: client.me.workspaces().all())
        return Rows([_row(each, is_active=len(found) == 1) for each in found])
    identity = call.identity
    if identity is None:
        raise Failure(Code.NO_CREDENTIAL, "not signed in", hint="cmdop login")
    return gathered(call, identity, resolution.mode, resolution.workspace)


def everywhere(call: "Call") -> Rows:
    """Return the workspaces of the profile in both modes, each marked with its mode and server."""
    all_rows, problems = Rows(), []
    for mode in MODES:
        resolution = call.resolve(call.options._replace(mode=mode, workspace=None))
        if resolution.identity is None:
            continue
        try:
            rows = gathered(call, resolution.identity, mode, resolution.workspace)
        except Exception as problem:
            if not _is_expected(problem):
                raise
            problems.append(problem)
            call.warn(f"{mode}: {problem}")
            continue
        extra = {"mode": mode, "server": resolution.identity.origin}
        all_rows.items += [{**row, **extra} for row in rows.items]
        all_rows.exit_code = max(all_rows.exit_code, rows.exit_code)
    if problems and not all_rows.items:
        raise problems[0]
    if problems:
        all_rows.exit_code = Exit.PARTIAL
    return all_rows


def _is_at(place: Place | None, workspace: "Workspace") -> bool:
    return place is not None and place.ref in (workspace.id, workspace.slug)


def _row(workspace: "Workspace", *, is_active: bool) -> dict[str, Any]:
    fields = {name: getattr(workspace, name) for name in workspace.__struct_fields__}
    return {"active": is_active, **fields}


def refreshed(call: "Call", identity: Identity, mode: str) -> list[Membership]:
    """Ask the server anew which workspaces ``identity`` may enter, and cache and return them."""
    rows = gathered(call, identity, mode, None)
    return [Membership(Place(row["id"], row["slug"]), row["name"], row["role"] or "") for row in rows.items]


def gathered(call: "Call", identity: Identity, mode: str, active: Place | None) -> Rows:
    """Return the workspaces of ``identity`` in ``mode``, the one at ``active`` marked, and cache them.

    ``Failure`` (exit 4) when nothing stored is alive, the first problem when nobody could be asked.
    """
    tokens = [each for each in stored_tokens(call, identity, mode) if not each.has_ended]
    found, is_complete, problems = call.run(_asked(call, tokens))
    if not found and problems:
        raise problems[0]
    if not tokens:
        check_usable(call, identity, mode)
        raise Failure(Code.NO_CREDENTIAL, f"the sign-in of {identity.email} has ended", hint="cmdop login")
    _remember(call, identity, found, is_complete=is_complete)
    rows = Rows([_row(each, is_active=_is_at(active, each)) for each in found])
    for problem in problems:
        call.warn(str(problem))
        if getattr(problem, "transient", False):
            rows.exit_code = Exit.PARTIAL
    return rows


async def _asked(call: "Call", tokens: "Sequence[StoredToken]") -> "tuple[list[Workspace], bool, list[Exception]]":
    """Return workspaces by name, whether these are all of the account's, and what went wrong on the way.

    A sign-in for all workspaces answers for all of them; the others are asked only where there is none that stands.
    Where one pair of a sign-in is refused, the next one is asked: the right to that workspace alone may have ended.
    """
    from cmdop_sdk.errors import AuthenticationError

    found: dict[str, Workspace] = {}
    problems: dict[str, Exception] = {}
    asked: set[str] = set()
    for token in tokens:
        if token.sign_in_id in asked:
            continue
        try:
            async with pair_client(call, token) as client:
                listed = await client.me.workspaces().all()
        except Exception as problem:
            if not _is_expected(problem):
                raise
            problems.setdefault(token.sign_in_id, problem)
            if not isinstance(problem, AuthenticationError):
                asked.add(token.sign_in_id)
            continue
        asked.add(token.sign_in_id)
        problems.pop(token.sign_in_id, None)
        found |= {each.id: each for each in listed}
        if token.reach == Reach.ALL:
            return _by_slug(found), True, []
    return _by_slug(found), False, list(problems.values())


def _by_slug(found: "dict[str, Workspace]") -> "list[Workspace]":
    return sorted(found.values(), key=lambda each: each.slug)


def _is_expected(problem: Exception) -> bool:
    """Tell whether ``problem`` is one sign-in's or one server's, so that the others are still worth asking."""
    from cmdop_sdk.errors import CMDOPError

    return isinstance(problem, CMDOPError | Failure)


def merged(known: Identity | None, found: "Sequence[Workspace]", *, is_complete: bool) -> list[Membership]:
    """Return what to cache after ``found`` was listed.

    A narrow sign-in cannot tell about workspaces beyond its own: what is known of those stays.
    """
    fresh = [membership_of(each) for each in found]
    listed = {each.place.id for each in fresh}
    kept = [] if is_complete or known is None else [each for each in known.memberships if each.place.id not in listed]
    return [*fresh, *kept]


def _remember(call: "Call", identity: Identity, found: "Sequence[Workspace]", *, is_complete: bool) -> None:
    """Cache what was listed; a cache that cannot be written is no reason to fail a listing."""
    from datetime import UTC, datetime

    from cmdop_cli.times import iso
    from cmdop_sdk.errors import LocalStateError

    def change(draft: "Draft") -> None:
        known = draft.state.identities.get(identity.key)
        draft.remember(identity.key, merged(known, found, is_complete=is_complete), at=iso(datetime.now(UTC)))
        for each in found:
            draft.renamed(Place(each.id, each.slug))

    try:
        call.change_state(change)
    except (Failure, LocalStateError):
        return
