"""What a machine says of itself, taken with care: it may be anybody's. Pure: hostile JSON in, known fields out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmdop_wire.vocab import EventResult, GateMode, GateOperation, GateVerdict

_LARGEST = 2**53  # beyond it JSON numbers are not exact everywhere
_NUMBERS = ("cpus", "memory_total", "memory_available", "uptime", "agent_uptime", "channels")
_LOADS = 3


@dataclass(frozen=True, slots=True)
class Report:
    """One heartbeat or greeting; ``None`` where nothing usable was said."""

    metrics: dict[str, Any] | None
    gate_mode: GateMode | None


@dataclass(frozen=True, slots=True)
class GateEvent:
    """What a machine's gate decided about one request, and for whom."""

    verdict: GateVerdict
    operation: str
    request: str
    reason: str
    stream_id: str
    caller: dict[str, str]

    @property
    def result(self) -> EventResult:
        """Return how the log calls it: only an allowed request happened."""
        return EventResult.OK if self.verdict is GateVerdict.ALLOW else EventResult.DENIED


def plain(value: object, length: int) -> str:
    """Return text on one line, cut to ``length``; what is no text or not printable leaves nothing behind."""
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value[: 4 * length] if letter.isprintable())[:length]


def parse_report(body: Mapping[str, Any]) -> Report:
    """Return what a heartbeat says: load averages and numbers of known names, and the gate's mode."""
    return Report(_metrics(body.get("metrics")), _mode(body.get("gate_mode")))


def gate_mode_of(hello: Mapping[str, Any]) -> GateMode | None:
    """Return the gate's mode in a greeting."""
    gate = hello.get("gate")
    return _mode(gate.get("mode")) if isinstance(gate, dict) else None


def parse_gate_event(body: Mapping[str, Any]) -> GateEvent:
    """Return what a gate decided; a verdict that is none counts as denied."""
    verdict, operation, caller = body.get("verdict"), body.get("operation"), body.get("actor")
    return GateEvent(
        verdict=GateVerdict.ALLOW if verdict == GateVerdict.ALLOW else GateVerdict.DENY,
        operation=operation if operation in list(GateOperation) else "unknown",
        request=plain(body.get("request"), 2000),
        reason=plain(body.get("reason"), 300),
        stream_id=plain(body.get("stream_id"), 40),
        caller={word: plain(caller.get(word), 320) for word in ("kind", "id", "label")}
        if isinstance(caller, dict)
        else {},
    )


def untold_of(body: Mapping[str, Any]) -> int | None:
    """Return how many decisions a machine could not tell of, ``None`` when it tells of one."""
    count = body.get("untold")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= _LARGEST else None


def _mode(value: object) -> GateMode | None:
    return GateMode(value) if isinstance(value, str) and value in list(GateMode) else None


def _metrics(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    load = value.get("load")
    loads = [_number(each) for each in load[:_LOADS]] if isinstance(load, list) else None
    return {"load": loads, **{name: _number(value.get(name)) for name in _NUMBERS}}


def _number(value: object) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _LARGEST else None  # type: ignore[operator,return-value]
