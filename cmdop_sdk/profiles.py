"""What the command line saved: where a profile leads. Read only; ``state.json`` and ``profiles.toml`` are its own.

Of ``state.json``: ``profile``, ``mode``, ``signed_in|active|none.PROFILE.MODE`` and ``identities.KEY.{origin,
account.id, default, memberships.items}``. Of ``profiles.toml``: ``profiles.PROFILE.servers.MODE.{url, ca_pin}``.
"""

from dataclasses import dataclass
from pathlib import Path

from cmdop_sdk import documents
from cmdop_sdk.documents import Document, table
from cmdop_sdk.errors import AuthenticationError, InvalidRequest, LocalCode, LocalStateError, NotFound
from cmdop_sdk.origin import origin_of
from cmdop_sdk.store import Store
from cmdop_wire.ids import is_id

DEFAULT_PROFILE = "default"
DEFAULT_MODE = "prod"


@dataclass(frozen=True, slots=True)
class SavedSignIn:
    """Who a profile is in one mode, at which server, and in which workspace."""

    profile: str
    mode: str
    origin: str
    ca_pin: str | None
    account_id: str
    workspace_id: str


def saved_sign_in(
    store: Store, profile: str | None = None, mode: str | None = None, workspace: str | None = None
) -> SavedSignIn:
    """Return what ``profile`` (default: the current one) stands for in ``mode`` (default: the profile's).

    ``workspace`` is an id, or the slug of a cached membership; by default the active one, then the account's default.

    ``AuthenticationError`` when nobody signed in there; ``LocalStateError`` when a file cannot be used or the two
    disagree about the server.
    """
    path = store.file("state.json").path
    state = _document(store, "state.json", documents.parse_json)
    name = profile or _text(path, state, "profile") or DEFAULT_PROFILE
    mode = mode or _text(path, state, "mode") or DEFAULT_MODE
    key = _text(path, table(path, table(path, state, "signed_in"), name), mode)
    if key is None:
        raise AuthenticationError(
            f"not signed in (profile {name}, mode {mode})", code=LocalCode.SIGNED_OUT, hint="cmdop login"
        )
    identity = table(path, table(path, state, "identities"), key)
    active = table(path, table(path, state, "active"), name).get(mode)
    is_none = table(path, table(path, state, "none"), name).get(mode) is True
    origin = documents.text(path, identity, "origin")
    return SavedSignIn(
        profile=name,
        mode=mode,
        origin=origin,
        ca_pin=_pin(store, name, mode, origin),
        account_id=documents.text(path, table(path, identity, "account"), "id"),
        workspace_id=_workspace(path, workspace, active or (None if is_none else identity.get("default")), identity),
    )


def _workspace(path: Path, wanted: str | None, place: object, identity: Document) -> str:
    if wanted is not None and is_id(wanted, "workspace"):
        return wanted
    if wanted is not None:
        cached = table(path, identity, "memberships").get("items")
        for each in cached if isinstance(cached, list) else []:
            if isinstance(each, dict) and each.get("slug") == wanted:
                return documents.text(path, each, "id")
        raise NotFound(f"no workspace {wanted} is known here", hint="cmdop workspace list")
    if not isinstance(place, dict):
        raise InvalidRequest("there is no active workspace", hint="cmdop workspace use SLUG")
    return documents.text(path, place, "id")


def _text(path: Path, document: Document, field: str) -> str | None:
    return None if document.get(field) is None else documents.text(path, document, field)


def _pin(store: Store, profile: str, mode: str, origin: str) -> str | None:
    path = store.file("profiles.toml").path
    profiles = table(path, _document(store, "profiles.toml", documents.parse_toml), "profiles")
    server = table(path, table(path, table(path, profiles, profile), "servers"), mode)
    if server and origin_of(documents.text(path, server, "url")) != origin:
        # The pin of one server must not vouch for another (D-23).
        raise LocalStateError(
            f"{path} leads profile {profile} to another server than it is signed in to", path=path, hint="cmdop login"
        )
    return _text(path, server, "ca_pin")


def _document(store: Store, name: str, parse: documents.Parser) -> Document:
    file = store.file(name)
    content = file.read()
    return {} if content is None else parse(file.path, content)
