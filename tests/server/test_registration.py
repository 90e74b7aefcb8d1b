"""Registering machines over HTTP: who may, under which name, with which credential (D-5, D-13, D-21, D-25)."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cmdop_wire.ids import make_token, token_kind
from cmdop_wire.vocab import Scope
from tests.server.fleets import (
    ask_to_register,
    code,
    events,
    fleet,
    fleet_key,
    machines_of,
    register,
    sessions_of,
)
from tests.world import World

HOST = {"os": "linux", "arch": "x86_64", "version": "1.0", "boot_id": "b-1"}


def join_tokens(world: World) -> str:
    """Return the path of acme's join tokens."""
    return f"/workspaces/{world.acme.slug}/join-tokens"


def make_join_token(world: World, who: str = "owner", **fields: Any) -> dict[str, Any]:
    """Make a join token of acme."""
    made = world.as_(who).post(join_tokens(world), json=fields)
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_key_with_the_scope_registers_and_the_credential_is_shown_once(world: World) -> None:
    made = register(fleet_key(world), "web-1", **HOST)
    assert token_kind(made["credential"]) == "machine"
    assert made["workspace"] == {"id": world.acme.id, "slug": world.acme.slug, "name": world.acme.name}
    assert made["relay"]["url"] == world.server.url.replace("http", "ws", 1) + "/relay/agent"
    assert made["seeds"] == {"gate_mode": "default", "gate_rules": []}

    owner = world.as_("owner")
    shown = owner.get(f"{machines_of(world)}/{made['machine']['id']}").json()
    assert shown["authorized_actions"][:2] == ["machine.update", "machine.move"]
    same = {name: value for name, value in shown.items() if name != "authorized_actions"}
    assert same == {name: value for name, value in made["machine"].items() if name != "authorized_actions"}
    assert (shown["hostname"], shown["name"], shown["os"], shown["arch"]) == ("web-1", "web-1", "linux", "x86_64")
    assert (shown["state"], shown["last_seen_at"], shown["gate_mode"]) == ("offline", None, "strict")

    assert fleet(world, "admitted", credential=made["credential"]) == made["machine"]["id"]
    log = json.dumps(owner.get(f"/workspaces/{world.acme.slug}/events").json())
    assert made["credential"] not in log
    assert made["credential"] not in json.dumps(fleet(world, "stored_secrets"))
    assert [event["action"] for event in events(world)] == ["machine.registered"]
    assert events(world)[0]["actor"]["kind"] == "workspace_key"


@pytest.mark.parametrize(("who", "status"), [("owner", 201), ("admin", 201), ("member", 403), ("guest", 403)])
def test_people_register_by_role(world: World, who: str, status: int) -> None:
    assert ask_to_register(world.as_(who)).status_code == status


def test_a_machine_s_credential_opens_nothing_of_the_api(world: World) -> None:
    api = world.api(register(fleet_key(world))["credential"])
    asked = [
        api.get("/me"),
        api.get("/workspaces"),
        api.get(machines_of(world)),
        api.get(sessions_of(world)),
        ask_to_register(api, "another"),
        api.post("/auth/revoke", json={"token": "x"}),
    ]
    assert [answer.status_code for answer in asked] == [401, 401, 401, 401, 401, 200]


@pytest.mark.parametrize(
    "hostname",
    ["", "-web", "web-", "web_1", "wéb", "a..b", ".web", "web.", "a" * 64, ".".join(["a" * 60] * 5), "web 1", "web\n",
     "mch_0123456789abcdefghjk", "xn--\u0131"],
)  # fmt: skip
def test_what_is_no_host_name_is_invalid(standing: World, hostname: str) -> None:
    refused = ask_to_register(standing.as_("owner"), hostname)
    assert (refused.status_code, code(refused)) == (422, "invalid")
    assert refused.json()["error"]["details"]["field"] == "hostname"


def test_unknown_fields_and_wrong_kinds_are_invalid(world: World) -> None:
    owner = world.as_("owner")
    for body in [
        {},
        {"hostname": 3},
        {"hostname": "a", "workspace_id": "x"},
        {"hostname": "a", "workspace": "x"},
        {"hostname": "a", "replace": "yes"},
    ]:
        assert owner.post("/agent/register", json=body).status_code == 422


