"""``profiles.toml``: which servers a profile talks to, one per mode, and who is signed in there.

Written with tomli-w by ``login`` and ``profile``; the SDK reads it too (``cmdop_sdk.profiles``).
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from cmdop_cli.failures import usage
from cmdop_cli.state_shape import MODES
from cmdop_sdk import documents
from cmdop_sdk.files import PrivateFile

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Server(NamedTuple):
    """The server of a profile in one mode; ``ca_pin`` is ``sha256:…`` of a self-signed certificate."""

    url: str
    ca_pin: str | None = None
    account_id: str | None = None
    email: str | None = None


class Profiles:
    """The profiles of one user; the file is read once, when first asked for."""

    def __init__(self, file: PrivateFile) -> None:
        self.file = file
        self._document: dict[str, Any] | None = None

    def names(self) -> list[str]:
        """Return the names, in the file's order."""
        return list(self._profiles())

    def server(self, profile: str, mode: str) -> Server | None:
        """Return where ``profile`` talks to in ``mode``, or ``None`` when it never signed in there."""
        servers = documents.table(self.file.path, self._profiles().get(profile, {}), "servers")
        found = servers.get(mode)
        if found is None:
            return None
        path = self.file.path
        if not isinstance(found, dict):
            documents.text(path, servers, mode)  # a server must be a table: complain about the field
        return Server(
            url=documents.text(path, found, "url"),
            ca_pin=documents.text(path, found, "ca_pin") if "ca_pin" in found else None,
            account_id=documents.text(path, found, "account_id") if "account_id" in found else None,
            email=documents.text(path, found, "email") if "email" in found else None,
        )

    def save(self, profile: str, mode: str, server: Server) -> None:
        """Note the server of ``profile`` in ``mode``."""
        check_name(profile)
        fields = {
            "url": server.url, "ca_pin": server.ca_pin, "account_id": server.account_id, "email": server.email,
        }  # fmt: skip

        def change(profiles: dict[str, Any]) -> None:
            servers = profiles.setdefault(profile, {}).setdefault("servers", {})
            servers[mode] = {name: value for name, value in fields.items() if value is not None}

        self._change(change)

    def forget(self, profile: str) -> None:
        """Forget a profile with its servers in both modes; what a newer cmdop keeps there stays."""

        def change(profiles: dict[str, Any]) -> None:
            servers = profiles.get(profile, {}).get("servers", {})
            for mode in MODES:
                servers.pop(mode, None)
            if not servers:
                profiles.pop(profile, None)

        self._change(change)

    def rename(self, old: str, new: str) -> None:
        """Call a profile by another name."""
        check_name(new)

        def change(profiles: dict[str, Any]) -> None:
            if old in profiles:
                profiles[new] = profiles.pop(old)

        self._change(change)

    def _profiles(self) -> dict[str, Any]:
        if self._document is None:
            content = self.file.read()
            self._document = {} if content is None else documents.parse_toml(self.file.path, content)
        return documents.table(self.file.path, self._document, "profiles")

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        import tomli_w

        with self.file.locked() as locked:
            content = locked.read() or b""
            document = documents.parse_toml(self.file.path, content)
            documents.check_writable(self.file.path, document)
            document.setdefault("schema", documents.SCHEMA)
            change(document.setdefault("profiles", {}))
            fresh = tomli_w.dumps(document).encode()
            if fresh != content:
                locked.write(fresh)
        self._document = None


def check_name(name: str) -> str:
    """Return ``name`` if a profile may be called so, else raise a usage failure."""
    if not NAME.fullmatch(name):
        raise usage("a profile's name is 1 to 63 letters, digits, dots, dashes and underscores")
    return name
