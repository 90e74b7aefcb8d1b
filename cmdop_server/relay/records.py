"""What the relay writes down: heartbeats, gate events, observers, ends of streams. One bounded queue, in batches.

Nothing here holds up a frame. An end that cannot be written is tried again; a heartbeat is replaced by the next.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DataError
from django.utils import timezone

from cmdop_server.access.errors import Refused
from cmdop_server.machines import services as machines
from cmdop_server.relay.authority import ask
from cmdop_server.relay.turns import LANE
from cmdop_server.sessions import executions
from cmdop_server.sessions import services as sessions
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_server.access.actor import Actor
    from cmdop_server.relay.links import Machine
    from cmdop_server.relay.streams import Stream

log = logging.getLogger(__name__)

LONGEST = 10_000  # entries; beyond that the oldest are given up, with a word in the log
OF_ONE_MACHINE = 200  # entries that one machine may have made wait by talking; more of it is counted, and no more
# What a machine may tell of how a command or transfer ended, as in EXIT; anything else of it is not written down.
_RESULT: dict[str, type | tuple[type, ...]] = {
    "status": int,
    "signal": str,
    "timed_out": bool,
    "duration": (int, float),
    "size": int,
    "sha256": str,
    "code": str,
}
PAUSE = 0.25  # seconds between batches
BATCH = 200  # entries between two looks at who is there: their heartbeats must not wait for all that is to be written
RETRY = 2.0


@dataclass(slots=True)
class Untold:
    """How many decisions of a machine's gate were heard and are not written down one by one, and since when."""

    since: datetime
    count: int = 0


