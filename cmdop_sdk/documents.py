"""The JSON and TOML documents in local state: parsing that survives hostile input, schema numbers, typed fields.

Whatever is wrong is a ``LocalStateError`` that names the file; the file is never touched.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmdop_sdk.errors import LocalStateError

SCHEMA = 1  # of every document that we write; a newer one is read as far as it goes and never rewritten

Document = dict[str, Any]
Parser = Callable[[Path, bytes], Document]


def parse_json(path: Path, content: bytes) -> Document:
    """Return the object in ``content``; empty, torn, nested beyond reason or duplicated keys are refused."""
    if not content.strip(b"\0 \t\r\n"):
        # What a crash leaves where the file system kept the name but not the content.
        raise _unreadable(path, "it holds nothing but zero bytes" if b"\0" in content else "it is empty")
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        raise _unreadable(path, wrong) from None
    return _checked(path, document)


def parse_toml(path: Path, content: bytes) -> Document:
    """Return the table in ``content``."""
    import tomllib

    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as wrong:
        raise _unreadable(path, wrong) from None
    return _checked(path, document)


def to_json(document: Document) -> bytes:
    """Return what is written to disk: readable, stable, ending in a line feed."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def check_writable(path: Path, document: Document) -> None:
    """Refuse to replace a document that a newer cmdop wrote."""
    if document.get("schema", SCHEMA) > SCHEMA:
        raise LocalStateError(
            f"{path} was written by a newer cmdop and is only read by this one",
            path=path,
            hint="pip install -U cmdop-cli",
        )


def text(path: Path, document: Document, field: str) -> str:
    """Return a field that must be a text."""
    value = document.get(field)
    if not isinstance(value, str) or not value:
        raise _wrong(path, field)
    return value


def number(path: Path, document: Document, field: str) -> float:
    """Return a field that must be a number."""
    value = document.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, field)
    return float(value)


def table(path: Path, document: Document, field: str) -> Document:
    """Return a field that must be an object; an absent one is empty."""
    value = document.get(field, {})
    if not isinstance(value, dict):
        raise _wrong(path, field)
    return value


def _checked(path: Path, document: object) -> Document:
    if not isinstance(document, dict):
        raise _unreadable(path, "it holds no object")
    schema = document.get("schema", SCHEMA)
    if type(schema) is not int or schema < 1:
        raise _wrong(path, "schema")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _wrong(path: Path, field: str) -> LocalStateError:
    return LocalStateError(
        f"{path} cannot be used: {field} is missing or of the wrong kind", path=path, hint=_aside(path)
    )


def _unreadable(path: Path, reason: object) -> LocalStateError:
    if isinstance(reason, RecursionError):
        reason = "nested too deeply"
    elif isinstance(reason, UnicodeDecodeError):
        reason = "not UTF-8"
    elif isinstance(reason, json.JSONDecodeError):
        reason = f"not JSON at line {reason.lineno}"
    return LocalStateError(f"{path} cannot be read: {reason}", path=path, hint=_aside(path))


def _aside(path: Path) -> str:
    return f"mv {path} {path}.broken"
