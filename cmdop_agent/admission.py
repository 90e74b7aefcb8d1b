"""Asking the gate about an opening, waiting for a person where the gate asks, and writing down what was decided."""

import asyncio
import glob
import json
import logging
import os
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cmdop_agent.environment import Account
from cmdop_agent.files import parts_below
from cmdop_agent.gate import Decision, strictest
from cmdop_agent.permissions import PermissionsFile
from cmdop_agent.refusals import Refusal
from cmdop_agent.rules import ONE, REST, Request
from cmdop_agent.session import Opening
from cmdop_agent.work import Work, work_of
from cmdop_wire.frames import LIMITS
from cmdop_wire.ids import mask
from cmdop_wire.vocab import ErrorCode, GateOperation, GateVerdict, MachineCode

log = logging.getLogger(__name__)

LOG_FILE = "gate.jsonl"
LOG_SIZE = 4 * 1024 * 1024
# Without waiting: for a pipe that was put there nobody may ever come to read.
_APPENDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
LONGEST_SHOWN = 500  # characters of a request in a sentence
OPERATIONS = {
    "session": GateOperation.SESSION,
    "command": GateOperation.EXECUTE_COMMAND,
    "read_file": GateOperation.READ_FILE,
    "write_file": GateOperation.WRITE_FILE,
}
Tell = Callable[[str, str], None]


def requests_of(opening: Opening, work: Work, root: str) -> list[Request]:
    """Return what the gate is asked about an opening; ``Refusal`` for a kind that this agent does not know.

    A session that is to run something else than the shell is two requests: it is a command, too.
    """
    operation = OPERATIONS.get(opening.kind)
    if operation is None:
        unknown = f"this agent does not know {opening.kind!r}"
        raise Refusal(MachineCode.UNKNOWN_OPERATION, unknown, "pip install -U cmdop-cli")
    if operation in (GateOperation.READ_FILE, GateOperation.WRITE_FILE):
        # No link is followed below the root, so this is the path that will be opened.
        path = "/".join([root.rstrip("/"), *parts_below(root, opening.path)])
        return [Request(operation, path=path, home=root)]
    chosen = work.folder if work.folder != root else ""  # also where there is no home folder, and it runs elsewhere
    command = Request(GateOperation.EXECUTE_COMMAND, work.words, cwd=chosen, home=root, program=work.program)
    if operation is GateOperation.EXECUTE_COMMAND:
        return [command]
    return [Request(operation), command] if work.words else [Request(operation)]


@dataclass(slots=True)
class Approval:
    """One request that waits for a person at the machine."""

    number: int
    request: Request
    actor: str
    asked_at: datetime
    answer: asyncio.Future[bool] = field(repr=False)