def test_another_machine_with_a_taken_hostname_is_refused_and_the_first_undisturbed(world: World) -> None:
    key = fleet_key(world)
    first = register(key, "web-1")
    before = world.as_("owner").get(machines_of(world)).json()
    for hostname in ("web-1", "WEB-1", "Web-1"):
        refused = ask_to_register(key, hostname)
        assert (refused.status_code, code(refused)) == (409, "hostname_taken")
        assert refused.json()["error"]["hint"] == "cmdop connect --replace"
    assert world.as_("owner").get(machines_of(world)).json() == before
    assert fleet(world, "admitted", credential=first["credential"]) == first["machine"]["id"]
    assert register(fleet_key(world, "globex"), "web-1")["workspace"]["slug"] == world.globex.slug


def test_of_twenty_parallel_registrations_of_one_hostname_exactly_one_wins(world: World) -> None:
    text = world.key("owner", Scope.MACHINES_WRITE, shared=True)["text"]
    apis = [world.api(text) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda api: ask_to_register(api, "web-1"), apis))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert {code(answer) for answer in answers if answer.status_code == 409} == {"hostname_taken"}
    assert len(world.as_("owner").get(machines_of(world)).json()["items"]) == 1
    assert len(events(world)) == 1


def test_the_same_machine_comes_back_with_another_credential(world: World) -> None:
    key = fleet_key(world)
    first = register(key, "web-1", **HOST)
    world.as_("owner").patch(
        f"{machines_of(world)}/web-1", json={"name": "front", "tags": {"env": "prod"}}
    ).raise_for_status()
    again = register(key, "web-2", credential=first["credential"], version="2.0")
    assert again["machine"]["id"] == first["machine"]["id"]
    assert (again["machine"]["hostname"], again["machine"]["name"]) == ("web-2", "front")
    assert (again["machine"]["tags"], again["machine"]["agent_version"]) == ({"env": "prod"}, "2.0")
    assert fleet(world, "admitted", credential=first["credential"]) is None
    assert fleet(world, "admitted", credential=again["credential"]) == first["machine"]["id"]
    assert events(world)[-1]["action"] == "machine.reregistered"
    assert code(ask_to_register(key, "web-2", credential=first["credential"])) == "hostname_taken"


def test_a_copied_disk_puts_no_machine_out_that_is_online(world: World) -> None:
    """The one that is there keeps name and credential; a copy under another hostname is another machine (D-5)."""
    key = fleet_key(world)
    first = register(key, "web-1", **HOST)
    machine, copied = first["machine"]["id"], first["credential"]
    fleet(world, "heard_ago", machine=machine, seconds=1)
    same_name = ask_to_register(key, "web-1", **{**HOST, "boot_id": "another"}, credential=copied, replace=True)
    assert (same_name.status_code, code(same_name)) == (409, "hostname_taken")
    other = register(key, "web-2", **{**HOST, "boot_id": "another"}, credential=copied, replace=True)
    assert other["machine"]["id"] != machine
    on_one_host = register(key, "web-3", **HOST, credential=copied, replace=True)
    assert on_one_host["machine"]["id"] not in (machine, other["machine"]["id"])
    assert fleet(world, "admitted", credential=copied) == machine
    # killed a moment ago, and not yet known to be offline: it is still itself
    assert register(key, "web-1", **HOST, credential=copied, replace=True)["machine"]["id"] == machine


def test_a_machine_that_has_taken_its_defaults_is_not_given_them_again(world: World) -> None:
    key = fleet_key(world)
    first = register(key, "web-1")
    fleet(world, "seeded", machine=first["machine"]["id"])
    assert register(key, "web-1", credential=first["credential"])["seeds"] is None
    assert fleet(world, "greet", machine=first["machine"]["id"]) is None


