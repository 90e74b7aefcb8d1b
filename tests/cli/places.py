"""A home with local state in it: the workspaces, account and files that the tests of the local commands stand on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmdop_sdk.token_files import account_hash
from cmdop_wire.ids import make_key

ORIGIN = "http://127.0.0.1:9"  # the discard port: nothing listens, so whatever asks the network fails at once
ACCOUNT = "usr_" + "1" * 20
EMAIL = "ann@acme.test"
IDENTITY = account_hash(ORIGIN, ACCOUNT)
ACME = {"id": "ws_" + "a" * 20, "slug": "acme"}
BETA = {"id": "ws_" + "b" * 20, "slug": "beta"}
GAMMA = {"id": "ws_" + "c" * 20, "slug": "gamma"}
HOME = {"id": "ws_" + "h" * 20, "slug": "ann-personal"}
KEYS = {slug: make_key(slug).text for slug in ("acme", "beta")}


def state(
    *,
    active: Mapping[str, Any] | None = ACME,
    previous: Mapping[str, Any] | None = None,
    default: Mapping[str, Any] | None = HOME,
    none: bool = False,
    signed_in: bool = True,
    memberships: tuple[Mapping[str, Any], ...] = (ACME, BETA, HOME),
    bindings: tuple[Mapping[str, Any], ...] = (),
    **others: Any,
) -> dict[str, Any]:
    """Return a state.json of one profile in one mode."""
    document: dict[str, Any] = {"schema": 1, "profile": "default", "mode": "prod", "bindings": list(bindings)}
    who = IDENTITY if signed_in else None
    fields = {"active": active, "previous": previous, "none": none or None, "signed_in": who}
    for name, value in fields.items():
        document[name] = {"default": {"prod": value}} if value is not None else {}
    items = [{**each, "name": each["slug"].title(), "role": "member"} for each in memberships]
    document["identities"] = {
        IDENTITY: {
            "origin": ORIGIN,
            "account": {"id": ACCOUNT, "email": EMAIL},
            "default": default,
            "memberships": {"at": "2026-01-01T00:00:00Z", "items": items},
        }
    } if signed_in else {}  # fmt: skip
    return document | others


def write(environ: Mapping[str, str], document: object, name: str = "state.json") -> Path:
    """Write a local file as the command line would: private from birth; bytes as they are, anything else as JSON."""
    folder = Path(environ["CMDOP_CONFIG_DIR"])
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with open(path, "wb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        file.write(content)
    return path


def read(environ: Mapping[str, str]) -> Any:
    """Return what state.json holds now."""
    return json.loads((Path(environ["CMDOP_CONFIG_DIR"]) / "state.json").read_bytes())
