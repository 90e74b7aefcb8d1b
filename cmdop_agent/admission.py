"""Asking the gate about an opening, waiting for a person where the gate asks, and writing down what was decided."""

import asyncio
import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cmdop_agent.environment import words_of
from cmdop_agent.files import parts_below
from cmdop_agent.permissions import PermissionsFile
from cmdop_agent.refusals import Refusal
from cmdop_agent.rules import Operation, Request, Verdict
from cmdop_agent.session import Opening
from cmdop_wire.frames import LIMITS
from cmdop_wire.ids import mask

LOG_SIZE = 4 * 1024 * 1024
OPERATIONS = {
    "session": Operation.SESSION,
    "command": Operation.EXECUTE_COMMAND,
    "read_file": Operation.READ_FILE,
    "write_file": Operation.WRITE_FILE,
}


def request_of(opening: Opening, root: str) -> Request:
    """Return what the gate is asked about an opening; ``Refusal`` for a kind that this agent does not know."""
    operation = OPERATIONS.get(opening.kind)
    if operation is None:
        raise Refusal("unknown_operation", f"this agent does not know {opening.kind!r}", "update the agent")
    if operation is Operation.EXECUTE_COMMAND:
        words = words_of(opening)
        if any("\0" in word for word in words):
            raise Refusal("invalid", "a word of a command cannot hold a NUL")
        return Request(operation, argv=tuple(words), is_shell=opening.shell)
    if operation is Operation.SESSION:
        return Request(operation)
    # No link is followed below the root, so this is the path that will be opened.
    return Request(operation, path="/".join([root.rstrip("/"), *parts_below(root, opening.path)]))


@dataclass(slots=True)
class Approval:
    """One request that waits for a person at the machine."""

    number: int
    request: Request
    actor: str
    asked_at: datetime
    answer: asyncio.Future[bool] = field(repr=False)


class Admission:
    """The gate as the channels meet it."""

    def __init__(self, permissions: PermissionsFile, root: str, report: Callable[[dict[str, object]], None]) -> None:
        self.permissions = permissions
        self.root = root  # of files; real, so that no link leads out of it
        self.waiting: dict[int, Approval] = {}
        self.approvers = 0  # people that look at the requests: the foreground terminal, `connect approvals`
        self.on_waiting: Callable[[Approval], None] = lambda _: None
        self._report = report
        self._log = permissions.directory / "gate.jsonl"
        self._number = 0

    async def admit(self, opening: Opening, tell: Callable[[str, str], None]) -> None:
        """Return when the machine lets ``opening`` happen; ``Refusal`` when it does not.

        ``tell`` carries a notice to the caller while a person is asked; a cancelled call withdraws the request.
        """
        request = request_of(opening, self.root)
        decision = self.permissions.decide(request)
        verdict, reason = decision.verdict, decision.reason
        if verdict is Verdict.ASK:
            verdict, reason = await self._ask(request, opening, reason, tell)
        self._write_down(opening, request, verdict, reason)
        if verdict is Verdict.DENY:
            if reason.startswith("approval_unavailable"):
                raise Refusal(
                    "approval_unavailable",
                    f"{request} needs a person's approval at the machine, and nobody is there",
                    f"at the machine: cmdop connect permissions allow {request.operation} {quoted(request)}".rstrip(),
                )
            raise Refusal(
                "gate_denied",
                f"the machine's gate refuses {request}: {reason}",
                f"at the machine: cmdop connect permissions allow {request.operation} {quoted(request)}".rstrip(),
            )

    async def _ask(
        self, request: Request, opening: Opening, reason: str, tell: Callable[[str, str], None]
    ) -> tuple[Verdict, str]:
        if not self.approvers:
            return Verdict.DENY, f"approval_unavailable: {reason}"
        self._number += 1
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        actor = opening.actor.get("label", "") or opening.actor.get("id", "")
        approval = Approval(self._number, request, actor, datetime.now(UTC), answer)
        self.waiting[approval.number] = approval
        tell("waiting_for_approval", f"waiting for approval at the machine: {reason}")
        self.on_waiting(approval)
        try:
            async with asyncio.timeout(LIMITS.approval):
                approved = await answer
        except TimeoutError:
            return Verdict.DENY, "nobody answered within 60 s"
        finally:
            self.waiting.pop(approval.number, None)
        return (Verdict.ALLOW, "approved at the machine") if approved else (Verdict.DENY, "refused at the machine")

    def answer(self, number: int, *, approved: bool) -> bool:
        """Give a person's answer to a waiting request; tell whether it still waited."""
        approval = self.waiting.get(number)
        if approval is None or approval.answer.done():
            return False
        approval.answer.set_result(approved)
        return True

    def _write_down(self, opening: Opening, request: Request, verdict: Verdict, reason: str) -> None:
        entry: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": opening.actor,
            "operation": str(request.operation),
            "request": mask(str(request))[:2000],
            "verdict": str(verdict),
            "reason": reason,
            "stream_id": opening.stream_id,
        }
        append_line(self._log, json.dumps(entry))
        self._report(entry)


def quoted(request: Request) -> str:
    """Return a request as the argument of a rule that would allow exactly it."""
    if request.operation is Operation.SESSION:
        return ""
    return shlex.quote(shlex.join(request.argv) if request.argv else request.path)


def append_line(path: Path, line: str) -> None:
    """Append to a private log, turned over once at 4 MiB; what cannot be written is given up, not the machine."""
    try:
        if path.exists() and path.stat().st_size > LOG_SIZE:
            path.replace(path.with_suffix(".old.jsonl"))
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "w") as log:
            log.write(line + "\n")
    except OSError:
        return
