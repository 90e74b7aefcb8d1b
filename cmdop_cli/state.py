"""The content of ``state.json``: what it may hold, how it is read, and the changes that may be made to it.

The only place of «active». Pure: ``local.py`` reads and writes the file. Secrets and addresses live elsewhere. Names
in a special sense: a *choice* is what a profile has chosen in one mode; an *identity* is one account at one origin,
named as its directory below ``accounts/`` is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cmdop_wire.ids import is_id, is_slug

SCHEMA = 1
DEFAULT_PROFILE = "default"
MODES = ("prod", "dev")
DEFAULT_MODE = "prod"
CHOICE_FIELDS = ("signed_in", "active", "previous", "none")  # each is by profile, then by mode
_LONGEST = 4096  # characters of any one text; nothing that we write comes near it


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace as far as it is known here: by id, by slug as last heard, or both."""

    id: str | None = None
    slug: str | None = None

    @property
    def ref(self) -> str:
        """Return what to ask the server for: the id where it is known, since the slug is a label (D-1)."""
        return self.id or self.slug or ""

    @property
    def label(self) -> str:
        """Return what a person calls it."""
        return self.slug or self.id or ""

    def is_called(self, ref: str) -> bool:
        """Tell whether ``ref`` (id or slug) names this place, as far as is known."""
        return ref in (self.id, self.slug)


@dataclass(frozen=True, slots=True)
class Membership:
    """One workspace that an identity may enter, as of the last listing."""

    place: Place
    name: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """One account at one origin, with what was cached for it."""

    key: str
    origin: str
    account_id: str
    email: str
    default: Place | None = None
    memberships: tuple[Membership, ...] = ()

    def place(self, ref: str) -> Place | None:
        """Return the workspace called ``ref`` (id or slug) among the cached memberships."""
        return next((each.place for each in self.memberships if each.place.is_called(ref)), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a profile has chosen in one mode; ``none`` is ``use --none``: not even the account's default."""

    identity: str | None = None
    active: Place | None = None
    previous: Place | None = None
    none: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A directory tree in which a workspace is in force, for one profile and mode."""

    path: str
    place: Place
    profile: str
    mode: str


@dataclass(frozen=True, slots=True)
class State:
    """All of it. ``choices`` is by profile, then by mode.

    ``seen`` is what config.toml said when it had that stamp, so that fast commands need not read it.
    """

    schema: int = SCHEMA
    profile: str = DEFAULT_PROFILE
    mode: str = DEFAULT_MODE
    choices: Mapping[str, Mapping[str, Choice]] = field(default_factory=dict)
    identities: Mapping[str, Identity] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    seen: tuple[str, str | None] | None = None

    def choice(self, profile: str, mode: str) -> Choice:
        """Return what ``profile`` has chosen in ``mode``."""
        return self.choices.get(profile, {}).get(mode, Choice())

    def identity(self, profile: str, mode: str) -> Identity | None:
        """Return who is signed in for ``profile`` and ``mode``."""
        key = self.choice(profile, mode).identity
        return None if key is None else self.identities.get(key)


def parsed(document: Mapping[str, Any]) -> State:
    """Return the state that ``document`` holds; ``ValueError`` names the field that cannot be what it is."""
    if type(document.get("schema", SCHEMA)) is not int:
        raise ValueError("schema is no number")
    mode = _text(document, "mode", DEFAULT_MODE)
    if mode not in MODES:
        raise ValueError("mode is no mode")
    return State(
        schema=document.get("schema", SCHEMA),
        profile=_text(document, "profile", DEFAULT_PROFILE),
        mode=mode,
        choices=_choices(document),
        identities={key: _identity(key, each) for key, each in _tables(document, "identities")},
        bindings=tuple(_binding(each) for each in _list(document, "bindings")),
        seen=_seen(document),
    )


def _choices(document: Mapping[str, Any]) -> dict[str, dict[str, Choice]]:
    by_field = {name: dict(_tables(document, name)) for name in CHOICE_FIELDS}
    profiles = dict.fromkeys(name for tables in by_field.values() for name in tables)
    return {
        profile: {mode: _choice({name: tables.get(profile, {}).get(mode) for name, tables in by_field.items()})
                  for mode in MODES}
        for profile in profiles
    }  # fmt: skip


def _choice(document: Mapping[str, Any]) -> Choice:
    return Choice(
        identity=_text(document, "signed_in"),
        active=_place(document, "active"),
        previous=_place(document, "previous"),
        none=document.get("none") is True,
    )


def _identity(key: str, document: Mapping[str, Any]) -> Identity:
    account = document.get("account")
    cached = document.get("memberships")
    if not isinstance(account, dict) or not isinstance(cached, dict | None):
        raise ValueError(f"identities.{key} is incomplete")
    return Identity(
        key=key,
        origin=_text(document, "origin", ""),
        account_id=_text(account, "id", ""),
        email=_text(account, "email", ""),
        default=_place(document, "default"),
        memberships=tuple(_membership(each) for each in _list(cached or {}, "items")),
    )


def _membership(document: Mapping[str, Any]) -> Membership:
    return Membership(
        _place({"it": document}, "it") or Place(), _text(document, "name", ""), _text(document, "role", "")
    )


def _binding(document: Mapping[str, Any]) -> Binding:
    place = _place({"it": document}, "it")
    if place is None:
        raise ValueError("a binding names no workspace")
    return Binding(
        _text(document, "path", ""), place, _text(document, "profile", DEFAULT_PROFILE), _text(document, "mode", "prod")
    )


def _place(document: Mapping[str, Any], name: str) -> Place | None:
    found = document.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no workspace")
    place = Place(_text(found, "id"), _text(found, "slug"))
    # Both end in addresses and on terminals, so nothing but the grammar gets in.
    if not place.ref or (place.id and not is_id(place.id, "workspace")) or (place.slug and not is_slug(place.slug)):
        raise ValueError(f"{name} is no workspace")
    return place


def _seen(document: Mapping[str, Any]) -> tuple[str, str | None] | None:
    found = document.get("config")
    if not isinstance(found, dict) or not isinstance(found.get("stamp"), str):
        return None
    return found["stamp"], _text(found, "output")


def _text(document: Mapping[str, Any], name: str, default: Any = None) -> Any:
    found = document.get(name, default)
    if found is None or (isinstance(found, str) and len(found) <= _LONGEST):
        return default if found is None else found
    raise ValueError(f"{name} is no text")


def _tables(document: Mapping[str, Any], name: str) -> "Sequence[tuple[str, dict[str, Any]]]":
    found = document.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise ValueError(f"{name} is no table")
    return list(found.items())


def _list(document: Mapping[str, Any], name: str) -> "list[dict[str, Any]]":
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{name} is no list")
    return found