def test_the_name_of_an_offline_machine_is_taken_over_on_purpose(world: World) -> None:
    key, owner = fleet_key(world), world.as_("owner")
    first = register(key, "web-1")
    machine = first["machine"]["id"]
    owner.patch(f"{machines_of(world)}/{machine}", json={"tags": {"env": "prod"}}).raise_for_status()
    fleet(world, "heartbeat", machine=machine)
    refused = ask_to_register(key, "web-1", replace=True)
    assert (refused.status_code, code(refused)) == (409, "hostname_taken")
    assert refused.json()["error"]["details"]["state"] == "online"
    assert "--hostname" in refused.json()["error"]["hint"]
    assert fleet(world, "admitted", credential=first["credential"]) == machine

    session = fleet(world, "open_session", bearer=world.token("member"), machine=machine)
    fleet(world, "heard_ago", machine=machine, seconds=91)
    taken = register(key, "WEB-1", replace=True)
    assert (taken["machine"]["id"], taken["machine"]["tags"]) == (machine, {"env": "prod"})
    assert taken["seeds"] is not None
    assert fleet(world, "admitted", credential=first["credential"]) is None
    assert fleet(world, "admitted", credential=taken["credential"]) == machine
    assert owner.get(f"{sessions_of(world)}/{session}").json()["end_reason"] == "machine_replaced"
    assert [event["action"] for event in events(world)] == [
        "machine.registered", "machine.tagged", "machine.replaced",
    ]  # fmt: skip


def test_replacing_what_is_not_there_is_registering(world: World) -> None:
    register(fleet_key(world), "web-1", replace=True)
    assert [event["action"] for event in events(world)] == ["machine.registered"]


def test_a_name_that_another_machine_has_as_its_label_is_not_replaced(world: World) -> None:
    key = fleet_key(world)
    register(key, "web-1", name="db-1")
    refused = ask_to_register(key, "db-1", replace=True)
    assert (refused.status_code, code(refused)) == (409, "hostname_taken")
    assert refused.json()["error"]["message"] == "another machine is called db-1"


def test_a_machine_of_another_workspace_is_sent_to_the_move(world: World) -> None:
    first = register(fleet_key(world, "globex"), "web-1")
    refused = ask_to_register(fleet_key(world), "web-1", credential=first["credential"])
    assert (refused.status_code, code(refused)) == (409, "conflict")
    assert refused.json()["error"]["hint"] == f"cmdop connect workspace move web-1 --to {world.acme.slug}"
    assert world.globex.slug not in refused.text
    assert fleet(world, "admitted", credential=first["credential"]) == first["machine"]["id"]


def test_a_credential_that_is_none_is_a_fresh_start(world: World) -> None:
    key = fleet_key(world)
    for number, text in enumerate(["nonsense", make_token("machine"), make_token("access")]):
        register(key, f"web-{number}", credential=text)
    assert {event["action"] for event in events(world)} == {"machine.registered"}


def test_defaults_of_the_workspace_are_applied_once(world: World) -> None:
    owner, key = world.as_("owner"), fleet_key(world)
    rules = [{"kind": "deny", "operation": "session", "match": "open"}]
    owner.patch(
        f"/workspaces/{world.acme.slug}/onboarding",
        json={"auto_tags": {"env": "prod"}, "name_pattern": "${hostname}-${short_id}", "gate_rules": rules},
    ).raise_for_status()
    made = register(key, "web-1")
    machine = made["machine"]
    assert machine["tags"] == {"env": "prod"}
    assert machine["name"] == f"web-1-{machine['id'].removeprefix('mch_')[:6]}"
    assert made["seeds"] == {"gate_mode": "default", "gate_rules": rules}
    assert register(key, "web-2", name="front")["machine"]["name"] == "front"
    owner.patch(f"/workspaces/{world.acme.slug}/onboarding", json={"auto_tags": {}}).raise_for_status()
    assert owner.get(f"{machines_of(world)}/web-1").json()["tags"] == {"env": "prod"}


