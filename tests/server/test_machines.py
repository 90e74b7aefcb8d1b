"""Machines over HTTP: listing, names, tags, removal, and what agents tell of them (D-5, D-9, D-28)."""

import json
from typing import Any

import pytest

from cmdop_wire.vocab import Action, Scope
from tests.server.fleets import code, events, fleet, fleet_key, machines_of, register, sessions_of
from tests.world import Api, World


def listed(api: Api, world: World, **query: Any) -> list[str]:
    """Return the hostnames in acme's list."""
    answer = api.get(machines_of(world), params=query)
    return [machine["hostname"] for machine in answer.raise_for_status().json()["items"]]


def patch(world: World, ref: str, **changes: Any) -> Any:
    """Change a machine of acme as its owner; return the answer."""
    return world.as_("owner").patch(f"{machines_of(world)}/{ref}", json=changes)


def test_pages_come_by_name_and_each_machine_once(world: World) -> None:
    key, guest = fleet_key(world), world.as_("guest")
    for hostname in ("web-3", "WEB-1", "db-1", "web-2", "app-1"):
        register(key, hostname)
    assert listed(guest, world) == ["app-1", "db-1", "WEB-1", "web-2", "web-3"]
    seen, cursor = [], None
    for _ in range(3):
        page = guest.get(machines_of(world), params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [machine["hostname"] for machine in page["items"]]
        cursor = page["next"]
    assert seen == ["app-1", "db-1", "WEB-1", "web-2", "web-3"]
    assert cursor is None


def test_a_cursor_belongs_to_its_list_and_filters(world: World) -> None:
    key, owner = fleet_key(world), world.as_("owner")
    for hostname in ("web-1", "web-2"):
        register(key, hostname)
        register(fleet_key(world, "globex"), hostname)
    cursor = owner.get(machines_of(world), params={"limit": 1}).json()["next"]
    for wrong in ({"q": "web"}, {"online": "true"}, {"tag": "env:prod"}):
        refused = owner.get(machines_of(world), params={"limit": 1, "cursor": cursor} | wrong)
        assert (refused.status_code, code(refused)) == (400, "malformed")
    other = world.as_("rival").get(machines_of(world, "globex"), params={"cursor": cursor})
    assert other.status_code == 400


def test_filters_by_state_tag_and_text(world: World) -> None:
    key, owner = fleet_key(world), world.as_("owner")
    ids = {hostname: register(key, hostname)["machine"]["id"] for hostname in ("web-1", "web-2", "db-1", "old-1")}
    tags = {
        "web-1": {"env": "prod", "team": "core"},
        "web-2": {"env": "prod-2"},
        "db-1": {"env": "prod", "1": "a"},
        "old-1": {"xenv": "prod", "env": "PROD"},
    }
    for hostname, wanted in tags.items():
        patch(world, hostname, tags=wanted).raise_for_status()
    patch(world, "web-2", name="Straße %_ 1").raise_for_status()
    for hostname in ("web-1", "db-1"):
        fleet(world, "heartbeat", machine=ids[hostname])
    fleet(world, "heard_ago", machine=ids["old-1"], seconds=91)

    assert listed(owner, world, online=True) == ["db-1", "web-1"]
    assert listed(owner, world, online=False) == ["old-1", "web-2"]
    assert listed(owner, world, tag="env:prod") == ["db-1", "web-1"]
    assert listed(owner, world, tag="env:PROD") == ["old-1"]
    assert listed(owner, world, tag=["env:prod", "team:core"]) == ["web-1"]
    assert listed(owner, world, tag="1:a") == ["db-1"]
    assert listed(owner, world, tag="env:prod", online=False) == []
    assert sorted(listed(owner, world, q="WEB")) == ["web-1", "web-2"]
    assert listed(owner, world, q="strasse") == ["web-2"]
    assert listed(owner, world, q="%") == ["web-2"]
    assert listed(owner, world, q="_") == ["web-2"]
    assert listed(owner, world, q="nothing") == []


@pytest.mark.parametrize("tag", ["env", "Env:prod", "env:", ":prod", 'env:"prod"', "env:a:b"])
def test_a_tag_that_is_none_is_invalid(world: World, tag: str) -> None:
    refused = world.as_("owner").get(machines_of(world), params={"tag": tag})
    assert (refused.status_code, code(refused)) == (422, "invalid")
    if ":" in tag:
        key, _, value = tag.partition(":")
        register(fleet_key(world), "web-1")
        assert code(patch(world, "web-1", tags={key: value})) == "invalid"


def test_a_machine_answers_to_its_id_hostname_and_name_in_any_case(world: World) -> None:
    machine = register(fleet_key(world), "Web-1.Example.org")["machine"]["id"]
    patch(world, machine, name="The Front Door").raise_for_status()
    guest = world.as_("guest")
    for ref in (machine, "Web-1.Example.org", "web-1.example.ORG", "The Front Door", "the front door"):
        assert guest.get(f"{machines_of(world)}/{ref}").json()["id"] == machine
    another = machine[:-1] + ("0" if machine[-1] != "0" else "1")
    for ref in (another, "web-1", "The Front", "%00", "mch_", "\u200b", "a" * 3000):
        refused = guest.get(f"{machines_of(world)}/{ref}")
        assert (refused.status_code, code(refused)) == (404, "not_found"), ref


def test_names_and_hostnames_exclude_each_other(world: World) -> None:
    key = fleet_key(world)
    register(key, "web-1")
    register(key, "web-2", name="front")
    for ref, change, wrong in [
        ("web-1", {"name": "FRONT"}, "name_taken"),
        ("web-1", {"name": "Web-2"}, "name_taken"),
        ("web-1", {"name": "\uff26ront"}, "name_taken"),  # a full-width F
        ("web-1", {"hostname": "WEB-2"}, "hostname_taken"),
        ("web-1", {"hostname": "front"}, "hostname_taken"),
    ]:
        refused = patch(world, ref, **change)
        assert (refused.status_code, code(refused)) == (409, wrong)
    assert [event["action"] for event in events(world)] == ["machine.registered"] * 2
    renamed = patch(world, "web-1", name="WEB-1").json()  # its own
    assert (renamed["hostname"], renamed["name"]) == ("web-1", "WEB-1")
    assert patch(world, "web-2", hostname="web-3", name="web-2").json()["hostname"] == "web-3"


def test_a_change_is_told_and_the_same_again_is_not(world: World) -> None:
    register(fleet_key(world), "web-1")
    for _ in range(2):
        changed = patch(world, "web-1", name=" The front ", tags={"team": "core", "env": "prod"}).json()
        assert (changed["name"], changed["tags"]) == ("The front", {"env": "prod", "team": "core"})
    assert patch(world, "web-1").json() == changed
    told = events(world)
    assert [event["action"] for event in told] == ["machine.registered", "machine.renamed", "machine.tagged"]
    assert told[1]["changes"] == {"name": {"from": "web-1", "to": "The front"}}
    assert told[2]["changes"] == {"tags": {"from": {}, "to": {"env": "prod", "team": "core"}}}
    assert {event["target"]["label"] for event in told} == {"web-1"}


@pytest.mark.parametrize(
    "name", ["", "  ", "a" * 101, "a\nb", "a\x1b[31mb", "a/b", "mch_0123456789abcdefghjk", "a\u2028b", "\ud83d"]
)
def test_what_is_no_name_is_invalid(world: World, name: str) -> None:
    register(fleet_key(world), "web-1")
    refused = world.as_("owner").patch(
        f"{machines_of(world)}/web-1",
        content=json.dumps({"name": name}),  # as ASCII: half a surrogate pair can be written only so
        headers={"Content-Type": "application/json"},
    )
    assert (refused.status_code, code(refused)) == (422, "invalid")


def test_what_has_not_been_heard_of_for_90_seconds_is_offline_and_a_goodbye_at_once(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    api = world.as_("guest")

    def state() -> str:
        return str(api.get(f"{machines_of(world)}/{machine}").json()["state"])

    assert state() == "offline"
    fleet(world, "heartbeat", machine=machine)
    assert state() == "online"
    fleet(world, "heard_ago", machine=machine, seconds=85)
    assert state() == "online"
    fleet(world, "heard_ago", machine=machine, seconds=95)
    assert state() == "offline"
    fleet(world, "heartbeat", machine=machine)
    fleet(world, "stop", machine=machine)
    assert state() == "offline"
    fleet(world, "heartbeat", machine=machine)
    assert state() == "online"


def test_an_agent_tells_of_its_host_and_hostile_words_stay_outside(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    seeds = fleet(
        world, "greet", machine=machine, hostname="evil", agent="1.2\x1b[0m", boot="b" * 500, os=7, arch="arm64",
        gate={"mode": "strict"},
    )  # fmt: skip
    assert seeds == {"gate_mode": "default", "gate_rules": []}
    metrics = {
        "load": [0.5, "x", -1, 4], "cpus": 8, "memory_total": True, "uptime": 10**30, "evil": "\x1b]0;pwned\x07",
    }  # fmt: skip
    fleet(world, "heartbeat", machine=machine, metrics=metrics, gate_mode="default")
    shown = world.as_("guest").get(f"{machines_of(world)}/{machine}").json()
    assert (shown["hostname"], shown["agent_version"], shown["os"], shown["arch"]) == ("web-1", "1.2[0m", "", "arm64")
    assert shown["metrics"] == {
        "load": [0.5, None, None], "cpus": 8, "memory_total": None, "memory_available": None, "uptime": None,
        "agent_uptime": None, "channels": None,
    }  # fmt: skip
    assert shown["gate_mode"] == "default"
    fleet(world, "heartbeat", machine=machine, metrics="?", gate_mode="off")
    again = world.as_("guest").get(f"{machines_of(world)}/{machine}").json()
    assert (again["metrics"], again["gate_mode"]) == (shown["metrics"], "default")


def test_what_a_gate_decided_is_in_the_log_as_the_machine_s_word(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    key = world.key("member")["text"]
    for verdict in ("allow", "deny", "whatever"):
        fleet(
            world, "gate_event", machine=machine, verdict=verdict, operation="execute_command", stream_id="ses_x",
            request=f"execute_command(deploy --key {key})", reason="the mode is strict",
            actor={"kind": "account", "id": world["member"].id, "label": world["member"].email, "more": "x"},
        )  # fmt: skip
    fleet(world, "gate_event", machine=machine, verdict=None, operation=["x"], actor="nobody", request=None)
    told = events(world, "gate.*")
    assert [event["action"] for event in told] == ["gate.allowed", "gate.denied", "gate.denied", "gate.denied"]
    assert [event["result"] for event in told] == ["ok", "denied", "denied", "denied"]
    assert told[0]["actor"] == {"kind": "machine", "id": machine, "label": "web-1"}
    assert told[0]["changes"]["caller"] == {
        "kind": "account", "id": world["member"].id, "label": world["member"].email,
    }  # fmt: skip
    assert key not in str(told)
    assert told[3]["changes"]["operation"] == "unknown"


def test_a_second_agent_with_one_credential_is_told_of_once_in_a_while(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    for _ in range(3):
        fleet(world, "duplicate", machine=machine)
    told = events(world)[1:]
    assert [(event["action"], event["result"]) for event in told] == [("machine.duplicate_refused", "denied")]


def test_that_a_machine_took_its_defaults_is_told_once(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    for _ in range(2):
        fleet(world, "seeded", machine=machine)
    assert [event["action"] for event in events(world)] == ["machine.registered", "machine.seeded"]


def test_a_removed_machine_is_gone_for_good_and_its_history_stays(world: World) -> None:
    made = register(fleet_key(world), "web-1")
    machine, owner = made["machine"]["id"], world.as_("owner")
    session = fleet(world, "open_session", bearer=world.token("member"), machine=machine)
    ticket = owner.post(f"{machines_of(world)}/{machine}/ticket", json={"right": "session.operate"}).json()["secret"]
    assert owner.delete(f"{machines_of(world)}/web-1").status_code == 204
    assert owner.delete(f"{machines_of(world)}/web-1").status_code == 404
    assert owner.get(f"{machines_of(world)}/{machine}").status_code == 404
    assert fleet(world, "admitted", credential=made["credential"]) is None
    assert fleet(world, "redeem", ticket=ticket) == {"code": "unauthenticated"}
    shown = owner.get(f"{sessions_of(world)}/{session}").json()
    assert (shown["state"], shown["end_reason"]) == ("ended", "machine_removed")
    assert shown["machine"] == {"id": machine, "hostname": "web-1"}
    assert owner.get(sessions_of(world), params={"machine": machine}).json()["items"] == [shown]
    assert events(world)[-1]["action"] == "machine.removed"
    for told in ("heartbeat", "stop", "seeded", "duplicate", "gate_event"):
        fleet(world, told, machine=machine)  # late words of what is gone
    assert events(world)[-1]["action"] == "machine.removed"
    fresh = register(fleet_key(world), "web-1", credential=made["credential"])
    assert fresh["machine"]["id"] != machine


def test_a_key_with_machines_read_reads_and_nothing_more(world: World) -> None:
    register(fleet_key(world), "web-1")
    api = world.api(world.key("owner", Scope.MACHINES_READ, shared=True)["text"])
    assert listed(api, world) == ["web-1"]
    assert api.get(f"{machines_of(world)}/web-1").json()["authorized_actions"] == []
    assert api.delete(f"{machines_of(world)}/web-1").status_code == 403


def test_a_list_costs_the_same_however_many_there_are(db: None) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.machines import queries, services
    from cmdop_server.sessions.queries import operating
    from cmdop_server.workspaces.queries import workspace_for
    from tests import casting

    cast = casting.cast("machines", password=None)
    owner, slug = casting.person(cast["people"]["owner"]["id"]), cast["tenants"]["acme"]["slug"]
    counts = []
    for start in (0, 5):
        for number in range(start, start + 5):
            services.register(owner, slug, services.Host(f"host-{number}"))
        with CaptureQueriesContext(connection) as asked:
            seen = workspace_for(owner, slug, Action.MACHINE_VIEW)
            found = queries.machines_of(seen, queries.Filters(), limit=50)
            operating([machine.pk for machine in found])
        counts.append((len(found), len(asked)))
    assert counts == [(5, 3), (10, 3)]


def test_pages_are_read_along_an_index(db: None) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.machines import queries, services
    from cmdop_server.sessions.queries import sessions_for
    from cmdop_server.workspaces.queries import workspace_for
    from tests import casting

    cast = casting.cast("plans", password=None)
    owner, slug = casting.person(cast["people"]["owner"]["id"]), cast["tenants"]["acme"]["slug"]
    for number in range(20):
        services.register(owner, slug, services.Host(f"host-{number}"))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("set local enable_seqscan = off")  # twenty rows are not worth an index to the planner
            cursor.execute("set local enable_bitmapscan = off")
    seen = workspace_for(owner, slug, Action.MACHINE_VIEW)
    with CaptureQueriesContext(connection) as asked:
        found = queries.machines_of(seen, queries.Filters(), after="host-3", limit=5)
    assert [machine.name for machine in found] == ["host-4", "host-5", "host-6", "host-7", "host-8"]
    with connection.cursor() as cursor:
        words = "explain" if connection.vendor == "postgresql" else "explain query plan"
        cursor.execute(f"{words} {asked.captured_queries[0]['sql']}".replace("%", "%%"))
        machines = "\n".join(str(row[-1]) for row in cursor.fetchall())
    history = sessions_for(owner, slug)[1].filter(pk__lt=1000)[:5].explain()
    for plan in (machines, history):
        assert "workspace_id" in plan, plan
        assert not any(slow in plan for slow in ("Sort", "TEMP B-TREE", "Seq Scan", "SCAN machine")), plan


def test_a_heartbeat_of_many_is_a_few_statements(db: None) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.machines import services
    from cmdop_server.machines.models import Machine
    from tests import casting

    cast = casting.cast("beats", password=None)
    owner, slug = casting.person(cast["people"]["owner"]["id"]), cast["tenants"]["acme"]["slug"]
    ids = [services.register(owner, slug, services.Host(f"host-{number}")).machine.public_id for number in range(40)]
    with CaptureQueriesContext(connection) as asked:
        services.seen({each: {"gate_mode": "default", "metrics": {"cpus": 2}} for each in [*ids, "mch_gone"]})
    assert len([query for query in asked if "SAVEPOINT" not in query["sql"]]) <= 3
    assert Machine.objects.filter(public_id__in=ids, gate_mode="default", last_seen_at__isnull=False).count() == 40
