"""Sessions over HTTP: who was on which machine, by the role table; ending them; tickets (D-14, D-17, D-26)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cmdop_wire.ids import make_id, make_token, token_kind
from cmdop_wire.vocab import Scope
from tests.server.fleets import code, events, fleet, fleet_key, machines_of, register, sessions_of
from tests.world import World


@pytest.fixture
def machine(world: World) -> str:
    """A machine of acme called web-1."""
    return str(register(fleet_key(world), "web-1")["machine"]["id"])


def opened(world: World, machine: str, who: str = "member", **arguments: Any) -> str:
    """Open a session as somebody of acme; return its id."""
    session = fleet(world, "open_session", bearer=world.token(who), machine=machine, **arguments)
    assert isinstance(session, str), session
    return session


def shown(world: World, session: str, who: str = "guest") -> dict[str, Any]:
    """Return a session as somebody of acme sees it."""
    return dict(world.as_(who).get(f"{sessions_of(world)}/{session}").raise_for_status().json())


def terminate(world: World, who: str, session: str) -> Any:
    """Ask to end a session."""
    return world.as_(who).post(f"{sessions_of(world)}/{session}/terminate")


def test_everybody_sees_who_operates_a_machine_and_its_history(world: World, machine: str) -> None:
    session = opened(world, machine)
    operator = {"kind": "account", "id": world["member"].id, "label": world["member"].email}
    for who in ("owner", "admin", "member", "guest"):
        seen = shown(world, session, who)
        assert (seen["operator"], seen["state"], seen["ended_at"]) == (operator, "active", None)
        assert seen["machine"] == {"id": machine, "hostname": "web-1"}
        on_machine = world.as_(who).get(f"{machines_of(world)}/web-1").json()["session"]
        assert on_machine == {"id": session, "operator": operator, "since": seen["opened_at"]}
        assert world.as_(who).get(machines_of(world)).json()["items"][0]["session"] == on_machine
    assert [shown(world, session, who)["authorized_actions"] for who in ("owner", "member", "guest")] == [
        ["session.observe", "session.terminate_any"],
        ["session.observe", "session.operate"],
        ["session.observe"],
    ]
    fleet(world, "end_session", session=session, reason="closed")
    fleet(world, "end_session", session=session, reason="lost")  # whoever comes second changes nothing
    ended = shown(world, session)
    assert (ended["state"], ended["end_reason"], ended["authorized_actions"]) == ("ended", "closed", [])
    assert world.as_("guest").get(f"{machines_of(world)}/web-1").json()["session"] is None
    told = events(world, "session.*")
    assert [(event["action"], event["actor"]["id"]) for event in told] == [
        ("session.opened", world["member"].id), ("session.ended", world["member"].id),
    ]  # fmt: skip
    assert told[1]["changes"]["reason"] == "closed"


def test_pages_newest_first_of_one_machine_and_by_state(world: World, machine: str) -> None:
    other = register(fleet_key(world), "web-2")["machine"]["id"]
    api, made = world.as_("guest"), []
    for number in range(5):
        made.append(opened(world, machine if number % 2 else other))
        if number < 4:
            fleet(world, "end_session", session=made[-1], reason="closed")

    def listed(**query: Any) -> list[str]:
        found, cursor = [], None
        while True:
            page = api.get(sessions_of(world), params={"limit": 2, **query} | ({"cursor": cursor} if cursor else {}))
            found += [session["id"] for session in page.raise_for_status().json()["items"]]
            cursor = page.json()["next"]
            if cursor is None:
                return found

    assert listed() == made[::-1]
    assert listed(machine="WEB-1") == listed(machine=machine) == [made[3], made[1]]
    assert listed(active=True) == [made[4]]
    assert listed(active=False) == made[3::-1]
    assert listed(machine="web-1", active=True) == []
    for ref in ("no-such", make_id("machine"), "\u200b"):
        assert api.get(sessions_of(world), params={"machine": ref}).status_code in (404, 422)
    cursor = api.get(sessions_of(world), params={"limit": 1}).json()["next"]
    assert api.get(sessions_of(world), params={"cursor": cursor, "active": True}).status_code == 400


def test_a_machine_has_one_active_session(world: World, machine: str) -> None:
    session = opened(world, machine)
    refused = fleet(world, "open_session", bearer=world.token("owner"), machine=machine)
    assert (refused["code"], refused["holder"], refused["session_id"]) == (
        "session_conflict",
        world["member"].email,
        session,
    )
    assert refused["message"] == f"{world['member'].email} has the active session on web-1"
    fleet(world, "end_session", session=session, reason="exited")
    assert opened(world, machine, "owner") != session


def test_operating_needs_the_right_and_the_machine_to_be_here(world: World, machine: str) -> None:
    refused = fleet(world, "open_session", bearer=world.token("guest"), machine=machine)
    assert refused["code"] == "forbidden"
    theirs = register(fleet_key(world, "globex"), "theirs")["machine"]["id"]
    for ref in (theirs, make_id("machine"), "theirs"):
        refused = fleet(world, "open_session", bearer=world.token("member"), machine=ref)
        assert refused["code"] == "not_found"
    assert world.as_("guest").get(sessions_of(world)).json()["items"] == []


def test_taking_over_is_for_admins_and_ends_the_other(world: World, machine: str) -> None:
    first = opened(world, machine)
    refused = fleet(world, "open_session", bearer=world.token("member"), machine=machine, taken_over_from=first)
    assert refused["code"] == "forbidden"
    second = opened(world, machine, "admin", taken_over_from=first)
    assert (shown(world, first)["end_reason"], shown(world, second)["state"]) == ("taken_over", "active")
    third = fleet(world, "open_session", bearer=world.token("owner"), machine=machine, taken_over_from=first)
    assert third["session_id"] == second  # who was to be taken over is not who is there
    told = [event["action"] for event in events(world, "session.*")]
    assert told == ["session.opened", "session.ended", "session.taken_over", "session.opened"]


def test_one_ends_one_s_own_session_and_admins_anybody_s(world: World, machine: str) -> None:
    for who, reason in (("member", "ended_by_operator"), ("admin", "ended_by_admin"), ("owner", "ended_by_admin")):
        session = opened(world, machine)
        assert terminate(world, "guest", session).status_code == 403
        answer = terminate(world, who, session)
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["end_reason"]) == ("ended", reason)
        assert terminate(world, who, session).json() == answer.json()
        assert shown(world, session)["end_reason"] == reason
    theirs = opened(world, machine, "admin")
    refused = terminate(world, "member", theirs)
    assert (refused.status_code, refused.json()["error"]["details"]) == (403, {"action": "session.terminate_any"})
    ends = [event for event in events(world, "session.ended") if event["result"] == "ok"]
    assert [event["actor"]["id"] for event in ends] == [world[who].id for who in ("member", "admin", "owner")]


def test_a_key_ends_its_owner_s_sessions_a_shared_key_its_own(world: World, machine: str) -> None:
    personal = world.api(world.key("member", Scope.COMMANDS_EXECUTE)["text"])
    shared = world.key("owner", Scope.COMMANDS_EXECUTE, shared=True)
    by_member, path = opened(world, machine), f"{sessions_of(world)}/%s/terminate"
    assert world.api(shared["text"]).post(path % by_member).status_code == 403
    assert personal.post(path % by_member).status_code == 200
    by_key = fleet(world, "open_session", bearer=shared["text"], machine=machine)
    assert personal.post(path % by_key).status_code == 403
    assert shown(world, by_key)["operator"]["kind"] == "workspace_key"
    assert world.api(shared["text"]).post(path % by_key).json()["end_reason"] == "ended_by_operator"


def test_of_ten_that_end_a_session_one_is_told_of(world: World, machine: str) -> None:
    session = opened(world, machine)
    apis = [world.api(world.token("admin")) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda api: api.post(f"{sessions_of(world)}/{session}/terminate"), apis))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(events(world, "session.ended")) == 1


def test_a_removed_member_s_sessions_end_and_only_there(world: World, machine: str) -> None:
    elsewhere = register(fleet_key(world, "globex"), "db-1")["machine"]["id"]
    world.server.backstage(
        "tests.casting:change_role", workspace=world.acme.slug, account=world["visitor"].id, role="member"
    )
    here = fleet(world, "open_session", bearer=world.token("visitor", "acme"), machine=machine)
    there = fleet(world, "open_session", bearer=world.token("visitor", "globex"), machine=elsewhere)
    world.server.backstage("tests.casting:remove", workspace=world.acme.slug, account=world["visitor"].id)
    assert shown(world, here)["end_reason"] == "member_removed"
    assert world.as_("rival").get(f"{sessions_of(world, 'globex')}/{there}").json()["state"] == "active"
    ended = events(world, "session.ended")
    assert [event["changes"]["operator"] for event in ended] == [world["visitor"].email]


def test_a_session_is_resumed_by_who_opened_it_with_its_secret(world: World, machine: str) -> None:
    session = opened(world, machine, resume="right")
    key = world.key("member", Scope.COMMANDS_EXECUTE)["text"]
    assert fleet(world, "resume", bearer=world.token("member"), session=session, secret="right") == {"machine": machine}
    for bearer, secret, wrong in [
        (world.token("member"), "wrong", "gone"),
        (world.token("owner"), "right", "gone"),
        (key, "right", "gone"),  # the same person, but not the same credential
        (world.sign_in("member")["access_token"], "right", "gone"),
        (world.token("guest"), "right", "forbidden"),
        (world.token("rival"), "right", "gone"),
    ]:
        assert fleet(world, "resume", bearer=bearer, session=session, secret=secret) == {"code": wrong}
    assert fleet(world, "active_sessions", machine=machine) == [session]
    fleet(world, "end_session", session=session, reason="relay_restarted")
    assert fleet(world, "resume", bearer=world.token("member"), session=session, secret="right") == {"code": "gone"}
    assert events(world, "session.ended")[0]["actor"]["kind"] == "system"
    assert fleet(world, "active_sessions", machine=machine) == []


def test_watching_is_counted_and_told(world: World, machine: str) -> None:
    session = opened(world, machine)
    for who in ("guest", "owner"):
        fleet(world, "observe", bearer=world.token(who), session=session)
    fleet(world, "observe", bearer=world.token("rival"), session=session)  # of another tenant: nothing of it is here
    assert shown(world, session)["observers"] == 2
    told = events(world, "session.observed")
    assert [event["actor"]["id"] for event in told] == [world["guest"].id, world["owner"].id]
    assert events(world, "session.observed", "globex") == []


def test_what_ran_is_told_before_and_after_and_without_secrets(world: World, machine: str) -> None:
    secret = world.key("member")["text"]
    token = world.token("member")
    fleet(
        world, "command", bearer=token, machine=machine, kind="command", reason="exited", has_begun=True,
        opening={"argv": ["deploy", "--key", secret], "shell": False, "cols": 80},
        result={"status": 3, "duration": 0.25},
    )  # fmt: skip
    fleet(
        world, "command", bearer=token, machine=machine, kind="read_file", reason="gate_denied", has_begun=False,
        opening={"path": "/etc/passwd"}, result={},
    )  # fmt: skip
    fleet(
        world, "command", bearer=token, machine=machine, kind="write_file", reason="exited", has_begun=True,
        opening={"path": "a.txt", "size": 7}, result={"status": 0},
    )  # fmt: skip
    ran, read, written = (events(world, name)[0] for name in ("command.executed", "file.read", "file.written"))
    (started,), opened = events(world, "command.started"), events(world, "file.opened")
    assert started["changes"] == {
        "argv": ["deploy", "--key", started["changes"]["argv"][2]], "shell": False, "stream": ran["changes"]["stream"]
    }  # fmt: skip
    assert (started["target"], started["actor"], started["result"]) == (ran["target"], ran["actor"], "ok")
    assert secret not in str(started)
    assert sorted((each["changes"]["access"], each["changes"]["path"]) for each in opened) == [
        ("read", "/etc/passwd"), ("write", "a.txt")
    ]  # fmt: skip
    assert ran["changes"]["duration"] == "0.25"  # the log has no fractions but as text
    assert ran["changes"]["argv"][:2] == ["deploy", "--key"]
    assert secret not in str(ran)
    assert (ran["changes"]["status"], ran["changes"]["ended"], ran["result"]) == (3, "exited", "ok")
    assert ran["target"] == {"type": "machine", "id": machine, "label": "web-1"}
    assert (read["result"], read["reason"]) == ("denied", "gate_denied")
    assert written["changes"]["size"] == 7


def test_a_ticket_is_used_once_within_thirty_seconds_as_who_asked(world: World, machine: str) -> None:
    made = world.as_("member").post(f"{machines_of(world)}/web-1/ticket", json={"right": "session.operate"})
    assert made.status_code == 201
    ticket = made.json()["secret"]
    assert token_kind(ticket) == "ticket"
    assert made.json()["relay"]["url"] == world.server.url.replace("http", "ws", 1) + "/relay/client"
    assert world.api(ticket).get("/me").status_code == 401
    found = fleet(world, "redeem", ticket=ticket)
    assert found["expires_at"] is not None  # until when a stream lives without a fresh token
    assert (found["actor"], found["machine"], found["action"]) == (world["member"].id, machine, "session.operate")
    assert found["workspace"] == world.acme.id
    assert fleet(world, "redeem", ticket=ticket) == {"code": "unauthenticated"}
    for wrong in ("nonsense", make_token("ticket"), ticket[:-1], world.token("member")):
        assert fleet(world, "redeem", ticket=wrong) == {"code": "unauthenticated"}
    late = world.as_("member").post(f"{machines_of(world)}/web-1/ticket", json={"right": "file.read"}).json()["secret"]
    fleet(world, "ticket_expires_in", seconds=-0.001)
    assert fleet(world, "redeem", ticket=late) == {"code": "unauthenticated"}


def test_a_ticket_is_for_a_right_that_one_has(world: World, machine: str) -> None:
    path = f"{machines_of(world)}/web-1/ticket"
    for who, right, status in [
        ("guest", "session.observe", 201),
        ("guest", "session.operate", 403),
        ("member", "file.write", 201),
        ("member", "machine.remove", 422),
        ("member", "", 422),
        ("outsider", "session.observe", 404),
    ]:
        assert world.as_(who).post(path, json={"right": right}).status_code == status
    refused = world.as_("owner").post(f"{machines_of(world)}/web-2/ticket", json={"right": "session.observe"})
    assert (refused.status_code, code(refused)) == (404, "not_found")


def test_a_ticket_dies_with_its_credential(world: World, machine: str) -> None:
    path, body = f"{machines_of(world)}/web-1/ticket", {"json": {"right": "session.operate"}}
    key, signed_in = world.key("member", Scope.COMMANDS_EXECUTE), world.sign_in("member")
    by_key = world.api(key["text"]).post(path, **body).json()["secret"]  # type: ignore[arg-type]
    by_sign_in = world.api(signed_in["access_token"]).post(path, **body).json()["secret"]  # type: ignore[arg-type]
    by_removed = world.as_("admin").post(path, **body).json()["secret"]  # type: ignore[arg-type]
    world.as_("member").delete(f"/workspaces/{world.acme.slug}/keys/{key['id']}").raise_for_status()
    world.api().post("/auth/revoke", json={"token": signed_in["refresh_token"]}).raise_for_status()
    world.server.backstage("tests.casting:remove", workspace=world.acme.slug, account=world["admin"].id)
    for ticket in (by_key, by_sign_in, by_removed):
        assert fleet(world, "redeem", ticket=ticket) == {"code": "unauthenticated"}


def test_a_session_s_ticket_lets_one_watch_while_it_runs(world: World, machine: str) -> None:
    session = opened(world, machine)
    made = world.as_("guest").post(f"{sessions_of(world)}/{session}/ticket")
    assert made.status_code == 201
    found = fleet(world, "redeem", ticket=made.json()["secret"])
    assert (found["actor"], found["machine"], found["action"]) == (world["guest"].id, machine, "session.observe")
    fleet(world, "end_session", session=session, reason="closed")
    assert world.as_("guest").post(f"{sessions_of(world)}/{session}/ticket").status_code == 404


def test_a_ticket_presented_ten_times_at_once_is_taken_once(committed_db: None) -> None:
    from django.db import connections

    from cmdop_server.access.errors import Refused
    from cmdop_server.machines import services as machines
    from cmdop_server.sessions.tickets import create_ticket, redeem_ticket
    from tests import casting

    cast = casting.cast("tickets", password=None)
    owner, slug = casting.person(cast["people"]["owner"]["id"]), cast["tenants"]["acme"]["slug"]
    machines.register(owner, slug, machines.Host("web-1"))
    signed = casting.sign_in(cast["people"]["owner"]["id"], slug, "workspace")
    from cmdop_server.credentials.authenticate import prove

    actor = prove(signed["access_token"], address="", request_id="").actor
    ticket, _ = create_ticket(actor, slug, "web-1", "session.operate", credential_expires_at=None)

    def redeem(_: int) -> bool:
        try:
            redeem_ticket(ticket, address="", request_id="")
        except Refused:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(redeem, range(10))) == 1
