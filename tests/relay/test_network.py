"""The network away for five seconds in the middle of fifty mebibytes, to a client or to a machine: nothing is lost."""

import asyncio
import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cmdop_agent.registration import RegistrationFile
from cmdop_sdk.dialing import Dialer, Target
from cmdop_sdk.running import RunningCommand
from cmdop_sdk.stream import Notice
from cmdop_sdk.transfers import get, put
from tests.agents import Machine, register, run
from tests.relay.network import Network
from tests.relay.seats import Fixed
from tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
MIB = 1024 * 1024
SIZE, HELD_AFTER, AWAY = 50 * MIB, 20 * MIB, 5.0
PATIENCE = 60.0


class Crossing:
    """What goes between a client and a machine: a file either way, what a command prints."""

    def __init__(self, dialer: Dialer, machine: str, source: Path, folder: Path) -> None:
        self._dialer = dialer
        self._machine = machine
        self._source = source
        self._folder = folder
        self.noticed: set[str] = set()

    def _notice(self, notice: Notice) -> None:
        self.noticed.add(notice.code)

    async def get(self) -> str:
        """Bring the source; return the hash of what has arrived."""
        kept = self._folder / f"got-{self._machine}"
        await get(self._dialer, self._machine, str(self._source), kept, on_notice=self._notice)
        return hash_of(kept.read_bytes())

    async def put(self) -> str:
        """Send the source; return the hash of what has arrived."""
        there = self._folder / f"put-{self._machine}"
        await put(self._dialer, self._machine, str(there), self._source, on_notice=self._notice)
        return hash_of(there.read_bytes())

    async def exec(self) -> str:
        """Print the source there; return the hash of what has arrived."""
        digest = hashlib.sha256()
        command = RunningCommand(
            self._dialer, self._machine, ["cat", str(self._source)], timeout=200, on_notice=self._notice
        )
        async with command:
            async for _, data in command:
                digest.update(data)
        return digest.hexdigest()


def hash_of(content: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(content).hexdigest()


def behind(network: Network, machine: Machine) -> Machine:
    """Make a registered machine reach the relay through a network."""
    kept = RegistrationFile(machine.directory)
    registration = kept.read()
    assert registration is not None
    _, path, rest = registration.relay_url.partition("/relay/")
    kept.write(replace(registration, relay_url=f"ws{network.address.removeprefix('http')}{path}{rest}"))
    return machine


def test_five_seconds_without_a_network_lose_and_repeat_nothing(
    world: World, isolated: dict[str, str], tmp_path: Path
) -> None:
    home = Path(isolated["HOME"])
    source = home / "source"
    source.write_bytes(random.Random(11).randbytes(SIZE))
    bearer, url = Fixed(world.token("member")), world.server.url
    names = ("near", "far", "wide")
    near, far, wide = (register(world, tmp_path / name, name) for name in names)
    running: list[Machine] = []

    async def play() -> None:
        async with Network(url, HELD_AFTER) as to_client, Network(url, HELD_AFTER) as to_machine:
            agents = [near, behind(to_machine, far), behind(to_machine, wide)]
            running.extend(await asyncio.gather(*(asyncio.to_thread(run, each) for each in agents)))
            client = Crossing(Dialer(Target(to_client.address), bearer), "near", source, home)
            machines = [Crossing(Dialer(Target(url), bearer), each, source, home) for each in ("far", "wide")]
            # What a machine sends and what it takes are on two links: one that is held holds the grants of the other.
            ways = [client.get(), client.put(), client.exec(), machines[0].get(), machines[0].exec(), machines[1].put()]
            crossing = asyncio.gather(*ways)
            try:
                async with asyncio.timeout(PATIENCE):
                    while (to_client.held, to_machine.held) != (3, 2):
                        await asyncio.sleep(0.05)
                await asyncio.gather(to_client.cut(AWAY), to_machine.cut(AWAY))
                arrived = await crossing
            finally:
                crossing.cancel()
        assert arrived == [hash_of(source.read_bytes())] * len(ways)
        assert client.noticed >= {"reconnecting", "resumed"}
        assert all("machine_lost" in each.noticed for each in machines)

    try:
        asyncio.run(play())
    finally:
        for machine in running:
            machine.stop()
