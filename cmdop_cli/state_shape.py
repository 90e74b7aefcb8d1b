"""What ``state.json`` may hold, checked on the bare document. Imports nothing, for the commands that start fast.

``state.py`` makes typed values of what passed here. Each choice table is by profile, then by mode.
"""

SCHEMA = 1
DEFAULT_PROFILE = "default"
MODES = ("prod", "dev")
DEFAULT_MODE = "prod"
CHOICE_FIELDS = ("signed_in", "active", "previous", "none")
_LONGEST = 4096  # characters of any one text; nothing that we write comes near it
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def check(document: object) -> None:
    """Raise ``ValueError`` naming the first field of the whole document that cannot be what it is."""
    if not isinstance(document, dict):
        raise ValueError("it holds no object")
    if type(document.get("schema", SCHEMA)) is not int:
        raise ValueError("schema is no number")
    if _text(document, "mode") not in (None, *MODES):
        raise ValueError("mode is no mode")
    _text(document, "profile")
    for name in CHOICE_FIELDS:
        for modes in _tables(document, name):
            for mode in modes:
                _choice(modes, mode, name)
    for identity in _tables(document, "identities"):
        _identity(identity)
    for binding in _list(document, "bindings"):
        _place(binding, "bindings")
        for name in ("path", "profile", "mode"):
            _text(binding, name)
    _config(document)


def is_slug(text: str) -> bool:
    """Tell whether ``text`` follows the slug grammar, as ``cmdop_wire.ids.is_slug`` does; a test compares them."""
    return 0 < len(text) <= 63 and text[0] != "-" and text[-1] != "-" and _LOWER.issuperset(text.replace("-", ""))


def is_workspace_id(text: str) -> bool:
    """Tell whether ``text`` has the shape of a workspace's id, as ``cmdop_wire.ids.is_id`` does."""
    tail = text[3:]
    return text.startswith("ws_") and len(tail) == 20 and (_LOWER - frozenset("ilou")).issuperset(tail)


def active_detail(profile: str, mode: str) -> str:
    """Return how the active workspace is named as a source."""
    return f"the active workspace of profile {profile}, mode {mode}"


def default_detail(email: str) -> str:
    """Return how an account's default workspace is named as a source."""
    return f"the default of {email}"


def _choice(modes: dict[str, object], mode: str, name: str) -> None:
    if name == "signed_in":
        _text(modes, mode)
    elif name == "none":
        if modes[mode] not in (True, False, None):
            raise ValueError("none is no switch")
    elif modes[mode] is not None:
        _place(modes[mode], name)


def _identity(identity: dict[str, object]) -> None:
    account, cached = identity.get("account"), identity.get("memberships")
    if not isinstance(account, dict) or not isinstance(cached, dict | None):
        raise ValueError("identities are incomplete")
    _text(identity, "origin")
    _text(account, "id")
    _text(account, "email")
    if identity.get("default") is not None:
        _place(identity["default"], "default")
    for membership in _list(cached or {}, "items"):
        _place(membership, "memberships")
        _text(membership, "name")
        _text(membership, "role")


def _config(document: dict[str, object]) -> None:
    found = document.get("config")
    if found is None:
        return
    if not isinstance(found, dict) or not isinstance(found.get("stamp"), str):
        raise ValueError("config is no note of config.toml")
    _text(found, "output")


def _place(found: object, name: str) -> None:
    """Refuse anything but id and slug by their grammar: both end in addresses and on terminals."""
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no workspace")
    ref, slug = _text(found, "id"), _text(found, "slug")
    if not (ref or slug) or (ref and not is_workspace_id(ref)) or (slug and not is_slug(slug)):
        raise ValueError(f"{name} is no workspace")


def _text(document: dict[str, object], name: str) -> str | None:
    found = document.get(name)
    if found is None or (isinstance(found, str) and len(found) <= _LONGEST):
        return found
    raise ValueError(f"{name} is no text")


def _tables(document: dict[str, object], name: str) -> list[dict[str, object]]:
    found = document.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise ValueError(f"{name} is no table")
    return list(found.values())


def _list(document: dict[str, object], name: str) -> list[dict[str, object]]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{name} is no list")
    return found
