"""Printing the agent's growing log: its last lines and, if asked for, every new one, also after it was turned over."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cmdop_cli.agent import tail
from cmdop_cli.failures import Failure, usage
from cmdop_cli.safe_text import safe
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call

LOOK = 0.3  # seconds between two looks for new lines


def printed(call: "Call", path: Path, count: int, *, follow: bool) -> None:
    """Print the last ``count`` lines of ``path``; with ``follow`` go on until the call is interrupted.

    Logs hold words of others, so control characters are made visible; JSON gives every line as an object.
    """
    if not path.exists():
        raise Failure(ErrorCode.NOT_FOUND, f"there is no log yet at {path}", hint="cmdop connect start")
    if follow and call.output.form == "json":
        raise usage(
            "a log that is followed has no end, which one JSON object needs", hint="cmdop connect logs -f -o ndjson"
        )
    file: TextIO = path.open(encoding="utf-8", errors="replace")
    try:
        file.seek(0, 2)
        _print(call, tail(path, count), is_last=not follow)
        while follow:
            line = file.readline()
            if line:
                _print(call, [line.rstrip("\n")], is_last=False)
                continue
            time.sleep(LOOK)
            file = _same_or_next(path, file)
    finally:
        file.close()


def _print(call: "Call", lines: list[str], *, is_last: bool) -> None:
    from cmdop_cli.results import encoded

    if call.output.form == "json" and is_last:
        call.output.write(encoded({"schema": "cmdop.log.v1", "items": [{"line": line} for line in lines]}) + "\n")
    elif call.output.form == "ndjson":
        rows = [encoded({"schema": "cmdop.log.v1", "line": line}, indent=None) for line in lines]
        call.output.write("".join(f"{row}\n" for row in rows))
    else:
        call.output.write("".join(f"{safe(line)}\n" for line in lines))


def _same_or_next(path: Path, file: TextIO) -> TextIO:
    """Return the log that is written now: the same, or a new one once the old was turned over and read to its end."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return file
    import os

    if found.st_ino == os.fstat(file.fileno()).st_ino and found.st_size >= file.tell():
        return file
    file.close()
    return path.open(encoding="utf-8", errors="replace")
