"""A machine goes to another workspace: rights in both, all or nothing, an event in each log (D-5, D-20)."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cmdop_wire.ids import make_id
from tests.processes import REPOSITORY
from tests.server.fleets import code, events, fleet, fleet_key, machines_of, register, sessions_of
from tests.world import Api, World


@pytest.fixture
def mover(world: World) -> Api:
    """Somebody who owns globex and is an admin of acme, signed in at acme for all their workspaces."""
    account = world["visitor"].id
    world.server.backstage("tests.casting:change_role", workspace=world.acme.slug, account=account, role="admin")
    return world.as_("visitor", "acme", "all")


def move(api: Api, world: World, to: str | None = None, machine: str = "web-1") -> Any:
    """Ask to move a machine of acme."""
    return api.post(f"{machines_of(world)}/{machine}/move", json={"to": to or world.globex.slug})


def where(world: World, machine: str) -> list[str]:
    """Return in which of the two workspaces the machine is."""
    places = (("acme", "owner"), ("globex", "rival"))
    return [
        tenant
        for tenant, who in places
        if world.as_(who).get(f"{machines_of(world, tenant)}/{machine}").status_code == 200
    ]


def test_a_machine_moves_with_its_credential_and_its_history_stays(world: World, mover: Api) -> None:
    made = register(fleet_key(world), "web-1")
    machine = made["machine"]["id"]
    world.as_("owner").patch(f"{machines_of(world)}/web-1", json={"tags": {"env": "prod"}}).raise_for_status()
    session = fleet(world, "open_session", bearer=world.token("member"), machine=machine)
    moved = move(mover, world)
    assert moved.status_code == 200
    assert (moved.json()["id"], moved.json()["tags"], moved.json()["session"]) == (machine, {"env": "prod"}, None)
    assert "machine.move" in moved.json()["authorized_actions"]
    assert where(world, machine) == ["globex"]
    assert fleet(world, "admitted", credential=made["credential"]) == machine
    assert fleet(world, "active_sessions", machine=machine) == []
    assert world.as_("owner").get(f"{sessions_of(world)}/{session}").json()["end_reason"] == "machine_moved"
    assert world.as_("rival").get(sessions_of(world, "globex")).json()["items"] == []
    for tenant, direction, other in (("acme", "out", world.globex), ("globex", "in", world.acme)):
        told = events(world, "machine.moved", tenant)
        assert [event["changes"]["direction"] for event in told] == [direction]
        assert told[0]["target"] == {"type": "machine", "id": machine, "label": "web-1"}
        assert told[0]["actor"]["id"] == world["visitor"].id
        assert not any(name in json.dumps(told) for name in (other.id, other.slug))
    ended = events(world, "session.ended")
    assert ended[-1]["changes"]["reason"] == "machine_moved"
    usage = [world.as_(who).get(f"/workspaces/{world.ref(who, None)}").json()["machines"] for who in ("owner", "rival")]
    assert usage == [0, 1]


def test_what_was_heard_before_a_move_is_written_where_it_happened_and_later_words_nowhere(
    world: World, mover: Api
) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    assert move(mover, world).status_code == 200
    for ago, request in ((60.0, "before"), (0.0, "after")):
        fleet(world, "gate_event", machine=machine, linked_in=world.acme.id, heard_ago=ago, request=request)
    fleet(world, "gate_event", machine=machine, linked_in=world.globex.id, request="there")
    told = [[each["changes"]["request"] for each in events(world, "gate.*", at)] for at in ("acme", "globex")]
    assert told == [["before"], ["there"]]


def test_consent_to_bypass_was_given_for_one_workspace(world: World, mover: Api) -> None:
    for who, tenant in (("owner", "acme"), ("rival", "globex")):
        settings = {"gate_mode": "bypass"}
        world.as_(who).patch(f"/workspaces/{world.ref(who, tenant)}/onboarding", json=settings).raise_for_status()
    for hostname, to, mode in (("web-1", None, "bypass"), ("web-2", world.globex.slug, "strict")):
        made = register(fleet_key(world), hostname, accept_bypass=True)
        assert made["seeds"]["gate_mode"] == "bypass"
        if to is not None:
            assert move(mover, world, to, hostname).status_code == 200
        assert fleet(world, "greet", machine=made["machine"]["id"])["gate_mode"] == mode


def test_moving_to_where_it_is_changes_nothing(world: World, mover: Api) -> None:
    register(fleet_key(world), "web-1")
    for ref in (world.acme.slug, world.acme.id):
        assert move(mover, world, ref).json()["hostname"] == "web-1"
    assert [event["action"] for event in events(world)] == ["machine.registered"]


def test_rights_are_needed_in_both_and_by_a_sign_in_for_all(world: World, mover: Api) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    narrow = move(world.as_("visitor", "acme"), world)
    assert (narrow.status_code, code(narrow)) == (403, "forbidden")
    assert narrow.json()["error"]["hint"] == f"cmdop login --workspace {world.globex.slug}"
    key = world.key("visitor", "machines:read", "machines:write", workspace="acme")
    assert move(world.api(key["text"]), world).status_code == 403  # keys move nothing
    everywhere = [move(world.as_("owner", "acme", "all"), world, ref) for ref in (world.globex.slug, world.globex.id)]
    unknown = move(world.as_("owner", "acme", "all"), world, make_id("workspace"))
    assert {(answer.status_code, answer.json()["error"]["message"]) for answer in [*everywhere, unknown]} == {
        (404, "no such workspace")
    }
    assert move(mover, world, machine="web-2").status_code == 404
    world.server.backstage(
        "tests.casting:change_role", workspace=world.acme.slug, account=world["visitor"].id, role="member"
    )
    assert move(mover, world).status_code == 403
    assert where(world, machine) == ["acme"]
    assert events(world, "machine.moved") == events(world, "machine.moved", "globex") == []


def test_a_member_of_the_target_without_the_right_is_told_so_and_that_log_has_it(world: World) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    world.server.backstage(
        "tests.server.decisions:add",
        by=world["rival"].id,
        account=world["owner"].id,
        workspace=world.globex.slug,
        role="member",
    )
    refused = move(world.as_("owner", "acme", "all"), world)
    assert (refused.status_code, code(refused)) == (403, "forbidden")
    assert refused.json()["error"]["details"] == {"action": "machine.register"}
    assert where(world, machine) == ["acme"]
    assert [event["result"] for event in events(world, "machine.register", "globex")] == ["denied"]


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        ({"hostname": "WEB-1"}, "hostname_taken"),
        ({"hostname": "x", "name": "web-1"}, "hostname_taken"),
        ({"hostname": "Front"}, "name_taken"),
        ({"hostname": "x", "name": "front"}, "name_taken"),
    ],
)
def test_a_taken_name_is_a_conflict_and_the_machine_stays(
    world: World, mover: Api, there: dict[str, str], wrong: str
) -> None:
    machine = register(fleet_key(world), "web-1", name="front")["machine"]["id"]
    session = fleet(world, "open_session", bearer=world.token("member"), machine=machine)
    register(fleet_key(world, "globex"), **there)
    refused = move(mover, world)
    assert (refused.status_code, code(refused)) == (409, wrong)
    assert where(world, machine) == ["acme"]
    assert fleet(world, "active_sessions", machine=machine) == [session]
    assert events(world, "machine.moved") == []


def test_a_full_plan_is_a_conflict_and_the_machine_stays(world: World, mover: Api) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    personal = world["visitor"].personal
    for number in range(5):
        fleet(world, "register", workspace=personal, hostname=f"host-{number}")
    refused = move(mover, world, personal)
    assert (refused.status_code, code(refused)) == (409, "limit_reached")
    assert where(world, machine) == ["acme"]


def test_opposite_moves_at_once_never_wait_for_each_other(world: World, mover: Api) -> None:
    back = world.as_("visitor", "globex", "all")
    for number in range(6):
        register(fleet_key(world), f"a-{number}")
        register(fleet_key(world, "globex"), f"g-{number}")

    def go(number: int) -> list[int]:
        there = mover.post(f"{machines_of(world)}/a-{number}/move", json={"to": world.globex.slug})
        here = back.post(f"{machines_of(world, 'globex')}/g-{number}/move", json={"to": world.acme.slug})
        return [there.status_code, here.status_code]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(go, range(6))) == [[200, 200]] * 6
    assert len(events(world, "machine.moved")) == len(events(world, "machine.moved", "globex")) == 12


def test_of_two_moves_of_one_machine_one_wins(world: World, mover: Api) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    apis = [world.api(world.token("visitor", "acme", "all")) for _ in range(8)]
    targets = [world.globex.slug, world["visitor"].personal] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda pair: move(pair[0], world, pair[1]).status_code, zip(apis, targets, strict=True))
        )
    assert sorted(answers) == [200] + [404] * 7
    assert where(world, machine) in ([], ["globex"])
    assert len(events(world, "machine.moved")) == 1


_DIE = """
import django, os, signal, sys
django.setup()
from django.db import transaction
from cmdop_server.audit import services
from cmdop_server.machines.models import Machine
from cmdop_server.machines.services import move_machine
from tests.casting import person
account, source, machine, target, moment = sys.argv[1:]
seen = []
def dying(place, real):
    def run(*args, **kwargs):
        result = real(*args, **kwargs)
        seen.append(place)
        if "".join(seen).endswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return run
