"""One command on many machines: bounded parallelism, everything in one event loop, output as it comes.

People see lines with the machine's name before them; programs get one record a machine, as soon as it is complete
under NDJSON. Many machines share the screen, so nothing that one prints can be taken for another's, or steer it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmdop_cli.descriptors import Sink
from cmdop_cli.executing import CAPTURED, Work, record
from cmdop_cli.failures import Failure, explained
from cmdop_cli.results import Column, Listing, Status, encoded, plain
from cmdop_cli.safe_text import safe, width
from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import AuthenticationError, CMDOPError, NotFound, TimedOut, Unreachable
from cmdop_sdk.running import CommandResult, Where
from cmdop_sdk.stream_state import Notice
from cmdop_wire.vocab import ErrorCode, Exit

if TYPE_CHECKING:
    from cmdop_cli.output import Output

WIDEST = 24  # cells for a name before a line; a longer one takes what it needs
LONGEST_LINE = 64 * 1024  # bytes of a line that has no end yet; then it is broken
COLORS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
COLUMNS = (Column("machine", kind="id"), Column("exit_code", "exit", "number"), Column("error.code", "error"))


class Outcome:
    """What became of one machine, and what it wrote as far as it is kept."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.result: CommandResult | None = None
        self.failure: Failure | None = None
        self.is_unknown = False  # no machine is called so
        self.kept: dict[Where, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.is_cut = False

    @property
    def is_over(self) -> bool:
        """Tell whether it is known what became of it."""
        return self.result is not None or self.failure is not None

    @property
    def is_good(self) -> bool:
        """Tell whether it ran there and said 0."""
        return self.result is not None and self.result.exit_code == Exit.DONE

    @property
    def sentence(self) -> str:
        """Return how it ended, in the same words for every machine for which it is the same."""
        if self.is_unknown or self.failure is None or self.failure.code == ErrorCode.AGENT_OFFLINE:
            return self.word
        return self.failure.message

    @property
    def word(self) -> str:
        """Return in a word how it ended: what is behind it is said once, at the end, of all to whom it happened."""
        if self.is_unknown:
            return "no such machine"
        if self.failure is not None:
            return "offline" if self.failure.code == ErrorCode.AGENT_OFFLINE else self.failure.code.replace("_", " ")
        if self.result is None:
            return "not finished"
        return "time-out" if self.result.timed_out else f"exit {self.result.exit_code}"


class Lines:
    """Shows output as lines, each with its machine's name, aligned; stderr stays on stderr."""

    def __init__(self, output: "Output", machines: Sequence[str]) -> None:
        self._output = output
        self._sinks: dict[Where, Sink] = {"stdout": Sink(1), "stderr": Sink(2)}
        self._size = min(WIDEST, max(width(safe(machine)) for machine in machines))
        self._colors = {machine: COLORS[place % len(COLORS)] for place, machine in enumerate(machines)}
        self._begun: dict[tuple[str, Where], bytes] = {}

    async def take(self, outcome: Outcome, where: Where, data: memoryview) -> None:
        """Show the lines that are complete with ``data``."""
        *whole, rest = (self._begun.get((outcome.machine, where), b"") + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            whole.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._begun[outcome.machine, where] = rest
        if whole:
            await self._sinks[where].write(b"".join(self._line(outcome.machine, line) for line in whole))

    async def end(self, outcome: Outcome) -> None:
        """Show what has no line feed at its end, and how it ended unless that is well."""
        for where, sink in self._sinks.items():
            rest = self._begun.pop((outcome.machine, where), b"")
            if rest:
                await sink.write(self._line(outcome.machine, rest))
        if not outcome.is_good:
            await self._sinks["stderr"].write(self._line(outcome.machine, outcome.word.encode()))

    def _line(self, machine: str, line: bytes) -> bytes:
        text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        name = safe(machine)
        if not self._output.is_terminal:
            shown = "\t".join(safe(part) for part in (name, *text.split("\t")))
        else:
            padded = name + " " * (self._size - width(name))
            if self._output.has_color:
                padded = f"\x1b[{self._colors[machine]}m{padded}\x1b[0m"
            shown = f"{padded} | {safe(text.expandtabs())}"
        return f"{shown}\n".encode(getattr(self._output.stdout, "encoding", None) or "utf-8", "backslashreplace")


class Records:
    """Keeps output for one record a machine; under NDJSON each is printed when it is complete."""

    def __init__(self, output: "Output", work: Work) -> None:
        self._output = output
        self._work = work
        self._sink = Sink(1)

    async def take(self, outcome: Outcome, where: Where, data: memoryview) -> None:
        """Keep output, as far as a record holds it."""
        room = CAPTURED - len(outcome.kept[where])
        outcome.kept[where] += data[:room]
        outcome.is_cut = outcome.is_cut or len(data) > room

    async def end(self, outcome: Outcome) -> None:
        """Print a machine's record where each is printed by itself."""
        if self._output.form == "ndjson":
            line = {"schema": "cmdop.execution.v1", **self.fields(outcome)}
            outcome.kept.clear()
            await self._sink.write((encoded(line, indent=None) + "\n").encode())

    def fields(self, outcome: Outcome) -> dict[str, object]:
        """Return the record of one machine."""
        fields: dict[str, object] = plain(record(outcome.machine, self._work, outcome.result, outcome.failure))
        return {name: value for name, value in fields.items() if not self._output.fields or name in self._output.fields}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run where: ``machines`` by the name that is shown, with what the relay is asked for."""

    work: Work
    machines: Mapping[str, str]
    parallel: int


class FanOut:
    """Carries out one order.

    A failure that concerns all machines, such as a credential that is not accepted, is raised as long as none has
    begun; any other one is the machine's.
    """

    def __init__(self, dialer: Dialer, order: Order, show: Lines | Records, say: Callable[[str], None]) -> None:
        self._dialer = dialer
        self._order = order
        self._show = show
        self._say = say
        self._has_begun = False
        self.outcomes = [Outcome(machine) for machine in order.machines]

    async def run(self) -> None:
        """Run it everywhere; ``outcomes`` tells afterwards, or when this was interrupted, what became of each."""
        waiting = iter(self.outcomes)

        async def take_turns() -> None:
            for outcome in waiting:
                await self._run_on(outcome)

        turns = [asyncio.create_task(take_turns()) for _ in range(min(self._order.parallel, len(self.outcomes)))]
        try:
            await asyncio.gather(*turns)
        finally:
            for turn in turns:
                turn.cancel()
            await asyncio.gather(*turns, return_exceptions=True)

    async def _run_on(self, outcome: Outcome) -> None:
        def noticed(notice: Notice) -> None:
            self._say(f"{outcome.machine}: {notice.message}")

        try:
            async with self._order.work.on(self._dialer, self._order.machines[outcome.machine], noticed) as command:
                self._has_begun = True
                await command.end_input()
                async for where, data in command:
                    await self._show.take(outcome, where, data)
                ended = command.exit
        except CMDOPError as failure:
            is_everybodys = isinstance(failure, AuthenticationError | Unreachable) and not isinstance(failure, TimedOut)
            if is_everybodys and not self._has_begun:
                raise
            outcome.failure = explained(failure)
            outcome.is_unknown = isinstance(failure, NotFound) and failure.details.get("kind") == "machine"
        else:
            outcome.result = CommandResult(
                exit_code=ended.exit_code,
                signal=ended.signal,
                timed_out=ended.timed_out,
                duration=ended.duration,
                stdout=bytes(outcome.kept["stdout"]),
                stderr=bytes(outcome.kept["stderr"]),
                truncated=outcome.is_cut,
            )
        await self._show.end(outcome)


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines that end a fan-out: the numbers, then each reason with those that it kept from ending well."""
    bad = [each for each in outcomes if not each.is_good]
    alike: dict[str, list[str]] = {}
    for each in bad:
        alike.setdefault(each.sentence, []).append(each.machine)
    counted = f"{len(outcomes)} machine{'' if len(outcomes) == 1 else 's'}: {len(outcomes) - len(bad)} succeeded"
    reasons = [f"  {', '.join(machines)}: {sentence}" for sentence, machines in alike.items()]
    return [counted + (f", {len(bad)} failed" if bad else ""), *reasons]


def result(outcomes: Sequence[Outcome], show: Lines | Records, form: str) -> Listing | Status:
    """Return what is left to print, with the exit status: 0, or 8 when it did not end well everywhere."""
    good = sum(each.is_good for each in outcomes)
    status = Exit.DONE if good == len(outcomes) else Exit.PARTIAL
    if not isinstance(show, Records) or form == "ndjson":
        return Status(status)
    counts = {"machines": len(outcomes), "succeeded": good, "failed": len(outcomes) - good}
    items = [show.fields(each) for each in outcomes]
    return Listing("execution", items, COLUMNS, "machine", extra={"summary": counts}, exit_code=status)
