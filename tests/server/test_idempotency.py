"""``Idempotency-Key``: one effect and one answer, whoever else uses the same text elsewhere."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from tests.world import Api, World

BODY = {"kind": "personal", "name": "laptop"}


def age_records(hours: float) -> int:
    """Pretend that every remembered answer is so much older; called backstage."""
    from django.db.models import F

    from cmdop_server.api.models import IdempotencyRecord

    return IdempotencyRecord.objects.update(created_at=F("created_at") - timedelta(hours=hours))


def records() -> list[str]:
    """Return everything that is remembered, as text; called backstage."""
    from cmdop_server.api.models import IdempotencyRecord

    return [f"{record.status} {record.body} {timezone.now()}" for record in IdempotencyRecord.objects.all()]


def post(api: Api, path: str, key: str, **body: Any) -> httpx.Response:
    """POST with an idempotency key."""
    return api.post(path, json=body or BODY, headers={"Idempotency-Key": key})


def keys_path(world: World) -> str:
    """Return the path of acme's keys."""
    return f"/workspaces/{world.acme.slug}/keys"


def test_a_replay_answers_the_same_without_the_secret(world: World) -> None:
    api, key = world.as_("owner"), secrets.token_hex(8)
    first, again = post(api, keys_path(world), key), post(api, keys_path(world), key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    assert len(api.get(keys_path(world)).json()["items"]) == 1
    kept = world.server.backstage("tests.server.test_idempotency:records")
    assert not [text for text in kept if first.json()["secret"] in text]


def test_ten_at_once_have_one_effect_and_one_body(world: World) -> None:
    token, key = world.token("owner"), secrets.token_hex(8)
    apis = [world.api(token) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda api: post(api, keys_path(world), key), apis))
    assert {answer.status_code for answer in answers} == {201}
    assert sorted("Idempotent-Replayed" in answer.headers for answer in answers) == [False] + [True] * 9
    bodies = [answer.json() | {"secret": None} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert len(world.as_("owner").get(keys_path(world)).json()["items"]) == 1


def test_another_body_is_refused_and_the_same_in_another_order_is_not(world: World) -> None:
    api, key = world.as_("owner"), secrets.token_hex(8)
    post(api, keys_path(world), key)
    other = post(api, keys_path(world), key, kind="personal", name="other")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    same = post(api, keys_path(world), key, name="laptop", kind="personal")
    assert same.headers["Idempotent-Replayed"] == "true"


def test_callers_and_paths_do_not_meet(world: World) -> None:
    key = secrets.token_hex(8)
    acme, globex = f"/workspaces/{world.acme.slug}/keys", f"/workspaces/{world.globex.slug}/keys"
    answers = [
        post(world.as_("owner"), acme, key),
        post(world.as_("admin"), acme, key),
        post(world.as_("rival"), globex, key),
        post(world.as_("visitor", "globex"), globex, key),
        post(world.as_("owner"), "/workspaces", key, name=f"Team {key}"),
    ]
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.json()["id"] for answer in answers}) == 5
    assert not [answer for answer in answers if "Idempotent-Replayed" in answer.headers]


def test_a_workspace_is_created_once(world: World) -> None:
    api, key = world.as_("owner", reach="all"), secrets.token_hex(8)
    first = post(api, "/workspaces", key, name=f"Team {key}")
    again = post(api, "/workspaces", key, name=f"Team {key}")
    assert first.status_code == 201
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_failed_try_poisons_nothing(world: World) -> None:
    owner, key = world.as_("owner"), secrets.token_hex(8)
    taken = post(owner, keys_path(world), "first-of-all")
    assert taken.status_code == 201
    assert post(owner, keys_path(world), key).json()["error"]["code"] == "name_taken"
    owner.delete(f"{keys_path(world)}/{taken.json()['id']}")
    again = post(owner, keys_path(world), key)
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers


def test_a_replay_passes_the_door_again(world: World) -> None:
    member, key = world.as_("member"), secrets.token_hex(8)
    assert post(member, keys_path(world), key).status_code == 201
    path = f"/workspaces/{world.acme.slug}/members/{world['member'].id}"
    world.as_("owner").patch(path, json={"role": "guest"})
    assert post(member, keys_path(world), key).status_code == 403
    world.as_("owner").patch(path, json={"role": "member"})
    assert post(member, keys_path(world), key).headers["Idempotent-Replayed"] == "true"


def test_a_replay_shows_nothing_that_may_be_read_no_more(world: World) -> None:
    admin, key, body = world.as_("admin"), secrets.token_hex(8), {"kind": "workspace", "name": "ci"}
    made = post(admin, keys_path(world), key, **body)
    assert made.status_code == 201
    assert post(admin, keys_path(world), key, **body).headers["Idempotent-Replayed"] == "true"
    path = f"/workspaces/{world.acme.slug}/members/{world['admin'].id}"
    world.as_("owner").patch(path, json={"role": "member"})  # who may make keys still, but sees no shared ones
    again = post(admin, keys_path(world), key, **body)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")
    assert made.json()["prefix"] not in again.text


def test_an_answer_is_forgotten_after_a_day(world: World) -> None:
    api, key = world.as_("owner"), secrets.token_hex(8)
    first = post(api, keys_path(world), key)
    world.server.backstage("tests.server.test_idempotency:age_records", hours=23.9)
    assert post(api, keys_path(world), key).headers["Idempotent-Replayed"] == "true"
    world.server.backstage("tests.server.test_idempotency:age_records", hours=0.2)
    assert post(api, keys_path(world), key).json()["error"]["code"] == "name_taken"  # tried again, and in earnest
    assert first.status_code == 201


@pytest.mark.parametrize(("key", "status"), [("x", 201), ("x" * 255, 201), ("x" * 256, 400), ("", 400), ("a\tb", 400)])
def test_an_idempotency_key_is_a_short_plain_text(world: World, key: str, status: int) -> None:
    assert post(world.as_("owner"), keys_path(world), key).status_code == status


def test_a_replay_never_crosses_to_another_workspace_or_a_wider_sign_in(world: World) -> None:
    # Neither of these two addresses names a workspace: the credential does, and a narrow one must learn nothing.
    key, personal = secrets.token_hex(8), world["owner"].personal
    there = post(world.as_("owner"), "/agent/register", key, hostname="web-1")
    here = post(world.as_("owner", personal), "/agent/register", key, hostname="web-1")
    assert (there.status_code, here.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in here.headers
    assert there.json()["workspace"]["id"] == world.acme.id
    assert here.json()["workspace"]["slug"] == personal
    name = f"Team {secrets.token_hex(4)}"
    founded = post(world.as_("owner", reach="all"), "/workspaces", key, name=name)
    narrow = post(world.as_("owner"), "/workspaces", key, name=name)
    assert founded.status_code == 201
    assert narrow.status_code == 409
    assert founded.json()["id"] not in narrow.text
