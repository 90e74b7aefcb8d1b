"""Fixtures everybody shares: an isolated home for every test, real servers on both databases, the cast, the command.

On which database a server test runs: on both, on PostgreSQL in the slow tier only; see ``tests/tiers.py``.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.inside import Inside
from tests.processes import Postgres, Server, bare_environment, server_environment, start_server
from tests.terminal import Cmdop, Terminal
from tests.tiers import is_slow
from tests.world import World, make_world

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:  # under nohup, or in the background of a script; children inherit it
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
hypothesis.settings.register_profile("house", deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("house"), max_examples=25)  # make test
hypothesis.settings.load_profile("house")


def _only_in_a_child(replace: Callable[..., Any]) -> Callable[..., Any]:
    ours = os.getpid()

    def guarded(*arguments: Any) -> Any:
        """Refuse to become another program: pytest would end there, with that one's status and nobody's failure."""
        assert os.getpid() != ours, f"a test would become {arguments[0]!r}; run this in a process of its own"
        return replace(*arguments)

    return guarded


os.execv, os.execve = _only_in_a_child(os.execv), _only_in_a_child(os.execve)  # type: ignore[assignment]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test into its tier, and all of PostgreSQL on one worker, which then starts it once."""
    for item in items:
        database = getattr(getattr(item, "callspec", None), "params", {}).get("database")
        if is_slow(item.nodeid, database=database):
            item.add_marker(pytest.mark.slow)
        if database == "postgresql":
            item.add_marker(pytest.mark.xdist_group("postgresql"))


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Give every test an empty home and none of the user's variables; return that environment."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environ = bare_environment(home) | {
        "CMDOP_CONFIG_DIR": str(home / "cmdop"),
        "CMDOP_CREDENTIAL_STORE": "file",
        "COLUMNS": "100",
    }
    for name in set(os.environ) - set(environ) - {"PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER"}:
        if name.startswith(("CMDOP_", "XDG_", "PYTEST_ADDOPTS")) or name in ("CI", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; ``postgres.database()`` makes a new, empty database and returns its address."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on; whoever depends on it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_database(database: str, request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """Make an empty PostgreSQL database and return its address, or nothing, which means SQLite."""
    return request.getfixturevalue("postgres").database if database == "postgresql" else lambda: None


@pytest.fixture(scope="module")
def database_url(new_database: Callable[[], str | None]) -> str | None:
    """The address of an empty PostgreSQL database for this module's own server, or nothing, which means SQLite."""
    return new_database()


@pytest.fixture(scope="session")
def server(new_database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The control plane that tests share, a real process; whoever breaks or stops one starts their own."""
    running = start_server(tmp_path_factory.mktemp("server"), new_database())
    yield running
    running.stop()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of the test's own: ``new_server(database_url=None, *arguments, CMDOP_SIGNUP="open")``."""
    started: list[Server] = []

    def start(database_url: str | None = None, *arguments: str, **settings: str) -> Server:
        folder = tmp_path / f"server-{len(started)}"
        folder.mkdir(mode=0o700)
        started.append(start_server(folder, database_url, *arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def world(server: Server) -> Iterator[World]:
    """The cast in tenants of this test's own, on the shared server."""
    made = make_world(server)
    yield made
    made.close()


@pytest.fixture(scope="module")
def standing(server: Server) -> Iterator[World]:
    """One world for all tests of a module that ask for what is refused, and so leave it as it is."""
    made = make_world(server)
    yield made
    made.close()


@pytest.fixture
def cmdop(isolated: dict[str, str], tmp_path: Path) -> Cmdop:
    """The command line in an empty home: ``cmdop("workspace", "list", "--json").ok().json``."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Cmdop(isolated, folder)


@pytest.fixture
def terminal(isolated: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start programs on terminals: ``terminal(["cmdop", …], width=80)``, closed at the end of the test."""
    opened: list[Terminal] = []

    def start(command: list[str], environ: dict[str, str] | None = None, **options: Any) -> Terminal:
        opened.append(Terminal(command, isolated | (environ or {}), tmp_path, **options))
        return opened[-1]

    yield start
    for screen in opened:
        screen.close()


@pytest.fixture(scope="session")
def inside(new_database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Django in this very process, with a migrated database of its own: for counting queries and fault hooks."""
    django = Inside(server_environment(tmp_path_factory.mktemp("inside"), new_database()))
    yield django
    django.close()


@pytest.fixture
def db(inside: Inside) -> Iterator[None]:
    """Django in this process; what the test writes is rolled back (``on_commit`` never runs)."""
    with inside.rolled_back():
        yield


@pytest.fixture
def committed_db(inside: Inside) -> Iterator[None]:
    """Django in this process with real commits; every table is emptied afterwards."""
    yield
    inside.empty()
