"""What is past its time goes, by command and by itself; what is not, or is still asked for, stays."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cmdop_wire.vocab import GRANT_DEVICE_CODE
from tests.browsing import Browser
from tests.processes import REPOSITORY, STOP_SECONDS, Server
from tests.world import World, make_world

pytestmark = pytest.mark.slow
PURGES = "tests.server.purges:"


@pytest.fixture
def old(new_server: Callable[..., Server], new_database: Callable[[], str | None]) -> World:
    """A server of its own: it is about to grow old."""
    return make_world(new_server(new_database()), passwords=True)


def purge(world: World, *words: str) -> dict[str, int]:
    """Run the command beside the server; return how many rows of what."""
    done = subprocess.run(
        [sys.executable, "-m", "cmdop_server", "purge", "--json", *words],
        env=world.server.environ, cwd=REPOSITORY, capture_output=True, text=True, timeout=STOP_SECONDS * 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["purged"]) == ("cmdop.server-purge.v1", "--now" in words)
    return {item["what"]: item["rows"] for item in answer["items"]}


def live(world: World) -> dict[str, Any]:
    """Make one of everything, sign out once, be refused once; return what must live on."""
    kept, ended = world.sign_in("owner"), world.sign_in("owner")
    api = world.api(ended["access_token"])
    api.post("/auth/revoke", json={"token": ended["refresh_token"], "all": True}).raise_for_status()
    owner = world.api(kept["access_token"])
    keys = f"/workspaces/{world.acme.slug}/keys"
    body = {"kind": "personal", "name": "laptop"}
    key = owner.post(keys, json=body, headers={"Idempotency-Key": "once"}).raise_for_status().json()
    owner.post("/auth/device", json={"client": "a laptop"}).raise_for_status()
    world.one_time_token("owner")
    assert world.as_("guest").post(keys, json=body).status_code == 403
    machine = world.server.backstage("tests.server.fleet:register", workspace=world.acme.slug, hostname="web-1")
    ticket = f"/workspaces/{world.acme.slug}/machines/{machine['id']}/ticket"
    owner.post(ticket, json={"right": "session.operate"}).raise_for_status()
    with Browser(world.server.url) as browser:
        browser.sign_in(world["owner"].email, world.password or "")
        wrong = browser.submit(browser.open("/device").form("/device"), user_code="BCDF-GHJK")
        assert wrong.alerts
    return {"key": key["secret"], "pair": kept}


def test_what_is_past_its_time_goes_and_nothing_else(old: World) -> None:
    held, before = live(old), old.server.backstage(f"{PURGES}counts")
    assert set(purge(old, "--now").values()) == {0}, "nothing is old yet"
    assert old.server.backstage(f"{PURGES}counts") == before
    old.server.backstage(f"{PURGES}age", hours=26)
    planned = purge(old)
    assert old.server.backstage(f"{PURGES}counts") == before, "counting deletes nothing"
    went = purge(old, "--now")
    assert all(rows > 0 for name, rows in went.items() if name != "cabinet_sessions"), went
    assert went["cabinet_sessions"] == 0  # they live for a week
    assert went == planned
    after = old.server.backstage(f"{PURGES}counts")
    assert after == before | {
        "Token": after["Token"],
        "TokenFamily": before["TokenFamily"] - 1,
        "SignIn": before["SignIn"] - 1,
        "SignInToken": 0,
        "DeviceGrant": 0,
        "WrongUserCode": 0,
        "Denial": 0,
        "Ticket": 0,
        "IdempotencyRecord": 0,
    }
    assert old.api(held["key"]).get("/me").status_code == 200
    body = {"grant_type": "refresh_token", "refresh_token": held["pair"]["refresh_token"]}
    again = old.api().post("/auth/token", json=body).raise_for_status().json()
    assert old.api(again["access_token"]).get("/me").status_code == 200
    old.server.backstage(f"{PURGES}age", hours=24 * 31)
    assert purge(old, "--now")["cabinet_sessions"] > 0
    left = old.server.backstage(f"{PURGES}counts")
    assert {name for name, rows in left.items() if rows} == {"Key"}
    assert set(purge(old).values()) == {0}


def test_a_replaced_refresh_token_is_known_as_long_as_its_family_lives(old: World) -> None:
    pair = old.sign_in("owner")
    body = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    fresh = old.api().post("/auth/token", json=body).raise_for_status().json()
    newer = {**body, "refresh_token": fresh["refresh_token"]}
    old.api().post("/auth/token", json=newer).raise_for_status()
    old.server.backstage(f"{PURGES}age", hours=24 * 20)
    purge(old, "--now")
    assert old.api().post("/auth/token", json=body).json()["error"]["code"] == "invalid_grant"
    assert old.api().post("/auth/token", json=newer).json()["error"]["code"] == "invalid_grant", (
        "reuse ended the family"
    )


def test_a_server_purges_by_itself_in_small_steps(old: World) -> None:
    old.server.backstage(f"{PURGES}multiply_grants", number=450)
    assert purge(old)["device_grants"] == 450
    assert set(old.server.backstage(f"{PURGES}purge_in_background").values()) == {0}
    polled = old.api().post("/auth/token", json={"grant_type": GRANT_DEVICE_CODE, "device_code": "x"})
    assert polled.json()["error"]["code"] == "invalid_grant"
