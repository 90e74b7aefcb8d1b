"""A fleet that the tests of ``connect`` share: three machines of acme, one of globex, one that is offline."""

from collections.abc import Iterator

import pytest

from tests.fleet import Fleet, new_fleet
from tests.processes import Server
from tests.world import make_world


@pytest.fixture(scope="session")
def fleet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Machines web-1, web-2 and db-1 in acme, far-1 in globex; off-1 of acme is registered and does not run."""
    world = make_world(server)
    made = new_fleet(world, tmp_path_factory.mktemp("fleet"), "web-1", "web-2", "db-1")
    made.start("far-1", tenant="globex")
    made.offline("off-1")
    yield made
    made.stop()
    world.close()
