"""``permissions.yaml``: mode and rules of this machine's gate, changed through the socket only.

A file that is missing after it was seeded, unreadable, or corrupt means strict (D-25). What last came through the
socket (or the seeding) is remembered beside it: a change by another hand counts only where it is stricter.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from cmdop_agent.gate import Decision, decide, stricter_mode, strictest
from cmdop_agent.plain_yaml import LARGEST, load
from cmdop_agent.rules import Request, Rule, parse_rule
from cmdop_sdk.errors import LocalStateError
from cmdop_sdk.files import PrivateFile
from cmdop_wire.vocab import GateMode, GateVerdict

FILE, ACCEPTED_FILE = "permissions.yaml", "permissions.accepted.yaml"
HEADER = """\
# The gate of this machine: what the workspace's people may do here. Change it with `cmdop connect permissions …`;
# a change by hand counts only where it is stricter.
"""
Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the gate goes by; ``problem`` tells why that is not what somebody may have meant."""

    mode: GateMode = GateMode.STRICT
    rules: tuple[Rule, ...] = ()
    is_seeded: bool = False
    problem: str = ""


def parse(text: str) -> Permissions:
    """Return the permissions in the text of a file; ``ValueError`` says what is wrong with it."""
    content = load(text)
    if not isinstance(content, dict) or content.get("version") != 1 or type(content["version"]) is not int:
        raise ValueError("it has no «version: 1»")
    lines = [] if content.get("rules") is None else content["rules"]
    if not isinstance(lines, list) or set(content) - {"version", "mode", "rules"}:
        raise ValueError("it has version, mode and a list of rules, nothing else")
    try:
        mode = GateMode(content.get("mode", GateMode.STRICT))
    except ValueError:
        raise ValueError(f"its mode is none of {', '.join(GateMode)}") from None
    return Permissions(mode, tuple(parse_rule(line) for line in lines), is_seeded=True)


def render(permissions: Permissions) -> str:
    """Return the file's text; ``parse`` reads it back to the same permissions."""
    lines = [
        {str(rule.verdict): str(rule.operation)}
        | ({"match": rule.match} if rule.match else {})
        | ({"cwd": rule.cwd} if rule.cwd else {})
        for rule in permissions.rules
    ]
    content = {"version": 1, "mode": str(permissions.mode), "rules": lines}
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def settled(accepted: Permissions, found: Permissions) -> Permissions:
    """Return one set of permissions that is nowhere looser than ``accepted`` and has what is stricter in ``found``.

    A change through the socket starts from it, so that what another hand loosened does not come into force with it.
    """
    mode = stricter_mode(accepted.mode, found.mode)
    rules: list[Rule] = []
    for rule in found.rules:
        if rule in accepted.rules or rule.verdict is GateVerdict.DENY:
            rules.append(rule)
        elif rule.verdict is GateVerdict.ASK:
            # Under strict, asking would be looser than the no that stands there now.
            is_looser = accepted.mode is GateMode.STRICT
            rules.append(replace(rule, verdict=GateVerdict.DENY) if is_looser else rule)
    rules += [rule for rule in accepted.rules if not rule.is_allow and rule not in rules]
    return Permissions(mode, tuple(rules), is_seeded=True, problem=found.problem)


class PermissionsFile:
    """The file and the remembered state beside it, in the agent's own directory.

    ``own_directory`` holds everything of cmdop and is out of reach for remote work; ``was_seeded`` tells whether the
    workspace's defaults were ever taken here, in case both files are gone.
    """

    def __init__(
        self, directory: Path, own_directory: Path | None = None, was_seeded: Callable[[], bool] = lambda: False
    ) -> None:
        self.path = directory / FILE
        self._own_directory = os.path.realpath(own_directory or directory)
        self._was_seeded = was_seeded
        self._file = PrivateFile(directory, self.path)
        self._accepted_file = PrivateFile(directory, directory / ACCEPTED_FILE)
        self._known: tuple[Stamp, Permissions | None, Permissions | None] | None = None

    def read(self) -> Permissions:
        """Return what is in force now; never raises: whatever is wrong with the file, the answer is strict."""
        accepted, found = self._both()
        if accepted is None:
            return self._unseeded()
        now = settled(accepted, found)
        if not found.problem and (now.mode, set(now.rules)) != (found.mode, set(found.rules)):
            by_hand = f"{self.path} was loosened by hand, which does not count; use cmdop connect permissions …"
            return replace(now, problem=by_hand)
        return now

    def decide(self, request: Request) -> Decision:
        """Return the gate's word on ``request``: the stricter of what the file says and what was last accepted."""
        accepted, found = self._both()
        if accepted is None:
            return self._told(self._unseeded(), request)
        return strictest(self._told(found, request), self._told(accepted, request))

    def write(self, permissions: Permissions) -> None:
        """Put ``permissions`` in force; only the socket and the seeding come here."""
        text = render(permissions).encode()
        if len(text) > LARGEST:  # it would be strict from then on, because it is not read
            raise LocalStateError(f"{self.path} would be larger than {LARGEST} bytes", path=self.path)
        # Remembered first: a crash between the two leaves a file that counts as far as it is stricter.
        for file in (self._accepted_file, self._file):
            with file.locked() as locked:
                locked.write(text)

    def seed(self, mode: GateMode, rules: Iterable[Rule], *, is_bypass_accepted: bool) -> bool:
        """Take the workspace's defaults, once; ``bypass`` only if it was confirmed at this machine. Tell if it did."""
        if self._both()[0] is not None or self._was_seeded():
            return False
        if mode is GateMode.BYPASS and not is_bypass_accepted:
            mode = GateMode.STRICT
        self.write(Permissions(mode, tuple(rules)))
        return True

    def _told(self, permissions: Permissions, request: Request) -> Decision:
        decision = decide(request, permissions.mode, permissions.rules, self._own_directory)
        if permissions.problem and decision.verdict is GateVerdict.DENY:
            return replace(decision, reason=f"{decision.reason} ({permissions.problem})")
        return decision

    def _unseeded(self) -> Permissions:
        if not self._was_seeded():
            return Permissions()
        return Permissions(is_seeded=True, problem=f"{self.path} is missing, so everything is denied")

    def _both(self) -> tuple[Permissions | None, Permissions]:
        """Return what was last accepted, ``None`` before the seeding, and what the file says."""
        stamp = (*_stamp(self._accepted_file.path), *_stamp(self.path))
        if self._known is None or self._known[0] != stamp:
            self._known = (stamp, _read(self._accepted_file), _read(self._file))
        _, accepted, found = self._known
        missing = f"{self.path} is missing, so everything is denied"
        return accepted, found or Permissions(is_seeded=True, problem=missing)


def _stamp(path: Path) -> Stamp:
    """Return what changes whenever somebody touches the file."""
    try:
        found = path.lstat()
    except OSError as error:
        return (error.errno,)
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode, found.st_uid)


def _read(file: PrivateFile) -> Permissions | None:
    """Return what a file says, strict with the problem named when it says nothing usable, ``None`` without a file."""
    try:
        content = file.read()
        return None if content is None else parse(content.decode())
    except Exception as error:  # whatever it is: the gate must not open because of it
        return Permissions(is_seeded=True, problem=f"{file.path} cannot be used ({error}), so everything is denied")