class Admission:
    """The gate as the channels meet it.

    ``directory`` holds its log, ``root`` is the folder that files and commands live below (real, so that no link
    leads out of it), ``account`` whose rights they have, ``report`` carries decisions upstream.
    """

    def __init__(
        self,
        permissions: PermissionsFile,
        directory: Path,
        root: str,
        *,
        account: Account | None = None,
        report: Callable[[dict[str, object]], None] = lambda _: None,
    ) -> None:
        self.permissions = permissions
        self.root = os.path.realpath(root)
        self.account = account
        self.waiting: dict[int, Approval] = {}
        self.approvers = 0  # people that look at the requests: the foreground terminal, `connect approvals`
        self.log_path = directory / LOG_FILE
        self._report = report
        self._number = 0
        self._changed = asyncio.Event()

    async def admit(self, opening: Opening, tell: Tell) -> Work:
        """Return what was let happen of ``opening``, once it is; ``Refusal`` when it is not.

        ``tell`` carries a notice to the caller while a person is asked; a cancelled call withdraws the request.
        """
        work = work_of(opening, self.root, self.account)
        for request in requests_of(opening, work, self.root):
            await self._admit(opening, request, tell)
        return work

    async def _admit(self, opening: Opening, request: Request, tell: Tell) -> None:
        decision = self.permissions.decide(request)
        code = ErrorCode.GATE_DENIED
        asked_because, asked_by = "", decision.by
        if decision.verdict is GateVerdict.ASK:
            asked_because = decision.reason
            if self.approvers:
                decision = await self._asked(opening, request, decision, tell)
            else:
                code = ErrorCode.APPROVAL_UNAVAILABLE
                decision = Decision(GateVerdict.DENY, f"nobody is at the machine to approve: {asked_because}", "person")
        self._write_down(opening, request, decision, asked_because)
        if decision.verdict is GateVerdict.DENY:
            shown = str(request)[:LONGEST_SHOWN]
            fix = (
                "cmdop connect approvals"
                if code is ErrorCode.APPROVAL_UNAVAILABLE
                else "cmdop connect permissions list"
            )
            hint = {"mode": rule_for(request), "floor": ""}.get(asked_by, fix)
            raise Refusal(code, f"the machine's gate refuses {shown}: {decision.reason}", hint)

    async def _asked(self, opening: Opening, request: Request, decision: Decision, tell: Tell) -> Decision:
        self._number += 1
        actor = opening.actor.get("label", "") or opening.actor.get("id", "")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        approval = Approval(self._number, request, actor, datetime.now(UTC), answer)
        self.waiting[approval.number] = approval
        self._note_change()
        tell("waiting_for_approval", f"waiting for approval at the machine: {decision.reason}")
        try:
            async with asyncio.timeout(LIMITS.approval):
                approved = await answer
        except TimeoutError:
            return Decision(GateVerdict.DENY, f"nobody answered within {LIMITS.approval:.0f} s", "person")
        except asyncio.CancelledError:
            withdrawn = Decision(GateVerdict.DENY, "the caller went away before anybody answered", "person")
            self._write_down(opening, request, withdrawn, decision.reason)
            raise
        finally:
            self.waiting.pop(approval.number, None)
            self._note_change()
        if not approved:
            return Decision(GateVerdict.DENY, "refused at the machine", "person")
        # A person was asked about what stood then; what is forbidden by now stays so.
        now = self.permissions.decide(request)
        approved_now = Decision(GateVerdict.ALLOW, "approved at the machine", "person")
        return strictest(approved_now, now) if now.verdict is GateVerdict.DENY else approved_now

    def answer(self, number: int, *, approved: bool) -> bool:
        """Give a person's answer to a waiting request; tell whether it still waited."""
        approval = self.waiting.get(number)
        if approval is None or approval.answer.done():
            return False
        approval.answer.set_result(approved)
        return True

    async def changed(self) -> None:
        """Wait until another request waits, or one waits no longer."""
        await self._changed.wait()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _write_down(self, opening: Opening, request: Request, decision: Decision, asked_because: str) -> None:
        entry: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": opening.actor,
            "operation": str(request.operation),
            "request": mask(str(request))[:2000],
            "verdict": str(decision.verdict),
            "reason": mask(decision.reason)[:2000],
            "asked": asked_because or None,
            "stream_id": opening.stream_id,
        }
        append_line(self.log_path, json.dumps(entry))
        self._report(entry)


def rule_for(request: Request) -> str:
    """Return the command that would allow exactly this request.

    ``""`` when it would be too long to paste, or has a word that means any word in a rule: whoever asks chose it.
    """
    if not {ONE, REST}.isdisjoint(request.argv):
        return ""
    words = ["cmdop", "connect", "permissions", "allow", str(request.operation)]
    if request.operation is not GateOperation.SESSION:
        words.append(shlex.join(request.argv) if request.argv else glob.escape(request.path))
    if request.cwd:
        words += ["--cwd", glob.escape(request.cwd)]
    text = shlex.join(words)
    return text if len(text) <= LONGEST_SHOWN else ""


def append_line(path: Path, line: str) -> None:
    """Append to a private log, turned over once at 4 MiB; what cannot be written is given up, not the machine."""
    try:
        with suppress(FileNotFoundError):
            if path.lstat().st_size > LOG_SIZE:
                path.replace(path.with_suffix(".old.jsonl"))
        opened = os.open(path, _APPENDING, 0o600)
        with os.fdopen(opened, "w") as file:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path} is not a plain file")
            if found.st_mode & 0o077:
                os.fchmod(opened, 0o600)
            file.write(line + "\n")
    except OSError as error:
        log.warning("a decision of the gate was not written down: %s", error)
