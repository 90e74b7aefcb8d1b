"""What a command returns: data with the columns people see, and what it is as JSON. Its looks are ``output.py``'s."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Column(NamedTuple):
    """One column: the field (dots descend: ``workspace.slug``), its heading, and how its values read.

    ``kind`` is ``text``, ``id`` (never shortened), ``time`` (ISO 8601; local and to the minute in a table), ``ago`` and
    ``ends`` (a time; in a table its distance, none ``never``), ``number`` (right-aligned), ``mark`` (``*`` when true),
    ``aside`` (text that is shortened before any other, and left out of a table where even that makes no room).
    ``show`` makes of a value what a person reads in a table; everywhere else it stays as it is.
    """

    name: str
    heading: str | None = None
    kind: str = "text"
    show: "Callable[[Any], str] | None" = None

    @property
    def title(self) -> str:
        """Return the heading as a table prints it."""
        shown = self.name.rpartition(".")[2].replace("_", " ") if self.heading is None else self.heading
        return shown.upper()


class Listing(NamedTuple):
    """Any number of items of one noun; an empty one is a success (exit 0).

    ``identifier`` is the field that ``--quiet`` prints, ``empty`` a sentence for a terminal, ``next`` the cursor when
    there is more than was asked for, ``extra`` further top-level fields of the JSON object, ``piped`` the columns of
    TSV where their order is another one.
    """

    noun: str
    items: "Sequence[Any]"
    columns: Sequence[Column]
    identifier: str = "id"
    empty: str = ""
    next: str | None = None
    extra: "Mapping[str, Any]" = {}
    piped: Sequence[Column] | None = None
    exit_code: int = 0


class Record(NamedTuple):
    """One object of a noun. Without ``columns`` every field is shown, in its order; with none, a table has no lines.

    ``planned`` marks what ``--dry-run`` would have done. ``rows`` replaces the table and TSV forms, for objects which
    are best read as a list; ``piped`` are the columns of TSV where a script wants fewer than a person.
    """

    noun: str
    fields: "Any"
    columns: Sequence[Column] | None = None
    identifier: str = "id"
    planned: bool = False
    piped: Sequence[Column] | None = None
    rows: Listing | None = None
    exit_code: int = 0


class Secret(NamedTuple):
    """An object with a secret that is shown exactly once: boxed on a terminal, bare and alone in a pipe."""

    noun: str
    fields: "Any"
    secret: str = "secret"  # noqa: S105 - the name of a field
    columns: Sequence[Column] | None = None
    undo: str = ""  # the line that ends what was made, should the secret reach nobody
    exit_code: int = 0


class Text(NamedTuple):
    """Lines for people: help topics, scripts. In JSON they are one object with ``text``, or with ``items``."""

    lines: Sequence[str]
    noun: str = "text"
    items: "Sequence[Any] | None" = None
    exit_code: int = 0


class Status(NamedTuple):
    """Nothing, or nothing more, on stdout; only an exit status."""

    exit_code: int = 0


Result = Listing | Record | Secret | Text | Status


def plain(value: "Any") -> "Any":
    """Return ``value`` as JSON knows it: structs and dataclasses as objects, moments in UTC, enums as words."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "isoformat"):
        from cmdop_cli.times import iso

        return iso(value) if hasattr(value, "hour") else value.isoformat()
    return str(value)


def pick(item: "Mapping[str, Any]", name: str) -> "Any":
    """Return the field ``name`` of a plain object; dots descend; what is not there is ``None``."""
    found: Any = item
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def encoded(document: "Mapping[str, Any]", *, indent: int | None = 2) -> str:
    """Return ``document`` from the JSON encoder, in ASCII: exact, and no terminal or encoding can stumble over it."""
    return json.dumps(document, indent=indent, ensure_ascii=True, allow_nan=False)
