"""Machines for tests of the relay."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agents import Machine, start_agent
from tests.world import World


@pytest.fixture
def machines(world: World, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines of acme with running agents, web-1 and web-2."""
    world.token("owner")  # before there are threads: one at a time asks behind the scenes
    with ThreadPoolExecutor() as pool:
        one, two = pool.map(lambda name: start_agent(world, tmp_path / name, name), ("web-1", "web-2"))
    yield one, two
    one.stop()
    two.stop()
