"""Revocation of those who do not read: what waits for them in the relay is never shown, and nobody waits for them.

How much the kernel has taken is not the relay's to take back, so these look at how much that is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import STREAM, CloseCode, Kind
from tests.agents import Machine, start_agent
from tests.relay import bare
from tests.relay.causes import acme
from tests.relay.seats import GENEROUS, read_until, stream
from tests.world import World

pytestmark = pytest.mark.timeout(180)

STEP = 64 * 1024
WAITS = 8 * STEP  # bytes that the relay holds for who does not read; less than an observer may be behind
ESTABLISHED = "01"
HANGS_UP = 5.0  # seconds: two for the farewell, the rest for a busy machine; a close that nobody answers takes ten


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "web-1", "web-1")
    yield running
    running.stop()


def at_the_relay(world: World, socket: ClientConnection) -> tuple[str, int]:
    """Return the state of the relay's end of a connection, and how many bytes the kernel has of it that nobody took."""
    ours, theirs = socket.local_address[1], urlsplit(world.server.url).port
    state, size = "", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, in_state, queues, *_ = line.split()
        ports = [int(each.rpartition(":")[2], 16) for each in (local, remote)]
        if sorted(ports) == sorted((ours, theirs)):
            size += sum(int(each, 16) for each in queues.split(":"))
            state = in_state if ports[0] == theirs else state
    return state, size


async def fill(world: World, socket: ClientConnection, send: Callable[[int], Awaitable[None]]) -> int:
    """Send in steps until the kernel takes no more for ``socket``, then ``WAITS`` more; return how much that was."""
    sent, taken, same = 0, -1, 0
    while same < 3:
        await send(STEP)
        sent += STEP
        await asyncio.sleep(0.05)
        now = at_the_relay(world, socket)[1]
        same, taken = (same + 1 if now == taken else 0), now
    for _ in range(WAITS // STEP):
        await send(STEP)
    return sent + WAITS


async def show(operator: Stream, size: int) -> None:
    """Print so much on the operator's terminal, and see it there."""
    await operator.send(f"head -c {size} /dev/zero; echo shown $((40 + 2))\n".encode())
    await read_until(operator, b"shown 42\n")


async def unread(world: World, operator: Stream, token: str) -> tuple[ClientConnection, int]:
    """Return the socket of an observer who reads nothing and is far behind, and how much was shown."""
    await operator.send(b"stty raw -echo; PS1=; echo ready $((40 + 2))\n")
    await read_until(operator, b"ready 42\n")
    watching = await bare.dial(world, token)
    await watching.send(frames.encode_json(Kind.OPEN, STREAM, kind="observe", machine="web-1"))
    assert frames.decode(await watching.recv(decode=False)).kind is Kind.OPENED
    watching.transport.pause_reading()
    return watching, await fill(world, watching, lambda size: show(operator, size))


async def revoke(world: World, key: str) -> None:
    """Revoke a key; it is acknowledged."""
    answer = await asyncio.to_thread(world.as_("owner").delete, f"{acme(world)}/keys/{key}")
    assert answer.status_code == 200, answer.text


async def hung_up_after(world: World, socket: ClientConnection) -> float:
    """Wait until the relay has hung up on ``socket``, and return after how many seconds."""
    begun = time.monotonic()
    async with asyncio.timeout(GENEROUS):
        while at_the_relay(world, socket)[0] == ESTABLISHED:
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def read_on(socket: ClientConnection) -> tuple[int, int | None]:
    """Read to the end; return how much was shown, and how it was closed."""
    socket.transport.resume_reading()
    shown = 0
    async with asyncio.timeout(GENEROUS):
        try:
            while True:
                frame = frames.decode(await socket.recv(decode=False))
                shown += len(frames.data_of(frame)[1]) if frame.kind is Kind.OUTPUT else 0
        except websockets.ConnectionClosed as closed:
            return shown, closed.rcvd.code if closed.rcvd else None


@pytest.mark.parametrize("reads", ["at once", "much later"])
def test_what_waits_for_a_reader_whose_key_is_revoked_is_not_shown(world: World, machine: Machine, reads: str) -> None:
    key = world.key("owner", "sessions:observe", "machines:read", shared=True)
    opening = {"kind": "session", "machine": "web-1", "argv": ["/bin/sh"]}

    async def play() -> None:
        async with stream(world, world.token("admin"), **opening) as operator:
            watching, sent = await unread(world, operator, key["text"])
            await revoke(world, key["id"])
            if reads == "much later":
                assert await hung_up_after(world, watching) < HANGS_UP
            shown, code = await read_on(watching)
            assert shown < sent - WAITS // 2
            assert code == (CloseCode.AUTH if reads == "at once" else None)
            await show(operator, STEP)

    asyncio.run(play())


def test_a_reader_whose_key_is_revoked_is_not_waited_for(world: World, machine: Machine) -> None:
    key = world.key("owner", "commands:execute", "machines:read", shared=True)
    printing = {"kind": "command", "machine": "web-1", "argv": ["cat", "/dev/zero"]}

    async def play() -> float:
        reading = await bare.dial(world, key["text"])
        await reading.send(frames.encode_json(Kind.OPEN, STREAM, **printing))
        assert frames.decode(await reading.recv(decode=False)).kind is Kind.OPENED
        reading.transport.pause_reading()
        await revoke(world, key["id"])
        acknowledged = time.monotonic()
        async with asyncio.timeout(GENEROUS):
            while at_the_relay(world, reading)[0] == ESTABLISHED:
                await asyncio.sleep(0.05)
        took = time.monotonic() - acknowledged
        reading.transport.abort()
        return took

    assert asyncio.run(play()) < 2 + 2
