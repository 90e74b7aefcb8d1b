"""What one who never reads costs ten others: the echo of their keystrokes. Run: python -m bench.slow_reader

Ten sessions on ten machines type, first alone, then while an eleventh client has a machine print a gibibyte and reads
nothing of it; in turn, so that a busy moment falls on both. Prints p95 of each, the ratio, and how the relay grew.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection

from bench.measure import p95, surroundings
from cmdop_sdk.dialing import Dialer, Target
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, Kind
from tests.fleet import new_fleet
from tests.processes import start_server
from tests.relay.deaf import dial, printed, talking
from tests.relay.seats import Fixed
from tests.world import World, make_world

OTHERS, TURNS, KEYS, PAUSE = 10, 12, 20, 0.01
MOST_RATIO, MAY_GROW = 2.0, 32.0  # the second in MiB


async def typed(session: Stream, taken: list[float]) -> None:
    """Type keys, and note how long the echo of each took."""
    for _ in range(KEYS):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        await session.send(b"x")
        assert await session.read() is not None
        taken.append((time.perf_counter() - begun) * 1000)


async def never_reading(world: World, agent: int) -> ClientConnection:
    """Let a machine print until it has to wait for one who reads nothing of it."""
    argv = ["head", "-c", "1G", "/dev/zero"]
    slow = await dial(world, "admin", kind="command", machine="talker", argv=argv, timeout=600)
    while printed(agent, "head") < LIMITS.window:
        await asyncio.sleep(0.01)
    return slow


async def measure(world: World, agent: int) -> None:
    """Type in turns, without and with the one who does not read, and print."""
    dialer = Dialer(Target(world.server.url), Fixed(world.token("member")))
    relay = psutil.Process(world.server.process.pid)
    openings = [{"kind": "session", "machine": f"calm-{number}", "argv": ["cat"]} for number in range(OTHERS)]
    sessions = [await Stream(dialer, opening).__aenter__() for opening in openings]
    alone: list[float] = []
    beside: list[float] = []
    await asyncio.gather(*(typed(each, []) for each in sessions))
    most, before = 0, relay.memory_info().rss
    for _ in range(TURNS):
        await asyncio.gather(*(typed(each, alone) for each in sessions))
        slow = await never_reading(world, agent)
        await asyncio.gather(*(typed(each, beside) for each in sessions))
        most = max(most, relay.memory_info().rss)
        await slow.send(frames.encode_json(Kind.CLOSE, STREAM, reason="closed"))
        slow.transport.abort()
        while talking(agent, "head") is not None:
            await asyncio.sleep(0.01)
    for each in sessions:
        await each.close()
    print(f"\n{OTHERS} sessions, {len(alone)} keystrokes each way{'':<12}{'median':>9}{'p95':>9} ms")
    for name, taken in (("alone", alone), ("beside one who never reads", beside)):
        print(f"{name:<44}{statistics.median(taken):>9.2f}{p95(taken):>9.2f}")
    ratio, grown = p95(beside) / p95(alone), (most - before) / 1024**2
    print(f"ratio of p95 {ratio:.2f} (budget {MOST_RATIO}){'' if ratio <= MOST_RATIO else '  over budget'}")
    print(f"the relay grew by {grown:.1f} MiB (budget {MAY_GROW}){'' if grown <= MAY_GROW else '  over budget'}")


def main() -> None:
    """Set everything up in a temporary home and measure."""
    print(f"window {LIMITS.window >> 10} KiB; {surroundings()}")
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        server = start_server(home)
        world = make_world(server)
        try:
            fleet = new_fleet(world, home / "fleet", "talker", *(f"calm-{number}" for number in range(OTHERS)))
            try:
                asyncio.run(measure(world, fleet["talker"].process.pid))
            finally:
                fleet.stop()
        finally:
            world.close()
            server.stop()


if __name__ == "__main__":
    main()