def test_a_pattern_that_gives_a_taken_name_is_made_distinct(world: World) -> None:
    key = fleet_key(world)
    register(key, "web-1", name="db-1.prod")
    world.as_("owner").patch(
        f"/workspaces/{world.acme.slug}/onboarding", json={"name_pattern": "${hostname}.prod"}
    ).raise_for_status()
    machine = register(key, "db-1")["machine"]
    assert machine["name"] == f"db-1.prod-{machine['id'].removeprefix('mch_')[:6]}"
    refused = ask_to_register(key, "db-2", name="DB-1.PROD")
    assert (refused.status_code, code(refused)) == (409, "name_taken")


@pytest.mark.parametrize(("accepted", "mode"), [(False, "strict"), (True, "bypass")])
def test_the_cloud_seeds_bypass_only_where_it_was_agreed_to(world: World, accepted: bool, mode: str) -> None:
    world.as_("owner").patch(
        f"/workspaces/{world.acme.slug}/onboarding", json={"gate_mode": "bypass"}
    ).raise_for_status()
    made = register(fleet_key(world), "web-1", accept_bypass=accepted)
    assert made["seeds"]["gate_mode"] == mode
    assert fleet(world, "greet", machine=made["machine"]["id"])["gate_mode"] == mode
    assert events(world)[0]["changes"]["accept_bypass"] is accepted


def test_the_plan_bounds_how_many_and_coming_back_needs_no_place(world: World) -> None:
    api = world.as_("outsider")  # a personal workspace has room for five
    made = [register(api, f"host-{number}") for number in range(5)]
    refused = ask_to_register(api, "host-5")
    assert (refused.status_code, code(refused)) == (409, "limit_reached")
    assert refused.json()["error"]["details"] == {"limit": 5}
    register(api, "host-0", credential=made[0]["credential"])
    register(api, "host-1", replace=True)
    personal = f"/workspaces/{world['outsider'].personal}"
    assert api.get(f"{personal}/usage").json()["machines"] == {"used": 5, "limit": 5}
    assert api.get(personal).json()["machines"] == 5
    assert api.get("/workspaces").json()["items"][0]["machines"] == 5
    assert api.delete(f"{personal}/machines/host-4").status_code == 204
    register(api, "host-5")


def test_the_last_places_of_a_plan_are_given_out_exactly(world: World) -> None:
    apis = [world.api(world.token("outsider")) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda pair: ask_to_register(pair[1], f"host-{pair[0]}"), enumerate(apis)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 7


def test_a_replay_holds_no_credential(world: World) -> None:
    api, key = world.as_("owner"), secrets.token_hex(8)
    send = {"json": {"hostname": "web-1"}, "headers": {"Idempotency-Key": key}}
    first, again = api.post("/agent/register", **send), api.post("/agent/register", **send)  # type: ignore[arg-type]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json() | {"credential": None}
    assert len(events(world)) == 1


def test_a_join_token_brings_in_one_machine_without_a_person(world: World) -> None:
    token = make_join_token(world, "admin", name="image", expires_in=600)
    assert token_kind(token["secret"]) == "join"
    made = register(world.api(), "web-1", join_token=token["secret"])
    assert made["machine"]["registered_by"] == {"id": token["id"], "label": "image"}
    assert made["machine"]["authorized_actions"] == []
    assert made["workspace"]["slug"] == world.acme.slug
    again = ask_to_register(world.api(), "web-2", join_token=token["secret"])
    assert (again.status_code, code(again)) == (401, "unauthenticated")
    shown = world.as_("owner").get(join_tokens(world)).json()["items"]
    assert [(each["state"], each["machine_id"]) for each in shown] == [("redeemed", made["machine"]["id"])]
    assert "secret" not in shown[0]
    assert events(world)[-1]["actor"] == {"kind": "join_token", "id": token["id"], "label": "image"}
    assert [event["action"] for event in events(world, "join_token.*")] == ["join_token.created"]


def test_of_twenty_parallel_redemptions_of_a_join_token_one_wins(world: World) -> None:
    token = make_join_token(world)["secret"]
    apis = [world.api() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda pair: ask_to_register(pair[1], f"host-{pair[0]}", join_token=token), enumerate(apis))
        )
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19
    assert len(world.as_("owner").get(machines_of(world)).json()["items"]) == 1


