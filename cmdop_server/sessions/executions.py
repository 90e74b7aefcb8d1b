"""What is run, read and written on machines, in the log: before the machine is asked, and when it is over (D-30).

Both events carry the stream's id, so that one which never ended (a relay that was killed) is found by its absence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from cmdop_server.access.actor import Actor
from cmdop_server.audit.chain import LARGEST_INTEGER
from cmdop_server.audit.services import append
from cmdop_server.machines.queries import hostname_of
from cmdop_wire.vocab import ErrorCode, EventResult

STARTED = {"command": "command.started", "read_file": "file.opened", "write_file": "file.opened"}
ENDED = {"command": "command.executed", "read_file": "file.read", "write_file": "file.written"}
_ACCESS = {"read_file": "read", "write_file": "write"}
_TOLD = ("argv", "shell", "cwd", "path", "size", "timeout")
_DEEPEST = 4  # levels of lists and objects in what was asked for
_BY_THE_GATE = (ErrorCode.GATE_DENIED, ErrorCode.APPROVAL_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Execution:
    """One command or transfer: its stream, its machine, its kind, and ``opening``, the body of OPEN."""

    stream_id: str
    machine_id: str
    kind: str
    opening: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: why it ended, whether the machine had let it begin, and ``result`` from the body of EXIT."""

    reason: str
    has_begun: bool
    result: Mapping[str, Any]

    def verdict(self) -> tuple[EventResult, str]:
        """Return the event's result and the reason of it: denied by the gate, not done, or done."""
        if self.has_begun:
            failure = self.result.get("code")
            return (EventResult.OK, "") if failure is None else (EventResult.FAILED, str(failure))
        return EventResult.DENIED if self.reason in _BY_THE_GATE else EventResult.FAILED, self.reason


def record_start(actor: Actor, execution: Execution, hostname: str) -> None:
    """Write down what ``actor`` is about to do; without this event the machine must not be asked.

    Secrets in a command line are masked by the log.
    """
    with transaction.atomic():
        _append(actor, execution, STARTED[execution.kind], hostname, _told(execution))


def record_end(actor: Actor, execution: Execution, outcome: Outcome) -> None:
    """Write down how it ended: what had been asked for, once more, and what came of it."""
    result, reason = outcome.verdict()
    changes = {**_told(execution), **_sayable(outcome.result), "ended": outcome.reason}
    with transaction.atomic():
        hostname = hostname_of(actor.workspace_id or "", execution.machine_id)
        _append(actor, execution, ENDED[execution.kind], hostname, changes, result=result, reason=reason)


def asked_for(opening: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event tells of the body of OPEN: what runs, where, on which file."""
    return {word: _sayable(opening[word]) for word in _TOLD if word in opening}


def _told(execution: Execution) -> dict[str, Any]:
    told = asked_for(execution.opening)
    if execution.kind in _ACCESS:
        told["access"] = _ACCESS[execution.kind]
    return {**told, "stream": execution.stream_id}


def _append(
    actor: Actor, execution: Execution, action: str, hostname: str, changes: dict[str, Any], **verdict: Any
) -> None:
    append(
        actor,
        workspace_id=actor.workspace_id or "",
        action=action,
        target_type="machine",
        target_id=execution.machine_id,
        target_label=hostname,
        changes=changes,
        **verdict,
    )


def _sayable(value: Any, depth: int = 0) -> Any:
    """Return foreign JSON as the log can hold it: what has no canonical form becomes text, so nothing goes untold."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return value
    if isinstance(value, float):
        return repr(value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {str(name): _sayable(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(item, depth + 1) for item in value]
    return "…"  # a number beyond what JSON keeps exact, or a thing that is no JSON
