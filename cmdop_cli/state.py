"""The content of ``state.json``: typed and frozen.

The only place of «active». Pure: ``local.py`` reads and writes the file, ``state_shape.py`` says what may stand in it.
Secrets and addresses live elsewhere. Two words: a *choice* is what a profile has chosen in one mode; an *identity*
is one account at one origin, named as its directory below ``accounts/`` is.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cmdop_cli.state_shape import CHOICE_FIELDS, DEFAULT_MODE, DEFAULT_PROFILE, MODES, SCHEMA, check


class Place(NamedTuple):
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


class Membership(NamedTuple):
    """One workspace that an identity may enter, as of the last listing."""

    place: Place
    name: str = ""
    role: str = ""


class Identity(NamedTuple):
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


class Choice(NamedTuple):
    """What a profile has chosen in one mode; ``none`` is ``use --none``: not even the account's default."""

    identity: str | None = None
    active: Place | None = None
    previous: Place | None = None
    none: bool = False


class Binding(NamedTuple):
    """A directory tree in which a workspace is in force, for one profile and mode."""

    path: str
    place: Place
    profile: str
    mode: str


class State(NamedTuple):
    """All of it. ``choices`` is by profile, then by mode.

    ``seen`` is what config.toml said when it had that stamp, so that fast commands need not read it.
    """

    schema: int = SCHEMA
    profile: str = DEFAULT_PROFILE
    mode: str = DEFAULT_MODE
    choices: Mapping[str, Mapping[str, Choice]] = {}
    identities: Mapping[str, Identity] = {}
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
    check(document)
    noted = document.get("config")
    return State(
        schema=document.get("schema", SCHEMA),
        profile=document.get("profile") or DEFAULT_PROFILE,
        mode=document.get("mode") or DEFAULT_MODE,
        choices=_choices(document),
        identities={key: _identity(key, each) for key, each in document.get("identities", {}).items()},
        bindings=tuple(_binding(each) for each in document.get("bindings", [])),
        seen=(noted["stamp"], noted.get("output")) if noted else None,
    )


def _choices(document: Mapping[str, Any]) -> dict[str, dict[str, Choice]]:
    tables = {name: document.get(name, {}) for name in CHOICE_FIELDS}
    profiles = dict.fromkeys(profile for table in tables.values() for profile in table)
    return {
        profile: {mode: _choice({name: table.get(profile, {}).get(mode) for name, table in tables.items()})
                  for mode in MODES}
        for profile in profiles
    }  # fmt: skip


def _choice(fields: Mapping[str, Any]) -> Choice:
    return Choice(
        identity=fields["signed_in"],
        active=_place(fields["active"]),
        previous=_place(fields["previous"]),
        none=fields["none"] is True,
    )


def _identity(key: str, fields: Mapping[str, Any]) -> Identity:
    cached = fields.get("memberships") or {}
    return Identity(
        key=key,
        origin=fields.get("origin") or "",
        account_id=fields["account"].get("id") or "",
        email=fields["account"].get("email") or "",
        default=_place(fields.get("default")),
        memberships=tuple(
            Membership(Place(each.get("id"), each.get("slug")), each.get("name") or "", each.get("role") or "")
            for each in cached.get("items", [])
        ),
    )


def _binding(fields: Mapping[str, Any]) -> Binding:
    place = Place(fields.get("id"), fields.get("slug"))
    profile, mode = fields.get("profile") or DEFAULT_PROFILE, fields.get("mode") or DEFAULT_MODE
    return Binding(fields.get("path") or "", place, profile, mode)


def _place(fields: Mapping[str, Any] | None) -> Place | None:
    return None if fields is None else Place(fields.get("id"), fields.get("slug"))
