"""What lasts: readers who do not read, output without end, a thousand openings. Nothing grows, nobody else waits."""

import asyncio
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self

import psutil
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from cmdop_sdk.errors import StreamClosed
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Kind
from tests.fleet import Fleet, new_fleet
from tests.processes import start_server
from tests.relay.deaf import PATIENCE, dial, printed, talking
from tests.relay.seats import read_until, stream
from tests.world import World, make_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1024 * 1024
MAY_GROW = 32 * MIB
OTHERS = [f"calm-{number}" for number in range(10)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world on a server of this module's own, whose memory nobody else makes grow."""
    server = start_server(tmp_path_factory.mktemp("endurance"))
    made = make_world(server)
    yield made
    made.close()
    server.stop()


@pytest.fixture(scope="module")
def fleet(own: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A machine that talks, and ten more."""
    made = new_fleet(own, tmp_path_factory.mktemp("fleet"), "talker", *OTHERS)
    own.close()  # what the set-up had open, so that only streams are counted
    yield made
    made.stop()


def resident(pid: int) -> int:
    """Return how much memory a process has, in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


async def eventually(is_so: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what}, and it is not so after {PATIENCE:g} s") from None


async def echo(opened: Stream, rounds: int) -> None:
    """Type lines at a ``cat`` on a terminal, and wait for each to come back from both."""
    for number in range(rounds):
        line = f"line {number}".encode()
        await opened.send(line + b"\n")
        await read_until(opened, line + b"\r\n" + line + b"\r\n")


def test_who_never_reads_stops_the_machine_and_nobody_else(own: World, fleet: Fleet) -> None:
    relay, agent = own.server.process.pid, fleet["talker"].process.pid

    async def play() -> None:
        calm = [stream(own, own.token("member"), kind="session", machine=name, argv=["cat"]) for name in OTHERS]
        await asyncio.gather(*(each.__aenter__() for each in calm))
        await asyncio.gather(*(echo(each, 5) for each in calm))
        before = resident(relay)
        slow = await dial(own, "admin", kind="command", machine="talker", argv=["head", "-c", "1G", "/dev/zero"])
        await eventually(lambda: printed(agent, "head") >= LIMITS.window, "the machine prints what the window holds")
        most = 0
        for _ in range(10):
            await asyncio.gather(*(echo(each, 5) for each in calm))
            most = max(most, resident(relay))
        # The window, and what the pipe and the agent hold of it beyond: the rest of the gibibyte was never printed.
        assert printed(agent, "head") < LIMITS.window + 3 * LIMITS.chunk
        assert most - before < MAY_GROW
        await slow.send(frames.encode_json(Kind.CLOSE, STREAM, reason="closed"))
        await eventually(lambda: talking(agent, "head") is None, "what nobody wants any more ends")
        await asyncio.gather(*(echo(each, 1) for each in calm))
        slow.transport.abort()
        await asyncio.gather(*(each.close() for each in calm))

    asyncio.run(play())


def test_who_watches_and_does_not_read_is_cut_and_the_operator_waits_for_nobody(own: World, fleet: Fleet) -> None:
    relay, size, wakes_at = own.server.process.pid, 48 * MIB, 24 * MIB

    async def play() -> int | None:
        opening = {"kind": "session", "machine": "talker", "argv": ["/bin/sh"]}
        async with stream(own, own.token("member"), **opening) as operator:
            await operator.send(b"stty raw -echo; PS1=; echo ready $((40 + 2))\n")
            await read_until(operator, b"ready 42\n")
            watching = await dial(own, "guest", kind="observe", machine="talker")
            before, most, count = resident(relay), 0, 0
            await operator.send(f"head -c {size} /dev/zero; echo over $((40 + 2))\n".encode())
            tail = b""
            while b"over 42\n" not in tail:
                piece = await operator.read()
                assert piece is not None
                count += len(piece.data)
                tail = (tail + piece.data)[-20:]
                if count // MIB != (count - len(piece.data)) // MIB:
                    most = max(most, resident(relay))
                if count >= wakes_at:
                    watching.transport.resume_reading()
            assert count == size + len(b"over 42\n")
            assert most - before < MAY_GROW
            return await close_code(watching)

    assert asyncio.run(play()) == CloseCode.SLOW


async def overrun(own: World) -> tuple[ClientConnection, int]:
    """Return the socket of one who granted as much as may be, read nothing and was cut; and how the relay grew."""
    before, most, count = resident(own.server.process.pid), 0, 0
    slow = await dial(own, "admin", kind="session", machine="talker", argv=["cat", "/dev/zero"])

    async def grant(watching: Stream) -> None:
        nonlocal most, count
        async for piece in watching:
            # What another one was shown has been forwarded, so this is as much as may be granted.
            count += len(piece.data)
            await slow.send(frames.encode_window(STREAM, Kind.OUTPUT, count + LIMITS.window))
            most = max(most, resident(own.server.process.pid))

    async with stream(own, own.token("guest"), kind="observe", machine="talker") as watching:
        with pytest.raises(StreamClosed) as ended:
            await grant(watching)
    assert ended.value.reason == "slow"
    assert count > 2 * LIMITS.window
    return slow, most - before


def test_who_grants_and_never_reads_is_cut_and_what_ran_for_them_ends(own: World, fleet: Fleet) -> None:
    async def play() -> int | None:
        slow, grown = await overrun(own)
        assert grown < MAY_GROW
        await eventually(lambda: talking(fleet["talker"].process.pid, "cat") is None, "what nobody reads ends")
        slow.transport.resume_reading()
        return await close_code(slow)

    assert asyncio.run(play()) == CloseCode.SLOW


async def close_code(opened: ClientConnection) -> int | None:
    """Read to the end of a websocket and return how it was closed."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                await opened.recv()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


def test_a_gibibyte_arrives_as_it_was_and_the_relay_keeps_none_of_it(own: World, fleet: Fleet) -> None:
    relay, times = own.server.process.pid, 64
    content = random.Random(5).randbytes(16 * MIB)
    (fleet.home / "content").write_bytes(content)
    wanted = hashlib.sha256()
    for _ in range(times):
        wanted.update(content)

    async def play() -> tuple[str, int, int]:
        argv = ["sh", "-c", f"cat {' '.join(['~/content'] * times)}"]
        digest, count, most = hashlib.sha256(), 0, 0
        opening = {"kind": "command", "machine": "talker", "argv": argv, "timeout": 280}
        async with stream(own, own.token("member"), **opening) as command:
            before = resident(relay)
            while (piece := await command.read()) is not None:
                digest.update(piece.data)
                count += len(piece.data)
                if count // MIB != (count - len(piece.data)) // MIB:
                    most = max(most, resident(relay))
            return digest.hexdigest(), count, most - before

    found, count, grown = asyncio.run(play())
    assert (found, count) == (wanted.hexdigest(), times * len(content))
    assert grown < MAY_GROW


@dataclass(frozen=True)
class Holdings:
    """What three processes hold: descriptors, children, terminals of the machine, tasks of the client."""

    server: int
    agent: int
    here: int
    children: int
    terminals: int
    tasks: int

    @classmethod
    def of(cls, server: int, agent: int) -> Self:
        """Count; what comes and goes while it is counted is counted next time."""
        processes = [psutil.Process(each) for each in (server, agent, os.getpid())]
        terminals = 0
        for each in Path(f"/proc/{agent}/fd").iterdir():
            with suppress(FileNotFoundError):
                terminals += str(each.readlink()).startswith(("/dev/ptmx", "/dev/pts/"))
        children = sum(len(each.children(recursive=True)) for each in processes[:2])
        return cls(*(each.num_fds() for each in processes), children, terminals, len(asyncio.all_tasks()))

    def __le__(self, other: Self) -> bool:
        return all(mine <= others for mine, others in zip(astuple(self), astuple(other), strict=True))


async def open_and_close(own: World, turn: int) -> None:
    """Open ten streams, and end them in every way there is."""
    who = own.token("member")

    async def run(argv: list[str], *, to_its_end: bool) -> None:
        async with stream(own, who, kind="command", machine="talker", argv=argv) as command:
            while to_its_end and await command.read() is not None:
                pass

    async def shell() -> None:
        async with stream(own, who, kind="session", machine="talker", argv=["/bin/sh"]) as session:
            await session.send(b"exit\n" if turn % 2 else b"sleep 1000 &\n")
            while turn % 2 and await session.read() is not None:
                pass

    commands = [run(["true"], to_its_end=True) for _ in range(7)]
    left = [run(["sleep", "1000"], to_its_end=False), run(["cat", "/dev/zero"], to_its_end=False)]
    await asyncio.gather(shell(), *commands, *left)


async def settled(own: World, fleet: Fleet, at_most: Holdings | None = None) -> Holdings:
    """Wait until nothing changes any more, and nothing more is held than was before; return what is held."""
    pids = (own.server.process.pid, fleet["talker"].process.pid)
    now, seen = Holdings.of(*pids), 0
    try:
        async with asyncio.timeout(PATIENCE):
            while seen < 5 or not now <= (at_most or now):
                await asyncio.sleep(0.2)
                before, now = now, Holdings.of(*pids)
                seen = seen + 1 if now == before else 0
    except TimeoutError:
        raise AssertionError(f"{now} is held, which was {at_most}") from None
    return now


def test_a_thousand_openings_leave_nothing_open(own: World, fleet: Fleet) -> None:
    async def play() -> None:
        for turn in range(6):
            await open_and_close(own, turn)
        before = await settled(own, fleet)
        slow, _ = await overrun(own)  # who does not even read that they were cut, and is not waited for
        for turn in range(100):
            await open_and_close(own, turn)
        await settled(own, fleet, replace(before, here=before.here + 1))
        slow.transport.abort()
        await settled(own, fleet, before)

    asyncio.run(play())