def test_a_refused_registration_does_not_use_a_join_token_up(world: World) -> None:
    register(fleet_key(world), "web-1")
    token = make_join_token(world)["secret"]
    assert code(ask_to_register(world.api(), "web-1", join_token=token)) == "hostname_taken"
    register(world.api(), "web-2", join_token=token)


def test_a_join_token_is_good_for_nothing_else(world: World) -> None:
    token = make_join_token(world)["secret"]
    assert world.api(token).get("/me").status_code == 401
    assert world.api(token).get(machines_of(world)).status_code == 401
    both = ask_to_register(world.as_("owner"), join_token=token)
    assert (both.status_code, code(both)) == (422, "invalid")
    for wrong in ("nonsense", token[:-1], make_token("join"), ""):
        assert ask_to_register(world.api(), join_token=wrong).status_code == 401


@pytest.mark.parametrize("life", [0, 59, 24 * 3600 + 1, -1])
def test_a_join_token_lives_a_minute_to_a_day(world: World, life: int) -> None:
    refused = world.as_("owner").post(join_tokens(world), json={"expires_in": life})
    assert (refused.status_code, code(refused)) == (422, "invalid")


def test_a_join_token_ends_by_time_by_revocation_and_with_its_maker(world: World) -> None:
    owner = world.as_("owner")
    expired, revoked = make_join_token(world), make_join_token(world)
    fleet(world, "join_token_expires_in", token=expired["id"], seconds=-1)
    assert owner.delete(f"{join_tokens(world)}/{revoked['id']}").json()["state"] == "revoked"
    assert owner.delete(f"{join_tokens(world)}/{revoked['id']}").json()["state"] == "revoked"
    assert [event["action"] for event in events(world, "join_token.*")][2:] == ["join_token.revoked"]

    key = world.key("owner", Scope.MACHINES_WRITE)
    by_key = world.api(key["text"]).post(join_tokens(world), json={}).json()
    owner.delete(f"/workspaces/{world.acme.slug}/keys/{key['id']}").raise_for_status()

    demoted, removed = make_join_token(world, "admin"), make_join_token(world, "admin")
    world.server.backstage(
        "tests.casting:change_role", workspace=world.acme.slug, account=world["admin"].id, role="member"
    )
    assert ask_to_register(world.api(), join_token=demoted["secret"]).status_code == 401
    world.server.backstage("tests.casting:remove", workspace=world.acme.slug, account=world["admin"].id)
    world.server.backstage(
        "tests.server.decisions:add",
        by=world["owner"].id,
        account=world["admin"].id,
        workspace=world.acme.slug,
        role="admin",
    )
    for token in (expired, revoked, by_key, demoted, removed):
        assert ask_to_register(world.api(), join_token=token["secret"]).status_code == 401
    assert world.as_("owner").get(machines_of(world)).json()["items"] == []


def test_a_machine_may_ask_for_nothing_and_a_join_token_for_one_thing() -> None:
    from cmdop_server.access.actor import Actor, ActorKind
    from cmdop_server.access.policy import Facts, decide
    from cmdop_wire.vocab import Action, WorkspaceState

    machine = Actor(ActorKind.MACHINE, credential_id="mch_x", workspace_id="ws_x")
    token = Actor(ActorKind.JOIN_TOKEN, credential_id="jtk_x", workspace_id="ws_x")
    assert [action for action in Action if decide(machine, action, Facts(None)).visible] == []
    assert [action for action in Action if decide(token, action, Facts(None)).allowed] == [Action.MACHINE_REGISTER]
    for facts in (Facts(None, bound=False), Facts(None, WorkspaceState.PENDING_DELETION)):
        assert not any(decide(token, action, facts).visible for action in Action)


def test_a_join_token_made_with_a_key_works_while_the_key_does(world: World) -> None:
    made = fleet_key(world).post(join_tokens(world), json={"name": "from a key"})
    assert made.status_code == 201
    register(world.api(), "web-1", join_token=made.json()["secret"])
