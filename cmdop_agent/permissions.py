"""``permissions.yaml``: mode and rules of this machine's gate, read at every decision, changed through the socket only.

A file that is missing after it was seeded, unreadable, or corrupt means strict (D-25). The last state that came through
the socket (or the seeding) is remembered beside it: a change by another hand counts only if it is stricter.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cmdop_agent.gate import Decision, decide, is_stricter_or_same
from cmdop_agent.rules import Request, Rule, Verdict, parse_rule
from cmdop_sdk.files import PrivateFile
from cmdop_wire.vocab import GateMode

HEADER = """\
# The gate of this machine: what the workspace's people may do here. Change it with `cmdop connect permissions …`;
# a change by hand counts only where it is stricter.
"""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the file says; ``problem`` tells why strict is in force although the file does not say so."""

    mode: GateMode = GateMode.STRICT
    rules: tuple[Rule, ...] = ()
    is_seeded: bool = False
    problem: str = ""


def parse(text: str) -> Permissions:
    """Return the permissions in the text of a file; ``ValueError`` says what is wrong with it."""
    import yaml  # noqa: PLC0415 - 40 ms, and an agent without remote work needs none

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is not YAML: {error}") from None
    if not isinstance(content, dict) or content.get("version") != 1:
        raise ValueError("it has no «version: 1»")
    lines = content.get("rules") or []
    if not isinstance(lines, list) or set(content) - {"version", "mode", "rules", "seeded"}:
        raise ValueError("it has version, mode, seeded and a list of rules, nothing else")
    try:
        mode = GateMode(content.get("mode", GateMode.STRICT))
    except ValueError:
        raise ValueError(f"its mode is none of {', '.join(GateMode)}") from None
    return Permissions(mode, tuple(parse_rule(line) for line in lines), bool(content.get("seeded")))


def render(permissions: Permissions) -> str:
    """Return the file's text; ``parse`` reads it back to the same permissions."""
    import yaml  # noqa: PLC0415

    lines = [
        {str(rule.verdict): str(rule.operation)} | ({"match": rule.match} if rule.match else {})
        for rule in permissions.rules
    ]
    content = {
        "version": 1,
        "mode": str(permissions.mode),
        "seeded": permissions.is_seeded,
        "rules": lines,
    }
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


class PermissionsFile:
    """The file and the remembered state beside it, in the agent's own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "permissions.yaml"
        self._file = PrivateFile(directory, self.path)
        self._accepted_file = PrivateFile(directory, directory / "permissions.accepted.yaml")

    def read(self) -> Permissions:
        """Return what is in force now; never raises: whatever is wrong with the file, the answer is strict."""
        accepted = _read(self._accepted_file)
        if accepted is None:
            return Permissions()  # not seeded yet
        found = _read(self._file)
        if found is None:
            return Permissions(is_seeded=True, problem=f"{self.path} is missing, so everything is denied")
        if found.problem or is_stricter_or_same((found.mode, found.rules), (accepted.mode, accepted.rules)):
            return found
        return replace(accepted, problem=f"{self.path} was loosened by hand; use cmdop connect permissions")

    def write(self, permissions: Permissions) -> None:
        """Put ``permissions`` in force; only the socket and the seeding come here."""
        text = render(permissions).encode()
        # Remembered first: a crash between the two leaves a file that counts as far as it is stricter.
        for file in (self._accepted_file, self._file):
            with file.locked() as locked:
                locked.write(text)

    def seed(self, mode: GateMode, rules: Iterable[Rule], *, is_bypass_accepted: bool) -> bool:
        """Take the workspace's defaults, once; ``bypass`` only if it was confirmed at this machine. Tell if it did."""
        if _read(self._accepted_file) is not None:
            return False
        if mode is GateMode.BYPASS and not is_bypass_accepted:
            mode = GateMode.STRICT
        self.write(Permissions(mode, tuple(rules), is_seeded=True))
        return True

    def decide(self, request: Request) -> Decision:
        """Return the gate's word on ``request`` under what is in force now."""
        now = self.read()
        decision = decide(request, now.mode, now.rules, str(self.directory))
        if now.problem and decision.verdict is Verdict.DENY:
            return replace(decision, reason=f"{decision.reason} ({now.problem})")
        return decision


def _read(file: PrivateFile) -> Permissions | None:
    """Return what a file says, strict with the problem named when it says nothing usable, ``None`` without a file."""
    try:
        content = file.read()
        return None if content is None else parse(content.decode())
    except Exception as error:  # whatever it is: the gate must not open because of it
        return Permissions(is_seeded=True, problem=f"{file.path} cannot be used ({error}), so everything is denied")


def is_own_process(pid: int, agent: int | None = None) -> bool:
    """Tell whether ``pid`` is the agent or descends from it: such a process may not move the gate (D-25)."""
    agent = os.getpid() if agent is None else agent
    seen = set()
    while pid > 1 and pid not in seen:
        if pid == agent:
            return True
        seen.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return True  # it cannot be told: refuse
        pid = int(stat.rpartition(")")[2].split()[1])
    return False
