"""The changes that may be made to ``state.json``, each with its name. Works on the document, so that what a newer
cmdop of the same schema added survives. Pure: the lock and the file are ``local.py``'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cmdop_cli.state import Choice, Membership, Place, State, parsed
from cmdop_cli.state_shape import CHOICE_FIELDS, DEFAULT_PROFILE, SCHEMA

CACHED = 500  # workspaces per identity; one that is not among them costs `workspace use` a request


class Draft:
    """A state that is being changed; what is read through ``state`` always shows the changes so far."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        document.setdefault("schema", SCHEMA)

    @property
    def state(self) -> State:
        """Return the state as it would be written now."""
        return parsed(self.document)

    def choose(self, profile: str, mode: str, place: Place | None) -> None:
        """Make ``place`` active; ``None`` is no workspace at all, not even the account's default."""
        before = self.state.choice(profile, mode).active
        if before is not None and (place is None or before.ref != place.ref):
            self._set("previous", profile, mode, _written(before))
        self._set("active", profile, mode, None if place is None else _written(place))
        self._set("none", profile, mode, True if place is None else None)

    def put_back(self, profile: str, mode: str, before: Choice, *, instead_of: Place) -> None:
        """Undo ``choose``, unless somebody has chosen something else meanwhile."""
        if self.state.choice(profile, mode).active != instead_of:
            return
        for name, place in (("active", before.active), ("previous", before.previous)):
            self._set(name, profile, mode, None if place is None else _written(place))
        self._set("none", profile, mode, before.none or None)

    def signed_in(
        self,
        profile: str,
        mode: str,
        *,
        identity: str,
        origin: str,
        account_id: str,
        email: str,
        workspace: Place,
        default: Place | None,
    ) -> None:
        """Note who is signed in; the workspace becomes active only where none is chosen (D-16)."""
        choice = self.state.choice(profile, mode)
        if choice.identity not in (None, identity):
            # Another account: its workspaces are other ones, and so is what was chosen among them.
            for name in CHOICE_FIELDS:
                self._set(name, profile, mode, None)
            choice = self.state.choice(profile, mode)
        entry = self._table("identities").setdefault(identity, {})
        entry.update(origin=origin, account={"id": account_id, "email": email})
        entry["default"] = None if default is None else _written(default)
        self._set("signed_in", profile, mode, identity)
        if choice.active is None and not choice.none:
            self._set("active", profile, mode, _written(workspace))

    def signed_out(self, profile: str, mode: str) -> None:
        """Forget who is signed in, and what was chosen; the caches go when no profile uses the identity any more."""
        identity = self.state.choice(profile, mode).identity
        for name in CHOICE_FIELDS:
            self._set(name, profile, mode, None)
        used = {choice.identity for choices in self.state.choices.values() for choice in choices.values()}
        if identity is not None and identity not in used:
            self._table("identities").pop(identity, None)

    def deselect(self, identity: str, place: Place) -> None:
        """Make ``place`` neither active nor previous wherever ``identity`` is signed in; its default stays."""
        for profile, choices in self.state.choices.items():
            for mode, choice in choices.items():
                if choice.identity != identity:
                    continue
                for name, chosen in (("active", choice.active), ("previous", choice.previous)):
                    if chosen is not None and place.ref in (chosen.id, chosen.slug):
                        self._set(name, profile, mode, None)

    def remember(self, identity: str, memberships: Sequence[Membership], *, at: str) -> None:
        """Cache the workspaces that ``identity`` may enter, as listed at the moment ``at`` (ISO 8601).

        Only the first ``CACHED``: a cache must never make the file too large to be read again.
        """
        entry = self._table("identities").get(identity)
        if isinstance(entry, dict):
            items = [{**_written(each.place), "name": each.name, "role": each.role} for each in memberships[:CACHED]]
            entry["memberships"] = {"at": at, "items": items}

    def renamed(self, place: Place) -> None:
        """Bring every label of the workspace ``place.id`` up to date: a slug is only what it was last heard to be."""
        for found in _places(self.document):
            if place.id is not None and found.get("id") == place.id:
                found["slug"] = place.slug

    def use_profile(self, profile: str) -> None:
        """Make ``profile`` the current one."""
        self.document["profile"] = profile

    def use_mode(self, mode: str) -> None:
        """Make ``mode`` the current one."""
        self.document["mode"] = mode

    def rename_profile(self, old: str, new: str) -> None:
        """Call the profile ``old`` by another name, with everything that was chosen in it."""
        for name in CHOICE_FIELDS:
            table = self._table(name)
            if old in table:
                table[new] = table.pop(old)
        for binding in self.document.get("bindings", []):
            if binding.get("profile", DEFAULT_PROFILE) == old:
                binding["profile"] = new
        if self.document.get("profile", DEFAULT_PROFILE) == old:
            self.document["profile"] = new

    def forget_profile(self, profile: str) -> None:
        """Forget a profile, its choices and its bindings; the current one becomes ``default``."""
        for mode in list(self.state.choices.get(profile, {})):
            self.signed_out(profile, mode)
        for name in CHOICE_FIELDS:
            self._table(name).pop(profile, None)
        bindings = self.document.get("bindings", [])
        self.document["bindings"] = [each for each in bindings if each.get("profile", DEFAULT_PROFILE) != profile]
        if self.document.get("profile") == profile:
            self.document["profile"] = DEFAULT_PROFILE

    def saw_settings(self, stamp: str, output: str | None) -> None:
        """Note what config.toml says while it has ``stamp``; commands that start fast then need not read it."""
        self.document["config"] = {"stamp": stamp, "output": output}

    def _table(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document.setdefault(name, {})
        return found

    def _set(self, name: str, profile: str, mode: str, value: Any) -> None:
        modes = self._table(name).setdefault(profile, {})
        if value is None:
            modes.pop(mode, None)
        else:
            modes[mode] = value


def _written(place: Place) -> dict[str, Any]:
    return {"id": place.id, "slug": place.slug}


def _places(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [place for name in ("active", "previous") for modes in document.get(name, {}).values()
             for place in modes.values()]  # fmt: skip
    for identity in document.get("identities", {}).values():
        found += [identity.get("default"), *((identity.get("memberships") or {}).get("items", []))]
    found += document.get("bindings", [])
    return [each for each in found if isinstance(each, dict)]
