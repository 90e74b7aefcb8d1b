"""Text for terminals: aligned tables, records and the box around a secret. Loaded only when one is drawn."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cmdop_cli.folding import broken
from cmdop_cli.results import Column, pick
from cmdop_cli.safe_text import safe, width

_GAP = "  "
_NARROWEST = 8  # cells; a column is not squeezed below it


def table(
    columns: Sequence[Column], items: Sequence[Mapping[str, Any]], *, bold: Callable[[str], str], is_terminal: bool
) -> str:
    """Return ``items`` as aligned lines under a heading; on a terminal long texts are squeezed into its width."""
    rows = [[_sayable(shown(column, pick(item, column.name))) for column in columns] for item in items]
    sizes = [max(width(column.title), *(width(row[place]) for row in rows)) for place, column in enumerate(columns)]
    if is_terminal:
        room = shutil.get_terminal_size().columns
        _squeeze(sizes, columns, room)
        asides = [place for place, column in enumerate(columns) if column.kind == "aside"]
        if asides and _taken(sizes) > room:  # a line that the terminal breaks is no line of a table any more
            kept = [column for place, column in enumerate(columns) if place != asides[-1]]
            return table(kept, items, bold=bold, is_terminal=True)
    lines = [bold(_line([column.title for column in columns], sizes, columns))]
    lines += [_line(row, sizes, columns) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def record_lines(columns: Sequence[Column], fields: Mapping[str, Any], *, is_terminal: bool = False) -> str:
    """Return one object as ``name  value`` lines; on a terminal long values go on below themselves."""
    names = [column.title.lower() for column in columns]
    size = max((len(name) for name in names), default=0)
    room = shutil.get_terminal_size().columns - size - len(_GAP) if is_terminal else 0
    lines = []
    for name, column in zip(names, columns, strict=True):
        value = _sayable(shown(column, pick(fields, column.name)))
        folded = broken(value, room) if is_terminal and width(value) > room else [value]
        lines += [
            f"{each:<{size}}{_GAP}{part}" for each, part in zip([name, *[""] * len(folded)], folded, strict=False)
        ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def boxed(secret: str, *, unicode: bool) -> str:
    """Return ``secret`` in a box; one that does not fit gets only the rules, so that its line can be copied."""
    side, corners, rule = ("│", "┌┐└┘", "─") if unicode else ("|", "++++", "-")
    room = shutil.get_terminal_size().columns
    text = safe(secret)
    if len(text) + 4 > room:
        return f"{rule * room}\n{text}\n{rule * room}\n"
    edge = rule * (len(text) + 2)
    return f"{corners[0]}{edge}{corners[1]}\n{side} {text} {side}\n{corners[2]}{edge}{corners[3]}\n"


def shown(column: Column, value: Any) -> str:
    """Return ``value`` as a cell that a person reads."""
    if column.show is not None:
        return safe(column.show(value))
    if column.kind == "mark":
        return "*" if value else ""
    if column.kind in ("ago", "ends") and not value:
        return "never"
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.kind in ("time", "ago", "ends") and isinstance(value, str):
        return _moment(value, column.kind)
    if isinstance(value, list):
        return ", ".join(shown(column, item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(str(key))}:{shown(column, item)}" for key, item in value.items())
    return safe(str(value))


def _sayable(text: str) -> str:
    """Return ``text`` as stdout's encoding can say it, so that what is measured is what appears."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)


def _moment(value: str, kind: str) -> str:
    from datetime import UTC, datetime

    from cmdop_cli.times import local, parse_iso, short

    try:
        moment = parse_iso(value)
        return local(moment) if kind == "time" else short(moment, now=datetime.now(UTC))
    except (ValueError, OverflowError, OSError):
        return safe(value)


def _squeeze(sizes: list[int], columns: Sequence[Column], room: int) -> None:
    for kind in ("aside", "text"):
        free = [place for place, column in enumerate(columns) if column.kind == kind]
        while _taken(sizes) > room:
            widest = max(
                (place for place in free if sizes[place] > _NARROWEST), key=lambda place: sizes[place], default=None
            )
            if widest is None:
                break
            sizes[widest] -= 1


def _taken(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)


def _line(cells: Sequence[str], sizes: Sequence[int], columns: Sequence[Column]) -> str:
    parts = []
    for cell, size, column in zip(cells, sizes, columns, strict=True):
        text = _cut(cell, size)
        padding = " " * (size - width(text))
        parts.append(padding + text if column.kind == "number" else text + padding)
    return _GAP.join(parts).rstrip()


def _cut(text: str, size: int) -> str:
    if width(text) <= size:
        return text
    kept, used = "", 0
    for character in text:
        used += width(character)
        if used > size - 3:
            break
        kept += character
    return kept + "..."
