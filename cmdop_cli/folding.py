"""Long lines for a person's terminal, folded at words. What is to be pasted stays in one piece, whatever its length."""

import os
import re
from typing import TextIO

from cmdop_cli.safe_text import width

_WHOLE = ("fix: ", "  cmdop ", "cmdop ")  # lines that are themselves to be pasted
# A command in a sentence: after a colon, up to a semicolon or the end. What begins with one is about it instead.
_COMMAND = re.compile(r"(?<=: )(?<!^error: )(?<!^why: )cmdop [^;]*")
_GAP = "\0"  # holds the words of a command together while a line is folded


def columns_of(stream: TextIO) -> int:
    """Return how many cells a line of the terminal behind ``stream`` has; 0 where that cannot be told."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def folded(line: str, columns: int) -> str:
    """Return ``line`` (already safe) in lines of at most ``columns`` cells, what follows the first being indented.

    A word or a command that is longer than that keeps a line of its own, which the terminal breaks as it likes.
    """
    if width(line) <= columns or line.startswith(_WHOLE):
        return line
    text = line.lstrip(" ")
    indent = " " * (len(line) - len(text))
    glued = _COMMAND.sub(lambda found: found[0].rstrip().replace(" ", _GAP), text)
    lines = broken(glued, columns - len(indent), hanging=2)
    return f"\n{indent}  ".join([indent + lines[0], *lines[1:]]).replace(_GAP, " ")


def broken(text: str, columns: int, *, hanging: int = 0) -> list[str]:
    """Return ``text`` broken at blanks into lines of at most ``columns`` cells, ``hanging`` less after the first."""
    lines = [""]
    for word in text.split(" "):
        begun = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and width(begun) > columns - hanging * (len(lines) > 1):
            lines.append(word)
        else:
            lines[-1] = begun
    return lines
