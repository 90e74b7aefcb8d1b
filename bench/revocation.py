"""How long a stream outlives its right: ``python -m bench.revocation [ROUNDS]``.

A control plane, two agents and open streams on loopback; then somebody revokes, removes, lowers, moves … over HTTP.
What counts is when each operator, observer and command hears that it has ended: from the request, and from its answer.
The budget is two seconds after the answer (D-14), the aim half a second; below zero, the stream ended before the answer
came. What ends by the clock is measured from that moment.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.agents import Machine, start_agent
from tests.processes import start_server
from tests.relay.causes import CAUSES, CLOCKS, Cause, Clock
from tests.relay.seats import Seats, is_alive, seated
from tests.world import World, make_world

ROUNDS, MOST = 3, 100
SOON = 1.0  # seconds until the clock strikes
BUDGET = 2.0


@dataclass
class Measured:
    """One cause, and how long each stream that it ended lived on, in seconds."""

    name: str
    from_request: list[float] = field(default_factory=list)
    from_answer: list[float] = field(default_factory=list)


@dataclass
class Ground:
    """A control plane and two agents; the first is replaced when a cause has taken it."""

    world: World
    home: Path
    first: Machine
    second: Machine
    made: int = 0

    def renew(self) -> None:
        """Put another machine in the place of the first, which is gone from the workspace."""
        self.first.stop()
        owner, elsewhere = self.world["owner"].personal, f"/machines/{self.first.id}"
        self.world.as_("owner", owner, "all").delete(f"/workspaces/{owner}{elsewhere}")  # it may have moved there
        self.made += 1
        self.first = start_agent(self.world, self.home / f"again-{self.made}", "web-1")


@contextmanager
def ground(home: Path) -> Iterator[Ground]:
    """Start everything, and stop it afterwards."""
    server = start_server(home)
    try:
        world = make_world(server)
        here = Ground(world, home, *(start_agent(world, home / name, name) for name in ("web-1", "web-2")))
        try:
            yield here
        finally:
            here.first.stop()
            here.second.stop()
            world.close()
    finally:
        server.stop()


async def ended(seats: Seats, names: Sequence[str]) -> list[float]:
    """Return when each of these seats ended; the bystander goes on."""
    for name in names:
        await seats[name].end()
    await is_alive(seats, "bystander")
    return [moment for name in names if (moment := seats[name].ended_at) is not None]


async def by_somebody(here: Ground, cause: Cause, measured: Measured) -> None:
    """Let a cause happen once to an operator who is watched, an observer and a command."""
    world, machine = here.world, here.first
    held = cause.hold(world)
    async with seated(world, held.text, world.token(cause.bystander)) as seats:
        await is_alive(seats, "operator")

        def act() -> tuple[float, float]:
            requested = time.monotonic()
            status = cause.act(world, machine, held)
            answered = time.monotonic()
            if status not in (200, 204):
                raise SystemExit(f"{cause.name} was answered with {status}")
            return requested, answered

        requested, answered = await asyncio.to_thread(act)
        names = [name for name in ("operator", "watcher", "observer", "command") if getattr(cause, name) is not None]
        moments = await ended(seats, names)
    measured.from_request += [moment - requested for moment in moments]
    measured.from_answer += [moment - answered for moment in moments]
    if cause.takes_the_machine:
        here.renew()


async def by_the_clock(here: Ground, clock: Clock, measured: Measured) -> None:
    """Let a credential come to its end once, at the same table."""
    world, held = here.world, clock.hold(here.world)
    async with seated(world, held.text, world.token("admin")) as seats:
        due = []
        for name in ("operator", "observer", "command"):
            text, moment = await asyncio.to_thread(clock.let, world, here.first, held, seats[name], SOON)
            await seats[name].show(text)
            due.append(moment - time.time() + time.monotonic())
        moments = await ended(seats, ("operator", "observer", "command"))
    measured.from_answer += [moment - each for moment, each in zip(moments, due, strict=True)]


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def report(rows: Sequence[Measured], rounds: int) -> None:
    """Print medians and p95 in milliseconds."""
    print(f"\n{f'{rounds} rounds, ms':<28}{'streams':>8}{'from the request':>22}{'after the answer':>22}")
    print(f"{'':<36}" + f"{'median':>12}{'p95':>10}" * 2)
    for row in rows:
        print(f"{row.name:<28}{len(row.from_answer):>8}{_pair(row.from_request)}{_pair(row.from_answer)}")
    answers = [value for row in rows for value in row.from_answer]
    requests = [value for row in rows for value in row.from_request]
    print(f"{'all':<28}{len(answers):>8}{_pair(requests)}{_pair(answers)}")
    verdict = "within" if p95(answers) <= BUDGET else "over"
    print(f"p95 {p95(answers) * 1000:.1f} ms after the answer, the last after {max(answers) * 1000:.1f} ms: "
          f"{verdict} the budget of {BUDGET:g} s")  # fmt: skip


def _pair(values: Sequence[float]) -> str:
    if not values:
        return f"{'–':>12}{'–':>10}"
    return f"{statistics.median(values) * 1000:>12.1f}{p95(values) * 1000:>10.1f}"


def main(rounds: int) -> None:
    """Set everything up in a temporary home, measure, print the table."""
    somebody = [cause for cause in CAUSES if cause.operator is not None]
    rows = {each.name: Measured(each.name) for each in (*somebody, *CLOCKS)}
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder, ground(Path(folder)) as here:
        for _ in range(rounds):
            for cause in somebody:
                asyncio.run(by_somebody(here, cause, rows[cause.name]))
            for clock in CLOCKS:
                asyncio.run(by_the_clock(here, clock, rows[clock.name]))
    report(list(rows.values()), rounds)


if __name__ == "__main__":
    main(min(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS, MOST))
