"""Help pages as plain text for 80 columns, or fewer on a terminal that has no more.

Those of the program and its nouns are made from the catalog alone, and cost neither Typer nor a command. The pages of
single commands are ``command_pages.py``'s.
"""

import os
import textwrap
from collections.abc import Sequence

from cmdop_cli.catalog import PROGRAM, ROOT, Noun
from cmdop_cli.options import GLOBAL_OPTIONS

WIDTH, NARROWEST = 80, 40  # cells of a page at most, and at least
HELP = ("--help", "-h")
_TERM = 28  # cells for the left column; a longer term gets a line of its own


def page_width() -> int:
    """Return how many cells a page may take: those of the terminal, if it is a narrow one, or what COLUMNS says."""
    told = os.environ.get("COLUMNS", "")
    try:
        columns = int(told) if told.isdecimal() else os.get_terminal_size(1).columns
    except OSError:
        return WIDTH
    return max(NARROWEST, min(WIDTH, columns))


def filled(text: str, columns: int, *, indent: int = 0) -> str:
    """Return ``text`` in lines of so many cells, broken at blanks only: an option is one word, and so is a time-out."""
    return textwrap.fill(text, columns, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def page_of(line: Sequence[str]) -> str | None:
    """Return the page that ``line`` asks for, or ``None`` if it asks for something else or for a command's page."""
    words = list(line)
    if words and words[-1] in HELP:
        words.pop()
    elif words[:1] == ["help"]:
        words.pop(0)
    elif words:
        return None
    noun = ROOT
    for word in words:
        found = noun.verbs.get(word)
        if not isinstance(found, Noun):
            return None
        noun = found
    return noun_page(noun, " ".join([PROGRAM, *words]))


def noun_page(noun: Noun, path: str) -> str:
    """Return the page of the program or of a noun: its commands, one line each."""
    shown = [(name, entry.summary) for name, entry in noun.verbs.items() if not entry.hidden]
    parts = [
        f"Usage: {path} {noun.word}",
        noun.summary,
        section("Without a command", _without_a_command(noun, path)),
        section(f"{noun.word.capitalize()}s", shown),
        global_options() if noun is ROOT else "",
        section("Examples", [(line, "") for line in noun.examples]),
        noun.more or f"Help on a command: {path} COMMAND --help",
    ]
    return "\n\n".join(part for part in parts if part)


def _without_a_command(noun: Noun, path: str) -> list[tuple[str, str]]:
    """Return what a noun means alone, and with a first word that is no command of it."""
    terms = []
    for line, verb in ((path, noun.alone), (f"{path} {noun.other}", noun.otherwise)):
        if verb is not None and noun.verbs[verb].hidden:
            terms.append((line, f"{noun.verbs[verb].summary} ({path} {verb} --help)"))
        elif verb is not None:
            terms.append((line, f"the same as {path} {verb}{line.removeprefix(path)}"))
    return terms


def global_options() -> str:
    """Return the one block that explains the options every command takes."""
    terms = [(", ".join(option.spellings) + (f" {option.metavar}" if option.metavar else ""), option.help)
             for option in GLOBAL_OPTIONS]  # fmt: skip
    terms.append(("--help, -h", "print help"))
    return section("Options anywhere on the line", terms)


def section(title: str, terms: Sequence[tuple[str, str]]) -> str:
    """Return ``terms`` with their explanations in two columns under ``title``; nothing for no terms."""
    if not terms:
        return ""
    size = min(max(len(term) for term, _ in terms), _TERM)
    lines = [f"{title}:"]
    for term, text in terms:
        if not text:
            lines.append(f"  {term}")
        elif len(term) > size:
            lines += [f"  {term}", textwrap.indent(filled(text, page_width() - size - 4), " " * (size + 4))]
        else:
            body = filled(text, page_width() - size - 4).splitlines()
            lines.append(f"  {term:<{size}}  {body[0]}")
            lines += [" " * (size + 4) + line for line in body[1:]]
    return "\n".join(lines)
