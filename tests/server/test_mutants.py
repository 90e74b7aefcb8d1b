"""The matrix proven: with any one gate of an operation replaced by «allow», a row of that operation turns red."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from cmdop_wire.vocab import AccountAction
from tests.processes import Server, read_line, start_server
from tests.server.matrix import Row, rows
from tests.server.stage import Caller, Stage
from tests.server.test_matrix import CODES, problem
from tests.world import make_world

ROWS = rows()
# Gates that show only when another one is open too: nobody who may not list a key may revoke it, and whoever may not
# operate has no session of their own to end.
BEHIND = {
    ("revoke_key", "key.revoke_any"): "key.list_all",
    ("terminate_session", "session.operate"): "session.terminate_any",
}
CLOSED_TO_KEYS = (AccountAction.ACCOUNT_EDIT, AccountAction.WORKSPACE_CREATE)


def gates() -> Iterator[tuple[str, str]]:
    """Yield (operation, gate) for everything that stands before an operation."""
    for row in ROWS:
        if row.action == AccountAction.PUBLIC:
            continue  # nothing stands before it
        yield row.operation, "bearer"
        if row.action not in list(AccountAction):
            yield row.operation, " ".join(["decide", row.action, BEHIND.get((row.operation, row.action), "")]).strip()
        elif row.action in CLOSED_TO_KEYS:
            yield row.operation, "keys"


@pytest.fixture(scope="module")
def mutant(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose gates can be opened."""
    server = start_server(tmp_path_factory.mktemp("mutant"), database_url, module="tests.server.mutant")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_stage(mutant: Server) -> Iterator[Stage]:
    """The matrix's callers on that server."""
    with closing(Stage(make_world(mutant))) as made:
        yield made


@pytest.fixture
def stage(operation: str, mutant: Server, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The callers: the same for all, but new ones where an open gate lets them remove themselves."""
    if operation == "remove_member":
        with closing(Stage(make_world(mutant))) as made:
            yield made
    else:
        yield request.getfixturevalue("shared_stage")


def tell(server: Server, gate: str) -> None:
    """Open ``gate``, or close all of them."""
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    server.process.stdin.write(f"{gate}\n")
    server.process.stdin.flush()
    assert read_line(server.process.stdout, server.process) == "done\n"


def is_let_in(stage: Stage, row: Row, caller: Caller) -> bool:
    """Tell whether ``caller`` gets past where the table says no: to success, or at least to the next question."""
    expected = row.expected(caller.column, caller.scope)
    return expected in CODES and stage.ask(row, caller).status_code not in (403, expected)


@pytest.mark.parametrize(("operation", "gate"), sorted(set(gates())), ids=str)
def test_an_open_gate_turns_the_matrix_red(mutant: Server, stage: Stage, operation: str, gate: str) -> None:
    tell(mutant, f"bearer {stage.world.token('owner')}" if gate == "bearer" else gate)
    asked = ((row, caller) for row in ROWS if row.operation == operation for caller in stage.callers)
    red = next(((row, caller) for row, caller in asked if is_let_in(stage, row, caller)), None)
    tell(mutant, "")
    assert red is not None
    assert problem(stage, *red) is None  # it was the gate
