"""The log where HTTP cannot reach: its transaction, its races, a clock set back, the cost of a page."""

import base64
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inside import Inside

WORKSPACE = "ws_0123456789abcdefghjk"
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.fixture
def acme(committed_db: None) -> dict[str, Any]:
    """The tenant ``acme`` with the cast, as ids and slugs."""
    from tests import casting

    made = casting.cast("log", password=None)
    people = {who: casting.person(person["id"]) for who, person in made["people"].items()}
    return {**made["tenants"]["acme"], "people": people}


def verified(workspace_id: str) -> list[Any]:
    """Return all events in ascending order after checking the whole chain."""
    from cmdop_server.audit import chain, queries
    from cmdop_server.audit.services import entry_of

    found = queries.events(workspace_id, limit=100_000, newest_first=False).items
    head = queries.head(workspace_id)
    assert chain.fault_in(map(entry_of, found), head, base64.b64decode(head.public_key)) is None
    return found


def in_parallel(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in ``count`` threads that start together; return results or exceptions in order."""
    from django.db import connections

    results: list[object] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_an_event_is_written_in_a_transaction_or_not_at_all(committed_db: None) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.audit.services import append

    with pytest.raises(AssertionError, match="transaction of its change"):
        append(operator(), workspace_id=WORKSPACE, action="x.done", target_type="x", target_id="x")


def test_a_change_without_an_event_is_undone(acme: dict[str, Any]) -> None:
    from cmdop_server.workspaces.changes import changing
    from cmdop_server.workspaces.models import Workspace
    from cmdop_wire.vocab import Action

    def rename_in_silence() -> None:
        with changing(acme["people"]["owner"], acme["slug"], Action.SETTINGS_EDIT) as change:
            change.workspace.name = "Untold"
            change.workspace.save()

    with pytest.raises(AssertionError, match="without an event"):
        rename_in_silence()
    assert Workspace.objects.get(slug=acme["slug"]).name == acme["name"]


def test_no_change_when_the_log_cannot_be_written(acme: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings as django_settings

    from cmdop_server.workspaces import queries, services
    from cmdop_wire.vocab import Action

    owner, guest = acme["people"]["owner"], acme["people"]["guest"]
    with monkeypatch.context() as broken:
        broken.setattr(django_settings, "CMDOP_AUDIT_KEY", b"no key")
        with pytest.raises(ValueError):
            services.set_role(owner, acme["slug"], guest.account_id, "admin")
    assert queries.workspace_for(guest, acme["slug"], Action.WORKSPACE_VIEW).role == "guest"
    services.set_role(owner, acme["slug"], guest.account_id, "admin")
    assert queries.workspace_for(guest, acme["slug"], Action.WORKSPACE_VIEW).role == "admin"


def test_racing_writers_leave_one_chain_without_a_gap(acme: dict[str, Any]) -> None:
    from cmdop_server.workspaces import services

    before = len(verified(acme["id"]))
    owner = acme["people"]["owner"]

    def rename(number: int) -> None:
        for turn in range(5):
            services.update_workspace(owner, acme["slug"], name=f"Acme {number} {turn}")

    assert in_parallel(6, rename) == [None] * 6
    assert [event.seq for event in verified(acme["id"])] == list(range(1, before + 31))


def test_two_owners_demoting_each_other_leave_exactly_one(acme: dict[str, Any]) -> None:
    from cmdop_server.access.errors import Forbidden
    from cmdop_server.workspaces import services
    from cmdop_server.workspaces.models import Membership

    pair = [acme["people"]["owner"], acme["people"]["admin"]]
    services.set_role(pair[0], acme["slug"], pair[1].account_id, "owner")
    for _ in range(10):
        results = in_parallel(
            2, lambda number: services.set_role(pair[number], acme["slug"], pair[1 - number].account_id, "member")
        )
        won = [number for number, result in enumerate(results) if isinstance(result, Membership)]
        assert len(won) == 1
        assert isinstance(results[1 - won[0]], Forbidden)
        services.set_role(pair[won[0]], acme["slug"], pair[1 - won[0]].account_id, "owner")
    verified(acme["id"])


def test_racing_creators_of_one_slug_end_with_one_workspace(acme: dict[str, Any]) -> None:
    from cmdop_server.access.errors import Conflict
    from cmdop_server.workspaces import services
    from cmdop_server.workspaces.queries import Seen

    people = [acme["people"][who] for who in ("owner", "guest", "outsider", "member")]
    results = in_parallel(4, lambda number: services.create_workspace(people[number], name="Same Name"))
    assert sum(isinstance(result, Seen) for result in results) == 1
    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(refused) == 3
    for conflict in refused:
        assert (conflict.code, conflict.details["suggestion"]) == ("slug_taken", "same-name-2")
        assert conflict.hint == "cmdop workspace create 'Same Name' --slug same-name-2"


def test_denials_are_one_event_a_minute_for_an_actor_and_action(
    acme: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.utils import timezone

    from cmdop_server.access.errors import Forbidden
    from cmdop_server.audit.services import record_denial
    from cmdop_wire.vocab import Action

    # A minute that has just begun, so that the threads cannot straddle two.
    moment = timezone.now().replace(second=1, microsecond=0)
    monkeypatch.setattr(timezone, "now", lambda: moment)
    before = len(verified(acme["id"]))
    guest, reason = acme["people"]["guest"], "the role guest does not include it"
    edit = Forbidden(guest, Action.SETTINGS_EDIT, acme["id"], reason)
    invite = Forbidden(guest, Action.MEMBER_INVITE, acme["id"], reason, target=guest.account_id)
    in_parallel(6, lambda _: record_denial(edit))
    record_denial(invite)
    added = [(event.action, event.result, event.target_type, event.reason) for event in verified(acme["id"])[before:]]
    assert added == [
        ("settings.edit", "denied", "workspace", reason),
        ("member.invite", "denied", "account", reason),
    ]
    monkeypatch.setattr(timezone, "now", lambda: moment + timedelta(minutes=1))
    record_denial(edit)
    assert len(verified(acme["id"])) == before + 3


def test_a_denial_that_cannot_be_recorded_raises_nothing(acme: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings as django_settings

    from cmdop_server.access.errors import Forbidden
    from cmdop_server.audit.services import record_denial
    from cmdop_wire.vocab import Action

    before = len(verified(acme["id"]))
    forbidden = Forbidden(acme["people"]["guest"], Action.POLICY_EDIT, acme["id"], "no")
    with monkeypatch.context() as broken:
        broken.setattr(django_settings, "CMDOP_AUDIT_KEY", b"no key")
        record_denial(forbidden)
    assert len(verified(acme["id"])) == before
    record_denial(forbidden)  # the failed attempt did not use up this minute's event
    assert len(verified(acme["id"])) == before + 1


def test_what_cannot_be_stored_and_what_must_not_be_is_replaced_before_hashing(acme: dict[str, Any]) -> None:
    from dataclasses import replace

    from django.db import transaction

    from cmdop_server.audit.services import append
    from cmdop_wire.ids import make_key

    key = make_key("acme")
    hostile = replace(acme["people"]["owner"], label="\x00\ud800\x1b[31m" + "é" * 400, address="x" * 99)
    with transaction.atomic():
        append(
            hostile,
            workspace_id=acme["id"],
            action="x.done",
            target_type="x",
            target_id="y" * 200,
            target_label=f"look: {key.text}",
            changes={"list": [key.text, {"\x00": "\ud800"}], "number": 7, "fact": True, "nothing": None},
            reason="z" * 500,
        )
    event = verified(acme["id"])[-1]
    assert event.actor_label == "\ufffd?\x1b[31m" + "é" * 312 + "…"
    assert event.target_label == f"look: {key.prefix}…"
    assert event.changes == {
        "list": [f"{key.prefix}…", {"\ufffd": "?"}],
        "number": 7,
        "fact": True,
        "nothing": None,
    }
    assert (len(event.target_id), len(event.reason), len(event.address)) == (80, 300, 60)


@pytest.mark.parametrize("field", ["password", "secret", "token"])
def test_a_secret_has_no_place_in_changes(acme: dict[str, Any], field: str) -> None:
    from django.db import transaction

    from cmdop_server.audit.services import append

    with pytest.raises(AssertionError, match="secret"), transaction.atomic():
        append(
            acme["people"]["owner"],
            workspace_id=acme["id"],
            action="x.done",
            target_type="x",
            target_id="x",
            changes={field: "x"},
        )


@given(
    offsets=st.lists(st.integers(-90, 90), min_size=1, max_size=8),
    window=st.tuples(st.integers(-400, 400), st.integers(-400, 400)),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_question_about_time_is_exact_also_when_the_clock_was_set_back(
    inside: Inside, offsets: list[int], window: tuple[int, int]
) -> None:
    from django.db import transaction
    from django.utils import timezone

    from cmdop_server.access.actor import operator
    from cmdop_server.audit.queries import Filters, events
    from cmdop_server.audit.services import append

    since, until = (NOON + timedelta(minutes=edge) for edge in window)
    with inside.rolled_back(), pytest.MonkeyPatch.context() as clock, transaction.atomic():
        moment = NOON
        expected = []
        for seq, offset in enumerate(offsets, 1):
            moment += timedelta(minutes=offset)
            clock.setattr(timezone, "now", lambda at=moment: at)
            append(operator(), workspace_id=WORKSPACE, action="x.done", target_type="x", target_id="x")
            expected += [seq] if since <= moment < until else []
        for limit in (2, 50):
            found, cursor = [], None
            while True:
                page = events(WORKSPACE, Filters(since=since, until=until), limit, cursor, newest_first=False)
                found += [event.seq for event in page.items]
                cursor = page.next
                if cursor is None:
                    break
            assert found == expected


@pytest.fixture(scope="module")
def crowded(inside: Inside) -> Iterator[str]:
    """A workspace with 8,000 events, made without their chain, and the database's statistics up to date."""
    from django.db import connection

    from cmdop_server.audit.models import Chain, Event

    def event(seq: int) -> Event:
        rare = seq % 2000 == 0
        return Event(
            workspace_id=WORKSPACE,
            seq=seq,
            at=NOON + timedelta(seconds=seq),
            actor_kind="account",
            actor_id="usr_" + ("1" if rare else "0") * 20,
            actor_label="rare@example.org" if rare else "often@example.org",
            action="member.added" if rare else "key.created",
            noun="member" if rare else "key",
            result="ok",
            target_type="key",
            target_id="key_" + ("1" if rare else "0") * 20,
            target_label="rare" if rare else "often",
            previous="",
            hash="",
        )

    Event.objects.bulk_create(map(event, range(1, 8_001)), batch_size=500)
    Chain.objects.create(workspace_id=WORKSPACE, seq=8_000)
    with connection.cursor() as cursor:
        cursor.execute("analyze")
    yield WORKSPACE
    inside.empty()


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"actor": "usr_" + "1" * 20},
        {"actor": "rare@example.org"},
        {"action": "member.added"},
        {"action": "member.*"},
        {"target": "key_" + "1" * 20},
        {"target": "rare"},
        {"since": NOON + timedelta(seconds=7_990)},
        {"until": NOON + timedelta(seconds=10)},
        {"since": NOON + timedelta(seconds=4_000), "until": NOON + timedelta(seconds=4_020)},
    ],
    ids=lambda filters: "+".join(filters) or "none",
)
@pytest.mark.parametrize("newest_first", [True, False])
def test_every_filter_is_answered_in_order_from_an_index(
    crowded: str, filters: dict[str, Any], newest_first: bool
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.audit.queries import Filters, events

    with CaptureQueriesContext(connection) as asked:
        page = events(crowded, Filters(**filters), 5, newest_first=newest_first)
    assert page.items
    assert all((a.seq > b.seq) is newest_first for a, b in pairwise(page.items))
    # `analyze` executes: what counts is how many rows were touched, not what the planner hoped.
    words = "explain (analyze, costs off, timing off)" if connection.vendor == "postgresql" else "explain query plan"
    for query in asked.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"{words} {query['sql']}".replace("%", "%%"))
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
        assert not any(
            slow in plan for slow in ("Sort", "Seq Scan on audit_event", "TEMP B-TREE", "SCAN audit_event")
        ), plan
        assert "Rows Removed by Filter" not in plan, plan
