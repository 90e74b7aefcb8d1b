"""A fleet that the tests of ``connect`` share: three machines of acme, one of globex, one that is offline."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.attached import settled
from tests.fleet import Fleet, new_fleet
from tests.processes import Server, stop
from tests.terminal import Cmdop, Terminal
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


@pytest.fixture
def member(cmdop: Cmdop, fleet: Fleet) -> Cmdop:
    """The command line of a member of acme with a key."""
    return cmdop.with_(**fleet.as_("member"))


@pytest.fixture
def at(member: Cmdop) -> Iterator[Callable[..., Terminal]]:
    """Attach terminals to machines: ``at("web-1")``, with a prompt that can be waited for; closed for the test."""
    opened: list[Terminal] = []

    def attach(machine: str, *arguments: str, who: Cmdop = member, **options: Any) -> Terminal:
        opened.append(who.on_terminal("connect", "to", machine, *arguments, **options))
        return settled(opened[-1])

    yield attach
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGTERM)  # so that the session is closed, not lost
        stop(terminal.process)
        terminal.close()
