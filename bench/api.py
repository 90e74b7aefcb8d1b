"""What the HTTP API costs, beside a bare django-ninja. Run: python -m bench.api [MACHINES EVENTS [postgresql]]

A workspace with so many machines and events (10,000 and 1,000,000) is asked over eight connections that stay open: each
read alone, then all of them mixed; in between a django-ninja application with none of ours behind that uvicorn, whose
views do nothing or list fifty machines out of as many. Prints requests a second, latencies, processor time of whoever
serves; then what happens at the rate of the budget, where nobody waits for an answer before asking again.
"""

import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.measure import p95, processor_seconds, surroundings
from tests.processes import REPOSITORY, Postgres, bare_environment, read_line, start_server, stop
from tests.world import make_world

CLIENTS, ROUNDS, REQUESTS = 8, 3, 150
OK = 200
RATE, RATE_SECONDS, MOST_P95 = 300, 8, 50.0  # requests a second, how long, milliseconds
# A person's page, a script's look, an audit: reads as they come. How many of ten.
MIX = {
    "/me": 2,
    "/workspaces/{ws}": 2,
    "/workspaces/{ws}/machines": 2,
    "/workspaces/{ws}/machines/host-0042": 2,
    "/workspaces/{ws}/events": 1,
    "/workspaces/{ws}/keys": 1,
}
UNLIMITED = ",".join(f"{name}=10000000/minute" for name in ("address", "credential", "account"))

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Asked:
    """A server and the requests that are sent to it in turn; what answers took, in milliseconds."""

    name: str
    address: tuple[str, int]
    requests: Sequence[bytes]
    servers: Sequence[int]
    taken: list[float] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0

    async def a_round(self) -> None:
        """Send ``REQUESTS`` over ``CLIENTS`` connections, each of which waits for its answer, and note what it took."""
        queue = itertools.islice(itertools.cycle(self.requests), REQUESTS)
        lines = [await asyncio.open_connection(*self.address) for _ in range(CLIENTS)]
        before, begun = self.spent(), time.perf_counter()
        await asyncio.gather(*(self._client(line, queue) for line in lines))
        self.seconds += time.perf_counter() - begun
        self.busy += self.spent() - before
        for _, writer in lines:
            writer.close()

    async def _client(self, line: Line, queue: Iterator[bytes]) -> None:
        for request in queue:
            begun = time.perf_counter()
            if await answered(*line, request) != OK:
                raise RuntimeError(f"{self.name} was refused")
            self.taken.append((time.perf_counter() - begun) * 1000)

    def forget(self) -> None:
        """Count nothing of what was: it warmed up."""
        self.taken.clear()
        self.seconds = self.busy = 0.0

    def spent(self) -> float:
        """Return for how long processors were busy with its processes."""
        return sum(processor_seconds(pid) for pid in self.servers)

    def line(self) -> str:
        """Return what was measured, as a line of the table."""
        count = len(self.taken)
        rate, busy = count / self.seconds, self.busy / count * 1000
        return f"{self.name:<44}{rate:>8.0f}{statistics.median(self.taken):>9.1f}{p95(self.taken):>9.1f}{busy:>9.2f}"


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send a request, read its answer and return its status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(length[0])
    return int(head[9:12])


