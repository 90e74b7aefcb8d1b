"""Every operation of the served OpenAPI × every caller of the cast, against the reviewed table in matrix.py."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from cmdop_wire.ids import make_id
from tests.processes import Server
from tests.server.matrix import PAGES, Row, rows
from tests.server.stage import REQUESTS, Caller, Stage
from tests.world import make_world

ROWS = rows()
CODES = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
BEYOND = {409: "agent_offline"}  # what who is let in may hear


@pytest.fixture(scope="module")
def stage(server: Server) -> Iterator[Stage]:
    """Every caller, once for all rows: an allowed request leaves the cast as it was."""
    with closing(Stage(make_world(server))) as made:
        yield made


@pytest.fixture(scope="module")
def served(server: Server) -> dict[str, Any]:
    """The OpenAPI document as the server serves it."""
    document: dict[str, Any] = httpx.get(f"{server.url}/api/v1/openapi.json", timeout=60).raise_for_status().json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the document's operations by id, each with its ``method`` and ``path``."""
    return {
        operation["operationId"]: operation | {"method": method.upper(), "path": path}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def problem(stage: Stage, row: Row, caller: Caller) -> str | None:
    """Return how ``caller`` is answered otherwise than ``row`` says, ``None`` when it is as the row says."""
    answer = stage.ask(row, caller)
    expected = row.expected(caller.column, caller.scope)
    if answer.status_code != expected:
        return f"{row.name} as {caller.name}: {answer.status_code}, the table says {expected}: {answer.text[:300]}"
    if expected >= 400 and answer.json()["error"]["code"] != (CODES | BEYOND)[expected]:
        return f"{row.name} as {caller.name}: {answer.json()['error']['code']} with {expected}"
    return None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_of_each_column_is_answered_as_the_table_says(stage: Stage, row: Row) -> None:
    first = {caller.column: caller for caller in reversed(stage.callers)}
    problems = [problem(stage, row, caller) for caller in first.values()]
    assert [text for text in problems if text is not None] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_all_the_others_are_answered_as_the_table_says(stage: Stage, row: Row) -> None:
    first = {caller.column: caller for caller in reversed(stage.callers)}
    problems = [problem(stage, row, caller) for caller in stage.callers if caller not in first.values()]
    assert [text for text in problems if text is not None] == []


def test_every_served_operation_has_rows_for_each_of_its_actions(served: dict[str, Any]) -> None:
    declared = {
        (name, action)
        for name, operation in operations(served).items()
        for action in (operation["x-cmdop-action"], *operation.get("x-cmdop-also", []))
    }
    assert {(row.operation, row.action) for row in ROWS} == declared
    assert {row.name for row in ROWS} == set(REQUESTS)


def test_the_declared_scope_is_the_one_that_opens(served: dict[str, Any]) -> None:
    for row in ROWS:
        operation = operations(served)[row.operation]
        if row.action == operation["x-cmdop-action"] and row.scopes != {"any"}:
            assert operation["x-cmdop-scope"] == (next(iter(row.scopes)) if row.scopes else None), row.name


def test_what_is_served_is_what_is_documented(server: Server, served: dict[str, Any]) -> None:
    routed = {tuple(found) for found in server.backstage("tests.server.routes:operations")}
    assert routed == {(op["method"], op["path"], name) for name, op in operations(served).items()}


def test_every_other_address_stands_in_the_reviewed_list(server: Server, served: dict[str, Any]) -> None:
    routed = set(server.backstage("tests.server.routes:addresses"))
    pages = {server.backstage("tests.server.routes:leads_to", path=path) for path in PAGES}
    documented = {path.removeprefix("/").replace("{", "<").replace("}", ">") for path in served["paths"]}
    assert {address for address in routed - pages if address not in documented} == set()


@pytest.mark.parametrize("path", PAGES)
def test_without_a_session_a_page_shows_nothing_of_a_tenant(server: Server, path: str) -> None:
    assert httpx.get(f"{server.url}{path}", timeout=60).status_code == PAGES[path]


def test_the_rows_ask_with_callers_of_every_column(stage: Stage) -> None:
    assert {caller.column for caller in stage.callers} == set(ROWS[0].statuses)


def told(answer: httpx.Response) -> tuple[int, Any, list[str]]:
    """Return everything an answer tells but the request's own id."""
    body = {name: value for name, value in answer.json()["error"].items() if name != "request_id"}
    return answer.status_code, body, sorted(answer.headers)


@pytest.mark.parametrize("row", [row for row in ROWS if row.statuses["foreign"] == 404], ids=lambda row: row.name)
def test_a_stranger_cannot_tell_a_workspace_from_none(stage: Stage, row: Row) -> None:
    strangers = [caller for caller in stage.callers if caller.column in ("stranger", "foreign")][-2:]
    answers = []
    for name in (stage.acme, stage.world.acme.id, "no-such-workspace", make_id("workspace"), "Not A Slug"):
        stage.addressed = name
        answers += [told(stage.ask(row, stranger)) for stranger in strangers]
    stage.addressed = stage.acme
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_id_of_another_tenant_is_an_unknown_id(stage: Stage, method: str) -> None:
    acme = f"/workspaces/{stage.acme}"
    theirs = {"members": [stage.world["rival"].id, stage.world["outsider"].id, make_id("account")]}
    theirs["keys"] = [stage.world.key("rival")["id"], stage.world.key("rival", shared=True)["id"], make_id("key")]
    token, globex = stage.world.token("rival"), stage.world.globex.slug
    machine = stage.fleet("register", workspace=globex, hostname=f"theirs-{method.lower()}")["id"]
    theirs["machines"] = [machine, f"theirs-{method.lower()}", make_id("machine"), "no-such-machine"]
    theirs["sessions"] = [stage.fleet("open_session", bearer=token, machine=machine), make_id("session")]
    made = stage.answer("POST", f"/workspaces/{globex}/join-tokens", token, json={})
    theirs["join-tokens"] = [made.json()["id"], make_id("join_token")]
    for noun, ids in theirs.items():
        body = {"json": {"role": "member"} if noun == "members" else {}} if method == "PATCH" else {}
        answers = [
            told(stage.answer(method, f"{acme}/{noun}/{each}", stage.world.token("owner"), **body)) for each in ids
        ]
        assert answers[0][0] in (404, 405)
        assert answers == [answers[0]] * len(answers)
