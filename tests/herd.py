"""Many machines at once: real agents in one process that says when each has lost its link, and has one again.

``python -m tests.herd FOLDER…`` is that process; what its agents need was written below each folder.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.registration import RegistrationFile
from tests.agents import UP, register
from tests.processes import REPOSITORY, bare_environment, read_line, stop
from tests.world import World


@dataclass(frozen=True)
class Change:
    """A link that came up or went down, ``at`` a moment of the system's monotonic clock, in seconds.

    ``dials_at`` is when one that is down is going to be dialled again.
    """

    hostname: str
    is_up: bool
    at: float
    dials_at: float | None = None


@dataclass
class Herd:
    """The process that runs the agents of ``hostnames``."""

    hostnames: list[str]
    process: "subprocess.Popen[str]"

    def until_all_are_up(self) -> list[Change]:
        """Wait until every machine's link has come up, and return what has changed until then."""
        assert self.process.stdout is not None
        changes: list[Change] = []
        up: set[str] = set()
        while len(up) < len(self.hostnames):
            change = Change(**json.loads(read_line(self.process.stdout, self.process)))
            changes.append(change)
            (up.add if change.is_up else up.discard)(change.hostname)
        return changes


@contextmanager
def herd(world: World, home: Path, count: int) -> Iterator[Herd]:
    """Register ``count`` machines, run their agents, and yield them when every link is up."""
    home.mkdir(mode=0o700, exist_ok=True)
    machines = [register(world, home / f"machine-{number}", f"herd-{number}") for number in range(count)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.herd", *(str(machine.directory) for machine in machines)],
        env=bare_environment(home) | {"SHELL": "/bin/sh"},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Herd([machine.hostname for machine in machines], process)
    try:
        made.until_all_are_up()
        yield made
    finally:
        stop(process)


def histogram(moments: Sequence[float], width: float) -> dict[float, int]:
    """Return how many of ``moments`` lie in each span of ``width`` seconds, by its beginning; also the empty ones."""
    places = [int(moment // width) for moment in moments]
    return {place * width: places.count(place) for place in range(min(places), max(places) + 1)}


async def serve(directories: Sequence[Path]) -> None:
    """Run the agents of ``directories`` until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    def made(directory: Path) -> Agent:
        registration = RegistrationFile(directory).read()
        assert registration is not None

        def say(text: str) -> None:
            is_up = text.startswith(UP)
            if is_up or text.startswith("no link"):
                change = Change(registration.hostname, is_up, time.monotonic(), agent.link.state.next_attempt)
                print(json.dumps(asdict(change)), flush=True)

        agent = Agent(directory, registration, facts("0", registration.hostname), say=say)
        return agent

    agents = [made(directory) for directory in directories]
    async with asyncio.TaskGroup() as tasks:
        for agent in agents:
            tasks.create_task(agent.run())
        await stopping.wait()
        for agent in agents:
            agent.stopping.set()


if __name__ == "__main__":
    asyncio.run(serve([Path(each) for each in sys.argv[1:]]))
