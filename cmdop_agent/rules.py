"""Rules of the gate: what is asked, what a rule says, whether the two meet. No state; a wide look follows links.

Commands are matched word by word as argv, never as text, so no shell metacharacter means anything here (D-25). An
allow is read narrowly, a deny or ask widely: where in doubt, a rule errs on the strict side.
"""

import fnmatch
import glob
import os
import posixpath
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cmdop_wire.vocab import GateOperation, GateVerdict

REST = "**"  # at the end of a command's pattern: any further words; in a path: any further folders
ONE = "*"  # in a command's pattern: exactly one word, for an allow one that is no option
EVERYTHING = frozenset({"", ONE, REST, "open"})  # what a session's rule may have to match
_LONGEST_NAME = 1024  # characters; no system has a file that is called longer, in whatever spelling


@dataclass(frozen=True, slots=True)
class Request:
    """One remote operation: the words of a command, or the real path of a file (links resolved).

    ``cwd`` is where the caller wants a command to run, empty for the home folder; ``home`` is what ``~`` means.
    ``program`` is the file that the first word would run, links resolved, where that can be told. ``resolved`` is what
    rules found out about their own links: looked at once for all that is asked in one decision.
    """

    operation: GateOperation
    argv: tuple[str, ...] = ()
    path: str = ""
    cwd: str = ""
    home: str = ""
    program: str = ""
    resolved: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def real(self, path: str) -> str:
        """Return ``path`` with its links resolved, as they were when this decision first asked."""
        if path not in self.resolved:
            self.resolved[path] = os.path.realpath(path)
        return self.resolved[path]

    def __str__(self) -> str:
        if self.operation is GateOperation.SESSION:
            return "session(open)"
        where = f" in {self.cwd}" if self.cwd else ""
        return f"{self.operation}({shlex.join(self.argv) if self.argv else self.path}{where})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of ``permissions.yaml``: a verdict, an operation, and what it matches (empty: everything).

    ``match`` of a command is words as a shell would split them: ``git status`` is exactly these two, ``git *`` any
    one word more, ``git **`` any number more. ``match`` of a file is an absolute path, or one that begins with ``~/``,
    with ``*`` and ``**``. ``cwd`` is such a path too: without it an allow is about commands in the home folder only,
    because elsewhere the same words may mean something else.
    """

    verdict: GateVerdict
    operation: GateOperation
    match: str = ""
    cwd: str = ""

    def __str__(self) -> str:
        where = f" in {self.cwd}" if self.cwd else ""
        return f"{self.verdict} {self.operation}" + (f" {self.match}" if self.match else "") + where

    @property
    def is_allow(self) -> bool:
        """Tell whether this rule opens something; such a rule is read narrowly."""
        return self.verdict is GateVerdict.ALLOW

    def meets(self, request: Request) -> bool:
        """Tell whether this rule speaks of ``request``."""
        if self.operation is not request.operation:
            return False
        if self.operation is GateOperation.SESSION:
            return True
        if self.operation is not GateOperation.EXECUTE_COMMAND:
            return not self.match or self._is_path_met(self.match, request.path, request)
        return (not self.match or self._are_words_met(_words(self.match), request)) and self._is_there(request)

    def _is_there(self, request: Request) -> bool:
        if not self.cwd:
            return not self.is_allow or not self.match or not request.cwd
        return self._is_path_met(self.cwd, request.cwd or request.home, request)

    def _is_path_met(self, pattern: str, path: str, request: Request) -> bool:
        if self.is_allow:
            return path_meets(pattern, path, request.home)
        return path_meets(pattern, path, request.home, widely=True) or path_meets(
            _real(pattern, request), path, widely=True
        )

    def _are_words_met(self, pattern: Sequence[str], request: Request) -> bool:
        argv: Sequence[str] = request.argv
        if pattern[-1] == REST:
            pattern = pattern[:-1]
            argv = argv[: len(pattern)] if len(argv) >= len(pattern) else argv
        if len(pattern) != len(argv):
            return False
        if self.is_allow:
            return all(
                wanted == word or (wanted == ONE and not word.startswith("-"))
                for wanted, word in zip(pattern, argv, strict=True)
            )
        rest = zip(pattern[1:], argv[1:], strict=True)
        return all(wanted in (word, ONE) for wanted, word in rest) and (not pattern or _is_program(pattern[0], request))


def _is_program(wanted: str, request: Request) -> bool:
    """Tell whether a command's first word runs the program that a deny or ask means, however it is spelled."""
    if wanted == ONE:
        return True
    word = request.argv[0]
    if "/" not in wanted:
        names = {folded(posixpath.basename(word)), folded(posixpath.basename(request.program))}
        return folded(wanted) in names
    if "/" not in word and not request.program:
        return False
    folder = request.cwd or request.home or "/"
    meant = posixpath.join(folder, wanted)
    meanings = {_tidy(meant), request.real(meant)}
    spellings = {_tidy(posixpath.join(folder, word)) if "/" in word else "", request.program} - {""}
    return not {folded(each) for each in meanings}.isdisjoint(folded(each) for each in spellings)