class Records:
    """The queue and the one task that writes it."""

    def __init__(self) -> None:
        self._beats: dict[str, dict[str, Any]] = {}
        self._writes: deque[tuple[Callable[[], None], str]] = deque()
        self._waiting: Counter[str] = Counter()  # how much of what machines tell at will is queued, by machine id
        self._untold: dict[Machine, Untold] = {}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()  # so that ``flush`` also waits for what somebody else is writing

    def heartbeat(self, machine_id: str, body: dict[str, Any]) -> None:
        """Note that a machine is there; the newest wins."""
        self._beats[machine_id] = body
        self._wake.set()

    def stopped(self, machine_id: str) -> asyncio.Event:
        """Note that a machine said goodbye; the event is set when it is written."""
        self._beats.pop(machine_id, None)
        loop, written = asyncio.get_running_loop(), asyncio.Event()

        def write() -> None:
            machines.stopped(machine_id)
            loop.call_soon_threadsafe(written.set)

        self._later(write)
        return written

    def seeded(self, machine_id: str) -> None:
        """Note that a machine has taken the workspace's defaults."""
        if self._waiting[machine_id] < OF_ONE_MACHINE:  # else it says so again on its next link
            self._told(machine_id, lambda: machines.seeded(machine_id))

    def gate_event(self, machine: "Machine", body: dict[str, Any]) -> None:
        """Note what a machine's gate decided; beyond what may wait, how many decisions that were."""
        heard_at = timezone.now()  # it is written a moment later, and the machine may have moved meanwhile
        if self._waiting[machine.id] >= OF_ONE_MACHINE:
            self._untold.setdefault(machine, Untold(heard_at)).count += 1
            return
        self._told(
            machine.id,
            lambda: machines.record_gate_event(machine.id, body, workspace_id=machine.workspace_id, heard_at=heard_at),
        )

    def duplicate(self, machine: "Machine") -> None:
        """Note that a credential was used from two places at once (D-5)."""
        self._later(lambda: machines.record_duplicate(machine.id))

    def machine_cut(self, machine: "Machine", problem: str) -> None:
        """Note that a machine's link was cut for what it sent."""
        self._later(lambda: machines.record_violation(machine.id, problem))

    def client_cut(self, actor: "Actor", problem: str) -> None:
        """Note that somebody's stream was cut for what they sent."""
        self._later(lambda: sessions.record_violation(actor, problem))

    def observed(self, stream: "Stream", actor: "Actor") -> None:
        """Note that somebody watches."""
        self._later(lambda: sessions.record_observer(actor, stream.id))

    def ended(self, stream: "Stream") -> None:
        """Note that a stream is over, once: the session's row, or the command's event."""
        if stream.is_recorded:
            return
        stream.is_recorded = True
        actor, reason = stream.operator.actor, stream.end_reason or "closed"
        result = {name: stream.exit[name] for name, kind in _RESULT.items() if isinstance(stream.exit.get(name), kind)}
        if stream.kind == "session":
            self._later(lambda: sessions.end_session(stream.id, reason=reason))
        else:
            what = executions.Execution(stream.id, stream.machine_id, stream.kind, stream.opening)
            outcome = executions.Outcome(reason, stream.is_opened, result)
            self._later(lambda: executions.record_end(actor, what, outcome))

    def _told(self, machine_id: str, write: Callable[[], None]) -> None:
        """Queue what a machine says of its own accord; one that never stops must not push out what others did."""
        self._waiting[machine_id] += 1
        self._later(write, machine_id)

    def _later(self, write: Callable[[], None], machine_id: str = "") -> None:
        if len(self._writes) >= LONGEST:
            log.error("the relay's records overflow; the oldest is given up")
            self._taken(self._writes.popleft()[1])
        self._writes.append((write, machine_id))
        self._wake.set()

    def _taken(self, machine_id: str) -> None:
        self._waiting[machine_id] -= 1
        if self._waiting[machine_id] <= 0:
            del self._waiting[machine_id]

    async def keep(self) -> None:
        """Write for ever, a batch at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._writing:
                await self._write(BATCH)
            if self._writes:
                self._wake.set()
            else:
                await asyncio.sleep(PAUSE)

    async def flush(self) -> None:
        """Write what is queued now; on return it is written, or cannot be for the moment."""
        async with self._writing:
            await self._write(len(self._writes))

    async def _write(self, most: int) -> None:
        """Write the heartbeats and ``most`` entries, whatever is queued meanwhile: that has its turn later.

        In the relay's own lane, whoever waits for it: what is written is everybody's.
        """
        mine = LANE.set("")
        try:
            await self._write_in_turn(most)
        finally:
            LANE.reset(mine)

    async def _write_in_turn(self, most: int) -> None:
        beats, self._beats = self._beats, {}
        if beats:
            with contextlib.suppress(Exception):
                await ask(machines.seen, beats)
        for _ in range(most):
            if not self._writes:
                break
            write, machine_id = self._writes.popleft()
            if not await self._is_written(write):
                self._writes.appendleft((write, machine_id))
                return
            self._taken(machine_id)
        for machine, untold in list(self._untold.items()):
            if machine.id in self._waiting:
                continue  # it follows what was told before it
            count = untold.count
            record = partial(machines.record_untold, machine.id, count, machine.workspace_id, untold.since)
            if not await self._is_written(record):
                return
            untold.count -= count
            if not untold.count:
                del self._untold[machine]

    async def _is_written(self, write: Callable[[], None]) -> bool:
        """Write one entry; tell whether that is done with, which it also is when it never can be."""
        try:
            await ask(write)
        except Exception as failure:
            if _is_hopeless(failure):
                log.exception("the relay cannot write a record")
                return True
            log.exception("the relay could not write a record; trying again")
            await asyncio.sleep(RETRY)
            self._wake.set()
            return False
        return True


def _is_hopeless(failure: Exception) -> bool:
    """Tell whether it will never be written: what it tells of is gone or not sayable."""
    if isinstance(failure, Refused):
        return failure.code is not ErrorCode.UNAVAILABLE
    return isinstance(failure, ValueError | TypeError | RecursionError | DataError)
