"""Everything that a call acts with, and where each part came from: what ``status`` shows.

Local, but for one optional question to the server; whatever is wrong is told beside what is right.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cmdop_cli.explaining import explain
from cmdop_cli.failures import Code, Failure, explained
from cmdop_cli.resolver import Source
from cmdop_cli.results import Column, Listing
from cmdop_wire.vocab import Reach

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.models import Identity as ServersWord
    from cmdop_sdk.token_files import StoredToken

KINDS = {"sign_in": "sign-in", "personal_key": "personal key", "workspace_key": "workspace key"}


class Checked(NamedTuple):
    """What the server said of the credential, and the first thing that is wrong."""

    found: "ServersWord | None" = None
    problem: Failure | None = None


def checked(call: "Call", *, offline: bool) -> Checked:
    """Ask the server who the credential is; ``offline`` only looks for what is wrong here."""
    try:
        call.check_credential()
        if offline:
            return Checked(problem=call.resolution.problem)
        found = call.ask(lambda client: client.me.show())
    except Exception as error:
        failure = explained(error)
        if failure.code == Code.BUG:
            raise
        if call.has_key:  # of which the fix must speak, as it does anywhere else
            failure = explain(call, failure)
        return Checked(problem=failure)
    try:
        call.workspace()
    except Failure as failure:
        return Checked(found, failure)
    return Checked(found)


def fields_of(call: "Call", seen: Checked, *, offline: bool) -> dict[str, Any]:
    """Return what is in force as one object; parts that there are not are ``None``."""
    resolution = call.resolution
    stored = _stored(call)
    return {
        "server": {
            "origin": call.server.origin,
            "source": call.server.source,
            "reachable": None if offline else _is_reachable(seen),
        },
        "mode": {"name": resolution.mode, "source": resolution.mode_source},
        "profile": {"name": resolution.profile, "source": resolution.profile_source},
        "account": _account(call, seen.found),
        "workspace": _workspace(call, seen.found),
        "credential": _credential(call, seen.found, stored),
        "problem": None if seen.problem is None else {
            "code": seen.problem.code, "message": seen.problem.message, "hint": seen.problem.hint or None,
        },
    }  # fmt: skip


def _is_reachable(seen: Checked) -> bool | None:
    if seen.found is not None or (seen.problem is not None and seen.problem.http_status is not None):
        return True
    return False if seen.problem is not None and seen.problem.transient else None


def _account(call: "Call", found: "ServersWord | None") -> dict[str, Any] | None:
    if found is not None and found.account is not None:
        return {"id": found.account.id, "email": found.account.email}
    identity = call.identity
    return None if identity is None else {"id": identity.account_id, "email": identity.email}


def _workspace(call: "Call", found: "ServersWord | None") -> dict[str, Any] | None:
    resolution = call.resolution
    place = resolution.workspace
    if place is None:
        return None
    id_, slug, name, role = place.id, place.slug, None, None
    known = (
        next((m for m in resolution.identity.memberships if m.place == place), None) if resolution.identity else None
    )
    if known is not None:
        name, role = known.name, known.role
    if found is not None and place.ref in (found.workspace.id, found.workspace.slug):
        here = found.workspace
        id_, slug, name, role = here.id, here.slug, here.name, here.role
    return {
        "id": id_,
        "slug": slug,
        "name": name or None,
        "role": role or None,
        "source": resolution.source,
        "detail": resolution.detail,
    }


def _stored(call: "Call") -> "StoredToken | None":
    """Return the stored pair of the workspace in force; without one, the pair that would enter it."""
    from cmdop_cli.stored_sign_ins import stored_tokens

    resolution = call.resolution
    if resolution.identity is None:
        return None
    tokens = stored_tokens(call, resolution.identity, resolution.mode)
    place = resolution.workspace
    if place is None:
        return next(iter(tokens), None)
    here = next((each for each in tokens if place.ref in (each.workspace_id, each.workspace_slug)), None)
    return here or next((each for each in tokens if each.reach == Reach.ALL), None)


def _credential(call: "Call", found: "ServersWord | None", stored: "StoredToken | None") -> dict[str, Any] | None:
    told = None if found is None else found.credential
    key = call.resolution.key
    if key is not None:
        return {
            "kind": told.kind if told else "key",
            "id": told.id if told else None,
            "name": told.name if told else None,
            "prefix": key.key.prefix,
            "reach": None,
            "scopes": told.scopes if told else None,
            "kept_in": key.given_by,
            "path": None,
            "expires_at": told.expires_at if told else None,
        }
    if stored is None:
        return None
    from datetime import UTC, datetime

    return {
        "kind": "sign_in",
        "id": stored.sign_in_id,
        "name": None,
        "prefix": None,
        "reach": stored.reach,
        "scopes": None,
        "kept_in": stored.store,
        "path": stored.path,
        "expires_at": datetime.fromtimestamp(stored.refresh_expires_at, UTC),
    }


def rows(fields: Mapping[str, Any]) -> Listing:
    """Return the same as lines for a person: what, its value, and why."""
    server, workspace = fields["server"], fields["workspace"]
    account, credential = fields["account"], fields["credential"]
    lines = [
        ("server", server["origin"], _origin_words(server["source"], server["reachable"])),
        ("mode", fields["mode"]["name"], _chosen_by(fields["mode"]["source"])),
        ("profile", fields["profile"]["name"], _chosen_by(fields["profile"]["source"])),
        ("account", account["email"] if account else None, ""),
        ("workspace", _named(workspace), _reason(workspace) if workspace else ""),
    ]
    if credential is None:
        lines.append(("credential", None, ""))
    else:
        lines += _credential_lines(credential)
    items = [{"what": what, "value": value, "why": why} for what, value, why in lines]
    return Listing(
        "status", items, (Column("what", ""), Column("value", "in force", "id"), Column("why", "because of"))
    )


def _named(workspace: Mapping[str, Any] | None) -> str | None:
    if workspace is None:
        return None
    shown = workspace["slug"] or workspace["id"]
    return f"{shown} ({workspace['role']})" if workspace["role"] else str(shown)


def _reason(workspace: Mapping[str, Any]) -> str:
    """Return where the workspace came from, shorter than the resolver says it: profile and mode stand above."""
    short = {Source.ACTIVE: "the active workspace", Source.DEFAULT: "the account's default"}
    return short.get(workspace["source"]) or str(workspace["detail"])


def _credential_lines(credential: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    from datetime import UTC, datetime

    from cmdop_cli.times import ends

    kind = KINDS.get(credential["kind"], credential["kind"])
    is_known = credential["id"] is not None  # a key that the server does not know never ends for another reason
    value = f"{kind} {credential['name'] or credential['prefix'] or ''}".rstrip()
    if credential["reach"]:
        value += " for all workspaces" if credential["reach"] == Reach.ALL else " for one workspace"
    return [
        ("credential", value, ", ".join(credential["scopes"] or ())),
        ("kept in", credential["kept_in"], _below(credential["path"])),
        ("ends", ends(credential["expires_at"], now=datetime.now(UTC)) if is_known else None, ""),
    ]


def _below(path: object) -> str:
    """Return the directory of all local state that ``path`` lies in, the home directory as ``~``."""
    from pathlib import Path

    if path is None:
        return ""
    root = Path(str(path)).parents[3]
    return f"below ~/{root.relative_to(Path.home())}" if root.is_relative_to(Path.home()) else f"below {root}"


def _origin_words(source: str, is_reachable: bool | None) -> str:
    state = {True: "; it answers", False: "; it does not answer", None: ""}[is_reachable]
    return f"{_chosen_by(source)}{state}"


def _chosen_by(source: str) -> str:
    return {"saved": "the current one", "built in": "the built-in default"}.get(source, source)
