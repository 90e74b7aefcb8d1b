"""The revocation grid: what ends a right ends every open stream on it with its reason, and nothing else (D-14).

That it takes less than two seconds is measured by ``bench.revocation``; here the order of things is held.
"""

import asyncio
import time
from pathlib import Path

import pytest

from tests.agents import Machine
from tests.relay.causes import CAUSES, Cause
from tests.relay.seats import Typist, is_alive, seated
from tests.world import World

CONCERNED = ("operator", "observer", "command")
IN_THE_FAST_TIER = ("key revoked", "sign-in ended", "member removed", "role lowered")
pytestmark = pytest.mark.timeout(180)


def _tiered(cause: Cause) -> object:
    slow = () if cause.name in IN_THE_FAST_TIER else pytest.mark.slow
    return pytest.param(cause, id=cause.name.replace(",", "").replace(" ", "-"), marks=slow)


@pytest.mark.parametrize("cause", [_tiered(cause) for cause in CAUSES])
def test_what_ends_a_right_ends_its_streams(
    world: World, machines: tuple[Machine, Machine], cause: Cause, tmp_path: Path
) -> None:
    machine = machines[0]
    held, bystander = cause.hold(world), world.token(cause.bystander)

    async def play() -> tuple[Typist, float]:
        async with seated(world, held.text, bystander) as seats:
            typist = Typist(seats["operator"], tmp_path / "typed")
            await typist.begin()
            status = await asyncio.to_thread(cause.act, world, machine, held)
            acknowledged = time.monotonic()
            assert status in (200, 204), status
            for name in (*CONCERNED, "watcher"):
                seat, reason = seats[name], getattr(cause, name)
                if reason is None:
                    await is_alive(seats, name)
                else:
                    await seat.end()
                    assert seat.reason == reason, name
            await is_alive(seats, "bystander")
            if cause.operator is None:
                await typist.reaches(len(typist.begun))
            await typist.end()
        return typist, acknowledged

    typist, acknowledged = asyncio.run(play())
    machine.stop()  # so whatever is on its way to the shell has arrived, or never will
    is_late = typist.begun[typist.last] > acknowledged
    assert is_late == (cause.operator is None), "typed after the acknowledgement"
