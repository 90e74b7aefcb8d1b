"""What holds when many ask at once: caps, the last owner, revocation. Real servers; on PostgreSQL two workers."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.processes import Server
from tests.world import Api, World, make_world

ROUNDS = 100


@pytest.fixture(scope="module")
def busy_server(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers where there can be two, and with limits that do not stand in the way."""
    from tests.processes import start_server

    more = ("--workers", "2") if database_url else ()
    generous = "credential=100000/minute,account=100000/minute,address=100000/minute"
    running = start_server(tmp_path_factory.mktemp("busy"), database_url, *more, CMDOP_RATE_LIMITS=generous)
    yield running
    running.stop()


@pytest.fixture
def busy(busy_server: Server) -> Iterator[World]:
    """The cast on the busy server."""
    world = make_world(busy_server)
    yield world
    world.close()


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls from as many threads, as nearly at the same moment as a barrier can, and return the answers."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def create(api: Api, world: World, name: str) -> int:
    """Return the status of making a personal key."""
    return api.post(f"/workspaces/{world.acme.id}/keys", json={"kind": "personal", "name": name}).status_code


def test_fifty_creates_with_nine_live_make_exactly_one_more(busy: World) -> None:
    token = busy.token("member")
    api, apis = busy.api(token), [busy.api(token) for _ in range(50)]
    assert [create(api, busy, f"key-{number}") for number in range(9)] == [201] * 9
    answers = at_once([lambda api=api, n=n: create(api, busy, f"more-{n}") for n, api in enumerate(apis)])
    assert Counter(answers) == {201: 1, 409: 49}
    live = api.get(f"/workspaces/{busy.acme.id}/keys?state=live&limit=100").json()["items"]
    assert len([key for key in live if key["kind"] == "personal"]) == 10


def set_role(api: Api, world: World, account: str, role: str) -> int:
    """Return the status of giving a member of acme another role."""
    return api.patch(f"/workspaces/{world.acme.id}/members/{account}", json={"role": role}).status_code


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_owners_who_demote_each_other_leave_one_a_hundred_times(busy: World) -> None:
    first, second = busy.as_("owner"), busy.as_("admin")
    ids = {"owner": busy["owner"].id, "admin": busy["admin"].id}
    assert set_role(first, busy, ids["admin"], "owner") == 200
    for _ in range(ROUNDS):
        answers = at_once(
            [
                lambda: set_role(first, busy, ids["admin"], "admin"),
                lambda: set_role(second, busy, ids["owner"], "admin"),
            ]
        )
        assert sorted(answers) in ([200, 403], [200, 409]), answers
        winner, loser = (first, "admin") if answers[0] == 200 else (second, "owner")
        members = winner.get(f"/workspaces/{busy.acme.id}/members").json()["items"]
        assert len([each for each in members if each["role"] == "owner"]) == 1
        assert set_role(winner, busy, ids[loser], "owner") == 200


def test_no_success_begins_after_a_revocation_was_acknowledged(busy: World) -> None:
    key = busy.key("owner", "machines:read")
    owner = busy.as_("owner")
    path = f"/workspaces/{busy.acme.id}"
    acknowledged = threading.Event()
    late: list[int] = []
    early: list[int] = []

    def poll() -> None:
        api = busy.api(key["text"])
        for _ in range(400):
            was_over = acknowledged.is_set()
            status = api.get(path).status_code
            (late if was_over else early).append(status)
            if len(late) > 20:
                return

    watchers = [threading.Thread(target=poll) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    while len(early) < 20:
        acknowledged.wait(0.005)
    assert owner.delete(f"{path}/keys/{key['id']}").status_code == 200
    acknowledged.set()
    for watcher in watchers:
        watcher.join(60)
    assert 200 in early
    assert set(late) == {401}


def test_one_of_twenty_founders_gets_the_slug(busy: World) -> None:
    slug = f"{busy.acme.slug}-new"
    tokens = [busy.token(who) for who in ("owner", "admin", "member", "guest")] * 5
    apis = [busy.api(token) for token in tokens]
    answers = at_once(
        [lambda api=api: api.post("/workspaces", json={"name": "New", "slug": slug}).status_code for api in apis]
    )
    assert Counter(answers) == {201: 1, 409: 19}