def _tidy(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


@lru_cache(maxsize=4096)
def _words(match: str) -> tuple[str, ...]:
    return tuple(shlex.split(match))


def folded(text: str) -> str:
    """Return what does not tell apart what some systems do not: upper and lower case, two ways to write an accent."""
    if text.isascii():
        return text.lower()
    return text if len(text) > _LONGEST_NAME else _folded(text)


@lru_cache(maxsize=1024)
def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _real(pattern: str, request: Request) -> str:
    """Return the pattern with the links resolved in what comes before its first ``*``."""
    parts = _expanded(pattern, request.home)
    plain = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    there = request.real("/" + "/".join(parts[:plain]))
    return "/".join([glob.escape(there), *parts[plain:]])


def path_meets(pattern: str, path: str, home: str = "", *, widely: bool = False) -> bool:
    """Tell whether an absolute, normalised ``path`` matches; ``*`` stays inside one folder, ``**`` does not.

    ``widely`` does not tell upper and lower case apart: not every system does.
    """
    parts, words = _parts(path), _expanded(pattern, home)
    if widely:
        parts, words = [folded(part) for part in parts], [folded(word) for word in words]
    reached = {0}  # how many of the parts the pattern's words so far can have taken; no backtracking
    for word in words:
        if word == REST:
            reached = set(range(min(reached), len(parts) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(parts) and fnmatch.fnmatchcase(parts[at], word)}
    return len(parts) in reached


def _expanded(pattern: str, home: str) -> list[str]:
    """Return the words of a path's pattern; what ``~`` stands for means itself, whatever letters are in it."""
    if pattern == "~" or pattern.startswith("~/"):
        return [*_parts(glob.escape(home)), *_parts(pattern[1:])]
    return _parts(pattern)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def parse_rule(line: object) -> Rule:
    """Return the rule in one entry ``{allow|deny|ask: operation, match: …}``; ``ValueError`` says what is wrong."""
    if not isinstance(line, dict):
        raise ValueError("a rule is a line such as «allow: execute_command»")
    verdicts = [word for word in GateVerdict if word in line]
    unknown = set(line) - set(GateVerdict) - {"match", "cwd"}
    if len(verdicts) != 1 or unknown:
        raise ValueError("a rule has one of allow, deny, ask, and may have match and cwd")
    return rule_of(verdicts[0], line[verdicts[0]], line.get("match", ""), line.get("cwd", ""))


def rule_of(verdict: object, operation: object, match: object, cwd: object = "") -> Rule:
    """Return the rule made of these words, checked; ``ValueError`` says what is wrong."""
    if verdict not in list(GateVerdict):
        raise ValueError(f"a rule is one of {', '.join(GateVerdict)}")
    if operation not in list(GateOperation):
        raise ValueError(f"an operation is one of {', '.join(GateOperation)}")
    if not (isinstance(match, str) and isinstance(cwd, str)) or "\0" in match + cwd:
        raise ValueError("match and cwd are text")
    rule = Rule(GateVerdict(str(verdict)), GateOperation(str(operation)), match, cwd)
    _check(rule)
    return Rule(rule.verdict, rule.operation) if rule.operation is GateOperation.SESSION else rule


def _check(rule: Rule) -> None:
    """Raise ``ValueError`` when the rule can never be meant so."""
    if rule.cwd and (rule.operation is not GateOperation.EXECUTE_COMMAND or not _is_path(rule.cwd)):
        raise ValueError("cwd belongs to a command's rule, and is an absolute path or begins with ~/")
    if rule.operation is GateOperation.SESSION:
        if rule.match not in EVERYTHING:
            raise ValueError("a session has nothing to match")
    elif rule.operation is GateOperation.EXECUTE_COMMAND:
        try:
            words = shlex.split(rule.match)
        except ValueError:
            raise ValueError("the pattern of a command has a quotation mark or backslash without its end") from None
        if (rule.match and not words) or REST in words[:-1]:
            raise ValueError("a command's pattern is words, and ** stands at its end only")
        if rule.is_allow and words and words[0] in (ONE, REST):
            raise ValueError("an allowed command is named: its pattern begins with a program")
    elif rule.match and not _is_path(rule.match):
        raise ValueError("a file's pattern is an absolute path or begins with ~/")


def _is_path(pattern: str) -> bool:
    return pattern.startswith(("/", "~/")) and ".." not in pattern.split("/")