services.append = dying("e", services.append)
Machine.save = dying("s", Machine.save)
move_machine(person(account), source, machine, target)
if moment == "after":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["e", "ee", "ees", "after"])
def test_killed_anywhere_it_is_either_here_or_there(world: World, mover: Api, moment: str) -> None:
    machine = register(fleet_key(world), "web-1")["machine"]["id"]
    ran = subprocess.run(
        [sys.executable, "-c", _DIE, world["visitor"].id, world.acme.slug, "web-1", world.globex.slug, moment],
        env=world.server.environ,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    is_there = moment == "after"
    assert where(world, machine) == (["globex"] if is_there else ["acme"])
    for tenant in ("acme", "globex"):
        assert len(events(world, "machine.moved", tenant)) == (1 if is_there else 0)
    assert (move(mover, world).status_code == 404) is is_there


def test_a_failing_reaction_undoes_the_move_in_both(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmdop_server.access import effects
    from cmdop_server.audit.queries import head
    from cmdop_server.machines import queries, services
    from cmdop_server.workspaces.services import set_role
    from cmdop_wire.vocab import Action
    from tests import casting

    def fail(effect: effects.MachineMoved) -> None:
        raise RuntimeError("the reaction failed")

    cast = casting.cast("moves", password=None)
    acme, globex = cast["tenants"]["acme"], cast["tenants"]["globex"]
    visitor, owner = cast["people"]["visitor"]["id"], casting.person(cast["people"]["owner"]["id"])
    set_role(owner, acme["slug"], visitor, "admin")
    mover = casting.person(visitor)
    services.register(owner, acme["slug"], services.Host("web-1"))
    before = head(acme["id"]), head(globex["id"])
    with monkeypatch.context() as patched:
        patched.setitem(effects._handlers, effects.MachineMoved, [fail])
        with pytest.raises(RuntimeError, match="reaction"):
            services.move_machine(mover, acme["slug"], "web-1", globex["slug"])
    assert (head(acme["id"]), head(globex["id"])) == before
    services.move_machine(mover, acme["slug"], "web-1", globex["slug"])
    assert queries.machine_for(mover, globex["slug"], "web-1", Action.MACHINE_VIEW).hostname == "web-1"
    assert [head(acme["id"]).seq - before[0].seq, head(globex["id"]).seq - before[1].seq] == [1, 1]