async def at_the_rate(asked: Asked) -> str:
    """Send ``RATE`` requests a second for ``RATE_SECONDS``, whether answers come or not; return what was measured."""
    free: list[Line] = []
    taken: list[float] = []
    refused: list[int] = []

    async def one(request: bytes, due: float) -> None:
        line = free.pop() if free else await asyncio.open_connection(*asked.address)
        status = await answered(*line, request)
        if status == OK:
            taken.append((time.perf_counter() - due) * 1000)
            free.append(line)
        else:
            refused.append(status)
            line[1].close()

    busy, begun = asked.spent(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, request in zip(range(RATE * RATE_SECONDS), itertools.cycle(asked.requests), strict=False):
            due = begun + number / RATE
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(one(request, due))
    used, seconds = asked.spent() - busy, time.perf_counter() - begun
    for _, writer in free:
        writer.close()
    worst = p95(taken)
    verdict = "" if worst <= MOST_P95 and not refused else "  over budget"
    return (
        f"{RATE} a second were asked, {len(taken) / seconds:.0f} answered, {len(refused)} in all refused: median "
        f"{statistics.median(taken):.1f} ms, p95 {worst:.1f} ms (budget {MOST_P95:.0f}){verdict}; "
        f"{used / seconds:.2f} processors busy"
    )


def get(address: tuple[str, int], path: str, credential: str = "") -> bytes:
    """Return a request's bytes."""
    bearer = f"Authorization: Bearer {credential}\r\n" if credential else ""
    return f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n{bearer}\r\n".encode()


@contextmanager
def bare(folder: Path, machines: int) -> Iterator[tuple[tuple[str, int], int]]:
    """Serve ``bench/bare_ninja.py``; yield its address and its process's id."""
    command = [sys.executable, "-m", "bench.bare_ninja", str(folder / "bare.sqlite3"), str(machines)]
    process = subprocess.Popen(command, env=bare_environment(folder), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield ("127.0.0.1", int(read_line(process.stdout, process))), process.pid
    finally:
        stop(process)


@contextmanager
def ours(folder: Path, machines: int, events: int, database: str) -> Iterator[list[Asked]]:
    """Serve a workspace with so many machines and events; yield each of ``MIX`` alone, then all mixed."""
    with ExitStack() as stack:
        address: str | None = None
        options: list[str] = []
        if database == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.stop)
            address, options = postgres.database(), ["--workers", "2"]
        server = start_server(folder, address, *options, CMDOP_RATE_LIMITS=UNLIMITED)
        stack.callback(server.stop)
        world = make_world(server)
        stack.callback(world.close)
        token = world.token("owner", "acme")
        for _ in range(5):
            world.key("owner")
        server.backstage("bench.rows:fill", workspace=world.acme.slug, machines=machines, events=events)
        where = (str(urlsplit(server.url).hostname), int(urlsplit(server.url).port or 0))
        pids = [server.process.pid, *(each.pid for each in psutil.Process(server.process.pid).children())]
        lines = {path: get(where, f"/api/v1{path.format(ws=world.acme.slug)}", token) for path in MIX}
        mixed = [lines[path] for turn in range(max(MIX.values())) for path, count in MIX.items() if turn < count]
        yield [
            *(Asked(path, where, [line], pids) for path, line in lines.items()),
            Asked("mixed", where, mixed, pids),
        ]


def main(machines: int, events: int, database: str) -> None:
    """Set both up in a temporary home and measure."""
    print(f"{machines} machines, {events} events, {database}, {CLIENTS} connections; {surroundings()}")
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as name:
        folder = Path(name)
        with ours(folder, machines, events, database) as contestants, bare(folder, machines) as (address, pid):
            floors = [
                Asked(f"bare django-ninja, {words}", address, [get(address, path)], [pid])
                for path, words in (("/nothing", "a view that does nothing"), ("/machines", "fifty machines"))
            ]
            everybody = [*floors, *contestants]
            for turn in range(ROUNDS + 1):
                for each in everybody:
                    asyncio.run(each.a_round())
                    if turn == 0:
                        each.forget()
            print(f"\n{'':<44}{'req/s':>8}{'median':>9}{'p95':>9}{'cpu':>9}   ms")
            for each in everybody:
                print(each.line())
            print(f"\n{asyncio.run(at_the_rate(contestants[-1]))}")


if __name__ == "__main__":
    words = sys.argv[1:] + ["10000", "1000000", "sqlite"][len(sys.argv) - 1 :]
    main(int(words[0]), int(words[1]), words[2])
