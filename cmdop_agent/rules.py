"""Rules of the gate: what is asked, what a rule says, whether the two meet. Pure; data only.

Commands are matched word by word as argv, never as text, so no shell metacharacter means anything here (D-25).
"""

import fnmatch
import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

REST = "**"  # at the end of a command's pattern: any further words; in a path: any further folders
ONE = "*"  # in a command's pattern: exactly one word


class Operation(StrEnum):
    """What the gate is asked about."""

    EXECUTE_COMMAND = "execute_command"
    SESSION = "session"
    READ_FILE = "read_file"
    WRITE_FILE = "write_file"


class Verdict(StrEnum):
    """What a rule or the gate says."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Request:
    """One remote operation: the words of a command, or the real path of a file (links resolved)."""

    operation: Operation
    argv: tuple[str, ...] = ()
    path: str = ""
    is_shell: bool = False

    def __str__(self) -> str:
        if self.operation is Operation.SESSION:
            return "session(open)"
        return f"{self.operation}({shlex.join(self.argv) if self.argv else self.path})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of ``permissions.yaml``: a verdict, an operation, and what it matches (empty: everything).

    ``match`` of a command is words as a shell would split them: ``git status`` is exactly these two, ``git *`` any
    one word more, ``git **`` any number more. ``match`` of a file is an absolute path with ``*`` and ``**``.
    """

    verdict: Verdict
    operation: Operation
    match: str = ""

    def __str__(self) -> str:
        return f"{self.verdict} {self.operation}" + (f" {self.match}" if self.match else "")

    def meets(self, request: Request) -> bool:
        """Tell whether this rule speaks of ``request``."""
        if self.operation is not request.operation:
            return False
        if not self.match or self.operation is Operation.SESSION:
            return True
        if self.operation is Operation.EXECUTE_COMMAND:
            return _words_meet(tuple(shlex.split(self.match)), request.argv)
        return path_meets(self.match, request.path)


def _words_meet(pattern: Sequence[str], argv: Sequence[str]) -> bool:
    if pattern and pattern[-1] == REST:
        pattern = pattern[:-1]
        argv = argv[: len(pattern)] if len(argv) >= len(pattern) else argv
    return len(pattern) == len(argv) and all(wanted in (ONE, word) for wanted, word in zip(pattern, argv, strict=True))


def path_meets(pattern: str, path: str) -> bool:
    """Tell whether an absolute, normalised ``path`` matches; ``*`` stays inside one folder, ``**`` does not."""
    return _folders_meet(pattern.strip("/").split("/"), path.strip("/").split("/"))


def _folders_meet(pattern: list[str], parts: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == REST:
        return any(_folders_meet(pattern[1:], parts[start:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _folders_meet(pattern[1:], parts[1:])


def parse_rule(line: object) -> Rule:
    """Return the rule in one entry ``{allow|deny|ask: operation, match: …}``; ``ValueError`` says what is wrong."""
    if not isinstance(line, dict):
        raise ValueError("a rule is a line such as «allow: execute_command»")
    verdicts = [word for word in Verdict if word in line]
    unknown = set(line) - set(Verdict) - {"match"}
    if len(verdicts) != 1 or unknown:
        raise ValueError("a rule has one of allow, deny, ask, and may have match")
    operation, match = line[verdicts[0]], line.get("match", "")
    if operation not in list(Operation) or not isinstance(match, str) or "\0" in match:
        raise ValueError(f"a rule speaks of one of {', '.join(Operation)}, and its match is text")
    rule = Rule(verdicts[0], Operation(operation), match)
    check_match(rule)
    return rule


def check_match(rule: Rule) -> None:
    """Raise ``ValueError`` when the rule's pattern can never be meant so."""
    if not rule.match:
        return
    if rule.operation is Operation.SESSION:
        raise ValueError("a session has nothing to match")
    if rule.operation is Operation.EXECUTE_COMMAND:
        words = shlex.split(rule.match)  # ValueError for an open quotation
        if not words or REST in words[:-1] or words[0] in (ONE, REST):
            raise ValueError("a command's pattern begins with a program, and ** stands at its end")
    elif not posixpath.isabs(rule.match) or ".." in rule.match.split("/"):
        raise ValueError("a file's pattern is an absolute path")
