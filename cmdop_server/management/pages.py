"""How ``cmdop server`` talks about its own line: help pages and complaints that look like those of every other command.

The control plane does not know the command line's package, so how both must look is written here once more.
"""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn, TextIO

from cmdop_server.management import documents
from cmdop_wire.vocab import Exit

WIDTH, NARROWEST = 80, 40  # cells of a page at most, and at least
_NO_COMMAND = re.compile(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
_NO_OPTION = re.compile(r"unrecognized arguments: (-[^\s=]+)")
_COMPLAINTS = (
    (_NO_COMMAND, "{0} is no command of {prog}"),
    (re.compile(r"argument (\S+): invalid choice: .* \(choose from (.*)\)", re.DOTALL), "{0} is one of {1}"),
    (re.compile(r"argument (\S+): expected one argument"), "{0} needs a value"),
    (re.compile(r"argument (\S+): ignored explicit argument"), "{0} takes no value"),
    (re.compile(r"unrecognized arguments: (\S+)"), "{0} is more than {prog} takes"),
    (re.compile(r"the following arguments are required: (.*)"), "{prog} needs {0}"),
)
_SENTENCES = ("error: ", "why: ", "refused: ")
_TERM = 28  # cells for the left column; a longer term gets a line of its own


class Parser(argparse.ArgumentParser):
    """A parser with the house's pages; ``examples`` are lines to paste, ``more`` what follows them."""

    as_json: ClassVar[bool] = False  # of the line that is read: also what is wrong with it is then one object

    def __init__(self, *, examples: Sequence[str] = (), more: str = "", **settings: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, **settings)
        self.add_argument("--help", "-h", action="help", help="print help")
        self.examples = examples
        self.more = more
        self.offered: dict[str, Sequence[str]] = {}  # values of options that take others, too

    def format_help(self) -> str:
        """Return the page: usage, sentence, commands or arguments, options, examples."""
        own = [each for each in self._actions if each.help is not argparse.SUPPRESS]
        options = [each for each in own if each.option_strings]
        words = [each for each in own if not each.option_strings]
        nested = self._nested()
        if nested is not None:
            body = section("Commands", [(each.dest, each.help or "") for each in nested._choices_actions])
            closing = f"Help on a command: {self.prog} COMMAND --help"
        else:
            body = section("Arguments", [(str(each.metavar), each.help or "") for each in words])
            closing = ""
        shown = [each for each in options if "--help" not in each.option_strings] or options
        parts = [
            f"Usage: {self.format_usage()}",
            _filled(self.description or "", _page_width()),
            body,
            "" if nested is not None else section("Options", [(_term(each), each.help or "") for each in shown]),
            section("Examples", [(line, "") for line in self.examples]),
            self.more,
            closing,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def format_usage(self) -> str:
        """Return how a line is written, on one line."""
        own = [each for each in self._actions if "--help" not in each.option_strings]
        words = [str(each.metavar) for each in own if not each.option_strings]
        needed = [_term(each) for each in own if each.option_strings and each.required]
        has_options = any(each.option_strings and not each.required for each in own)
        return " ".join([self.prog, *needed, *(["[OPTIONS]"] if has_options else []), *words])

    def candidates(self, words: Sequence[str]) -> list[tuple[str, str]]:
        """Return what the last of ``words`` may become, each with its sentence: commands, options, or their values."""
        *before, last = words or [""]
        awaiting: argparse.Action | None = None  # the option whose value the last word is
        for place, word in enumerate(before):
            if awaiting is not None:  # this is its value
                awaiting = None
                continue
            awaiting = self._option_string_actions.get(word)
            if awaiting is not None and awaiting.nargs == 0:
                awaiting = None
            nested = self._nested()
            if nested is not None and not word.startswith("-"):
                below = nested.choices.get(word)
                return below.candidates(words[place + 1 :]) if isinstance(below, Parser) else []
        nested = self._nested()
        if awaiting is not None:
            values = self.offered.get(awaiting.option_strings[0]) or awaiting.choices or ()
            found = [(str(each), "") for each in values]
        elif last.startswith("-"):
            found = [
                (each.option_strings[0], each.help or "")
                for each in self._actions
                if each.option_strings and each.help != argparse.SUPPRESS
            ]
        else:
            found = [] if nested is None else [(each.dest, each.help or "") for each in nested._choices_actions]
        return [(word, text) for word, text in found if word.startswith(last)]

    def _nested(self) -> "argparse._SubParsersAction[argparse.ArgumentParser] | None":
        return next((each for each in self._actions if isinstance(each, argparse._SubParsersAction)), None)

    def error(self, message: str) -> NoReturn:
        """End with status 2: what is wrong, how it is written, and where help is."""
        said, fix = message[:1].lower() + message[1:], f"{self.prog} --help"
        for pattern, ours in _COMPLAINTS:
            if found := pattern.match(message):
                said = ours.format(*(each.replace("'", "") for each in found.groups()), prog=self.prog)
                break
        if found := _NO_OPTION.match(message):
            known = [name for each in self._actions for name in each.option_strings if name.startswith("--")]
            near = [each for each in get_close_matches(found[1], known, n=1) if each != "--help"]
            said = f"there is no option {found[1]} of {self.prog}" + (f"; the nearest is {near[0]}" if near else "")
        if found := _NO_COMMAND.match(message):
            near = get_close_matches(found[1], found[2].replace("'", "").split(", "), n=1)
            fix = f"{self.prog} {near[0]} --help" if near else fix
        if Parser.as_json:
            sys.stderr.write(documents.error("usage", said, fix, Exit.USAGE) + "\n")
            sys.exit(int(Exit.USAGE))
        for line in (f"error: {said}", f"why: its usage is {self.format_usage()}", f"fix: {fix}"):
            sys.stderr.write(folded(line, sys.stderr) + "\n")
        sys.exit(int(Exit.USAGE))


def folded(line: str, stream: TextIO) -> str:
    """Return a sentence folded at words where a terminal is too narrow for it; what may be pasted stays as it is."""
    if not line.startswith(_SENTENCES) or not stream.isatty():
        return line
    columns = shutil.get_terminal_size().columns
    return textwrap.fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _filled(text: str, columns: int) -> str:
    return textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)


def _page_width() -> int:
    return max(NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def _term(option: argparse.Action) -> str:
    name = option.option_strings[0]
    if option.nargs == 0:
        return ", ".join(option.option_strings)
    value = option.metavar or "|".join(map(str, option.choices or ())) or option.dest.upper()
    return f"{name} {value}"


def section(title: str, terms: Sequence[tuple[str, str]]) -> str:
    """Return ``terms`` with their explanations in two columns under ``title``; nothing for no terms."""
    if not terms:
        return ""
    size = min(max(len(term) for term, _ in terms), _TERM)
    lines = _filled(f"{title}:", _page_width()).splitlines()
    for term, text in terms:
        body = _filled(text, _page_width() - size - 4).splitlines() if text else []
        first = f"  {term:<{size}}  {body.pop(0)}" if body and len(term) <= size else f"  {term}"
        lines += [first.rstrip(), *(" " * (size + 4) + line for line in body)]
    return "\n".join(lines)
