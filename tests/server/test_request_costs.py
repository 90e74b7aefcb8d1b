"""What a request costs: how many questions, how much work before they are asked, and that nothing is remembered."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.inside import Inside

READS = {
    "/me": 2,
    "/workspaces/{ws}": 2,
    "/workspaces/{ws}/machines": 4,
    "/workspaces/{ws}/machines?limit=1": 4,
    "/workspaces/{ws}/machines/web-2": 4,
    "/workspaces/{ws}/events": 3,
    "/workspaces/{ws}/events?order=asc": 3,
}
Read = Callable[[str], Any]


@pytest.fixture
def read(inside: Inside, db: None) -> Read:
    """Ask the API in this process as an owner with three machines, whose token was used before."""
    from django.test import Client

    from cmdop_server.machines import services
    from tests import casting

    made = casting.cast("costs", None)
    owner, slug = made["people"]["owner"]["id"], made["tenants"]["acme"]["slug"]
    for number in range(3):
        services.register(casting.person(owner), slug, services.Host(f"web-{number}"))
    client, token = Client(), casting.sign_in(owner, slug, "workspace")["access_token"]

    def answer(path: str) -> Any:
        return client.get(f"/api/v1{path.format(ws=slug)}", headers={"Authorization": f"Bearer {token}"})

    assert answer("/me").status_code == 200
    return answer


@pytest.mark.parametrize("path", READS)
def test_a_read_asks_a_few_questions_whose_sql_is_ready(read: Read, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connection
    from django.db.models.sql.compiler import SQLCompiler
    from django.test.utils import CaptureQueriesContext

    assert read(path).status_code == 200
    compiled, compile_ = [], SQLCompiler.as_sql

    def as_sql(self: Any, *rest: Any, **named: Any) -> Any:
        compiled.append(self.query)
        return compile_(self, *rest, **named)

    monkeypatch.setattr(SQLCompiler, "as_sql", as_sql)
    with CaptureQueriesContext(connection) as asked:
        assert read(path).status_code == 200
    assert (len(asked), len(compiled)) == (READS[path], 0)


def test_no_request_starts_a_thread(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    assert [read("/me").status_code for _ in range(3)] == [200] * 3
    assert started == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")  # PostgreSQL would not store it
def test_half_a_surrogate_pair_is_answered_escaped(read: Read) -> None:
    from cmdop_server.machines.models import Machine

    Machine.objects.filter(name="web-1").update(metrics={"load": "\ud800"})
    answer = read("/workspaces/{ws}/machines/web-1")
    assert (answer.status_code, answer.json()["metrics"]) == (200, {"load": "\ud800"})


# --- ready queries ------------------------------------------------------------------------------------------------


def test_a_ready_query_asks_again_with_other_values(db: None) -> None:
    from cmdop_server.accounts.models import Account
    from cmdop_server.credentials.models import SignIn
    from cmdop_server.prepared import Prepared

    start = datetime(2026, 1, 1, 12, 0, 0, 250, tzinfo=UTC)
    accounts = [Account.objects.create(email=f"{each}@example.com", username=each) for each in ("ann", "bob")]
    for account in accounts:
        for hour in range(3):
            SignIn.objects.create(
                account=account,
                reach="all",
                client="' OR 1=1 --",
                address="",
                created_at=start,
                expires_at=start + timedelta(hours=hour),
            )
    ready = Prepared(
        lambda account, client, since: (
            SignIn.objects.select_related("account")
            .filter(account=account, client=client, expires_at__gt=since)
            .order_by("pk")
        ),
        account=int,
        client=str,
        since=datetime,
    )

    def hours(account: Account, client: str, since: datetime) -> list[int]:
        found = ready(account=account.pk, client=client, since=since)
        assert all(each.account.email == account.email for each in found)
        return [(each.expires_at - start) // timedelta(hours=1) for each in found]

    for account in accounts:
        assert hours(account, "' OR 1=1 --", start) == [1, 2]
        assert hours(account, "' OR 1=1 --", start - timedelta(microseconds=1)) == [0, 1, 2]
        assert hours(account, "x", start) == []
    SignIn.objects.filter(account=accounts[0], expires_at__gt=start + timedelta(hours=1)).update(expires_at=start)
    assert hours(accounts[0], "' OR 1=1 --", start) == [1]
    assert ready.first(account=accounts[1].pk, client="x", since=start) is None


def test_every_thread_asks_over_its_own_connection(committed_db: None) -> None:
    from django.db import connection

    from cmdop_server.accounts.models import Account
    from cmdop_server.prepared import Prepared

    names = [f"person-{number}" for number in range(40)]
    for name in names:
        Account.objects.create(email=f"{name}@example.com", username=name)
    ready = Prepared(lambda name: Account.objects.filter(username=name), name=str)
    together = threading.Barrier(4)

    def ask(part: list[str]) -> list[str]:
        together.wait()
        try:
            return [account.username for name in part for account in ready(name=name)]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, [names[place::4] for place in range(4)])) == [
            names[place::4] for place in range(4)
        ]


def test_a_value_without_a_place_is_no_query(db: None) -> None:
    from cmdop_server.accounts.models import Account
    from cmdop_server.prepared import Prepared

    forgetful = Prepared(lambda name, email: Account.objects.filter(username=name), name=str, email=str)
    with pytest.raises(TypeError, match="has a place"):
        forgetful(name="ann", email="ann@example.com")


# --- limits -------------------------------------------------------------------------------------------------------


def test_who_waited_as_told_may_ask_again_and_who_left_is_forgotten(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limits import parse

    from cmdop_server.rates import Windows

    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    windows = Windows(parse("2/10 second"))
    assert [windows.wait("ann") for _ in range(4)] == [0, 0, 10, 10]
    assert windows.wait("bob") == 0
    now += 4
    assert [windows.wait(who) for who in ("ann", "bob", "bob")] == [6, 0, 6]
    now += 6  # the window moves: what was refused does not count
    assert [windows.wait(who) for who in ("ann", "ann", "ann", "bob", "bob")] == [0, 0, 10, 0, 4]
    assert len(windows) == 2
    now += 11
    assert (windows.wait("eve"), len(windows)) == (0, 1)
