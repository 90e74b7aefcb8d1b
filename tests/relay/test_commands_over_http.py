"""One short command by plain HTTP: what it answers, what stands in its way, and that it holds up nobody."""

import asyncio
import base64
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_agent.rules import parse_rule
from cmdop_sdk import LocalAgent
from cmdop_wire.vocab import GateMode
from tests.agents import Machine, register, run, start_agent
from tests.processes import REPOSITORY, Postgres, Server, bare_environment
from tests.relay.test_audited import awaited, told
from tests.tools import tool
from tests.world import World, make_world

pytestmark = pytest.mark.timeout(180)
PATIENCE = 60.0
MEBIBYTE = 1024 * 1024


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme that lets everything happen but what its rules deny or ask about."""
    made = register(world, tmp_path / "web", "web-1")
    rules = tuple(
        map(
            parse_rule,
            ({"deny": "execute_command", "match": "uname -a"}, {"ask": "execute_command", "match": "uname -r"}),
        )
    )
    PermissionsFile(made.directory, tmp_path / "web", lambda: True).write(
        Permissions(GateMode.BYPASS, rules, is_seeded=True)
    )
    running = run(made)
    yield running
    running.stop()


def post(world: World, who: str = "member", **asked: Any) -> httpx.Response:
    """Ask for a command in acme."""
    return asking(world, who)(**asked)


def asking(world: World, who: str = "member") -> Callable[..., httpx.Response]:
    """Return what asks for commands in acme, also from other threads: the cast itself is one thread's."""
    api, path = world.as_(who), f"/workspaces/{world.acme.slug}/commands"
    return lambda **asked: api.post(path, json={"machine": "web-1", **asked}, timeout=PATIENCE)


def refusal(answer: httpx.Response) -> tuple[int, str, Any]:
    """Return status, code and ``details.reason`` of a refusal."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["details"].get("reason")


def test_a_command_answers_with_what_it_left(world: World, machine: Machine) -> None:
    answer = post(world, argv=["sh", "-c", "cat; echo é >&2; exit 3"], stdin="in", cwd="/")
    assert answer.status_code == 200, answer.text
    left = answer.json()
    assert left.pop("duration") > 0
    assert left == {
        "exit_code": 3, "signal": None, "timed_out": False, "truncated": False,
        "stdout": "in", "stdout_encoding": "utf-8", "stderr": "é\n", "stderr_encoding": "utf-8",
    }  # fmt: skip
    assert answer.headers["Cache-Control"] == "private, no-store"
    started, ended = awaited(world, 2, "command.started", "command.executed")
    assert (started["actor"]["id"], started["request_id"]) == (world["member"].id, answer.headers["X-Request-Id"])
    assert (ended["changes"]["status"], ended["result"]) == (3, "ok")


def test_bytes_that_are_no_text_travel_as_base64(world: World, machine: Machine) -> None:
    given = bytes(range(256)) * 200
    answer = post(world, argv=["cat"], stdin=base64.b64encode(given).decode(), stdin_encoding="base64").json()
    assert (answer["stdout_encoding"], base64.b64decode(answer["stdout"])) == ("base64", given)


@pytest.mark.slow
def test_more_output_than_is_kept_is_cut_and_said_so(world: World, machine: Machine) -> None:
    answer = post(world, argv=["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2"]).json()
    assert (len(answer["stdout"]), answer["stderr"], answer["truncated"]) == (MEBIBYTE, "done\n", True)
    assert answer["exit_code"] == 0  # it was not ended for it
    letters = post(world, argv=["sh", "-c", "printf x; yes é | tr -d '\\n' | head -c 2000000"]).json()
    assert (letters["stdout_encoding"], len(letters["stdout"].encode())) == ("utf-8", MEBIBYTE - 1)


@pytest.mark.slow
def test_time_out_and_signal_are_told_as_shells_do(world: World, machine: Machine) -> None:
    late = post(world, argv=["sh", "-c", "echo begun; sleep 60"], timeout=4).json()
    assert (late["exit_code"], late["timed_out"], late["stdout"]) == (124, True, "begun\n")
    killed = post(world, argv=["sh", "-c", "kill -TERM $$"]).json()
    assert (killed["exit_code"], killed["signal"]) == (143, "TERM")


def test_what_stands_in_the_way_is_said(world: World, machine: Machine) -> None:
    assert refusal(post(world, argv=["uname", "-a"])) == (403, "gate_denied", "gate_denied")
    assert refusal(post(world, argv=["uname", "-r"]))[:2] == (403, "approval_unavailable")
    assert refusal(post(world, argv=["no-such-command"])) == (422, "invalid", "command_not_found")
    assert refusal(post(world, "guest", argv=["true"]))[:2] == (403, "forbidden")
    assert refusal(post(world, argv=["true"], machine="web-9"))[:2] == (404, "not_found")
    assert refusal(post(world, "rival", argv=["true"], machine=machine.id))[:2] == (404, "not_found")
    register(world, machine.directory.parent.parent / "away", "web-2")
    assert refusal(post(world, argv=["true"], machine="web-2"))[:2] == (409, "agent_offline")
    for wrong in (
        {"argv": []}, {"argv": [""]}, {"argv": "uptime"}, {"argv": ["a\0b"]}, {"argv": ["x" * 50_000]},
        {"argv": ["true"], "timeout": 31}, {"argv": ["true"], "timeout": 0}, {"argv": ["true"], "shell": True},
        {"argv": ["cat"], "stdin": "no base64", "stdin_encoding": "base64"},
        {"argv": ["cat"], "stdin": "x" * 140_000},
    ):  # fmt: skip
        assert refusal(post(world, **wrong))[:2] == (422, "invalid"), wrong
    assert {event["result"] for event in awaited(world, 3, "command.executed")} == {"denied", "failed"}


@pytest.mark.slow
def test_a_revoked_key_ends_the_command_and_the_request(world: World, machine: Machine) -> None:
    key = world.key("owner", "commands:execute", shared=True)
    path = f"/workspaces/{world.acme.slug}/commands"
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(
            world.api(key["text"]).post,
            path,
            json={"machine": "web-1", "argv": ["sleep", "29"]},
            timeout=PATIENCE,
        )
        awaited(world, 1, "command.started")
        world.as_("owner").delete(f"/workspaces/{world.acme.slug}/keys/{key['id']}").raise_for_status()
        assert refusal(asked.result()) == (401, "unauthenticated", "revoked")
    (ended,) = awaited(world, 1, "command.executed")
    assert ended["changes"]["ended"] == "revoked"


@pytest.mark.slow
def test_a_machine_that_goes_leaves_no_request_waiting(world: World, machine: Machine) -> None:
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(asking(world), argv=["sleep", "29"])
        awaited(world, 1, "command.started")
        machine.stop()
        assert refusal(asked.result()) == (409, "agent_offline", "machine_stopped")


@pytest.mark.slow
def test_who_hangs_up_ends_what_was_started(world: World, machine: Machine, tmp_path: Path) -> None:
    begun, alive = tmp_path / "begun", tmp_path / "alive"
    script = f"touch {begun}; while :; do touch {alive}; sleep 0.1; done"

    async def play() -> None:
        token = world.token("member")
        async with httpx.AsyncClient(base_url=f"{world.server.url}/api/v1", timeout=PATIENCE) as client:
            waiting = asyncio.create_task(
                client.post(
                    f"/workspaces/{world.acme.slug}/commands",
                    json={"machine": "web-1", "argv": ["sh", "-c", script]},
                    headers={"Authorization": f"Bearer {token}"},
                )
            )
            async with asyncio.timeout(PATIENCE):
                while not begun.exists():
                    await asyncio.sleep(0.05)
            waiting.cancel()

    asyncio.run(play())
    (ended,) = awaited(world, 1, "command.executed")
    assert (ended["changes"]["ended"], "status" in ended["changes"]) == ("closed", False)
    deadline = time.monotonic() + PATIENCE
    while True:  # it stops touching its file
        alive.unlink(missing_ok=True)
        time.sleep(1.0)
        if not alive.exists():
            break
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_so_many_at_once_and_the_server_serves_on(world: World, machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    ask, owner = asking(world), world.as_("owner")
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(ask, argv=["sh", "-c", script], timeout=30) for _ in range(8)]
        awaited(world, 8, "command.started")
        ninth = post(world, argv=["true"])
        assert refusal(ninth)[:2] == (429, "rate_limited")
        assert int(ninth.headers["Retry-After"]) >= 1
        # More requests than the server has threads for are waiting, and others are answered.
        assert owner.get(f"/workspaces/{world.acme.slug}/members").status_code == 200
        gate.touch()
        assert [each.result().json()["exit_code"] for each in running] == [0] * 8
    assert post(world, argv=["true"]).json()["exit_code"] == 0
    assert len(told(world, "command.started")) == 9


@pytest.mark.slow
def test_nobody_holds_every_place_by_being_in_many_workspaces(world: World, machine: Machine, tmp_path: Path) -> None:
    owner, rival = world["owner"], world["rival"]
    globex = {"founder": rival.id, "workspace": world.globex.slug, "account": owner.id, "role": "admin"}
    world.server.backstage("tests.casting:come_and_go", **globex)
    third = world.as_("owner").post("/workspaces", json={"name": f"third {world.tag}"}).json()["slug"]
    host = {"hostname": "web-1", "os": "linux", "arch": "x86_64", "version": "0", "boot_id": "b"}
    world.as_("owner", third).post("/agent/register", json=host).raise_for_status()

    def asked(credential: str, workspace: str, argv: list[str]) -> httpx.Response:
        body = {"machine": "web-1", "argv": argv}
        return world.api(credential).post(f"/workspaces/{workspace}/commands", json=body, timeout=PATIENCE)

    personal, shared = world.key("owner", workspace=third)["text"], world.key("owner", workspace=third, shared=True)
    gate = tmp_path / "gate"
    wait = ["sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.1; done"]
    tokens = {place: world.token("owner", place) for place in (world.acme.slug, world.globex.slug, third)}
    elsewhere = start_agent(world, tmp_path / "other", "web-1", "globex")
    try:
        with ThreadPoolExecutor(16) as threads:
            running = [
                threads.submit(asked, tokens[place], place, wait)
                for place in (world.acme.slug, world.globex.slug)
                for _ in range(8)
            ]
            awaited(world, 8, "command.started")
            awaited(world, 8, "command.started", workspace="globex", who="rival")
            for credential in (tokens[third], personal):
                refused = asked(credential, third, ["true"])
                assert refusal(refused)[:2] == (429, "rate_limited")
                assert (refused.json()["error"]["details"]["limit"], int(refused.headers["Retry-After"])) == (16, 1)
                assert "account" in refused.json()["error"]["message"]
            # The same account's shared key counts for its workspace, which runs nothing: only the machine is away.
            assert refusal(asked(shared["text"], third, ["true"]))[:2] == (409, "agent_offline")
            gate.touch()
            assert [each.result().json()["exit_code"] for each in running] == [0] * 16
        assert refusal(asked(personal, third, ["true"]))[:2] == (409, "agent_offline")
    finally:
        elsewhere.stop()


@pytest.mark.slow
def test_nobody_holds_every_place_by_owning_many_workspaces(world: World, machine: Machine, tmp_path: Path) -> None:
    owner, rival = world["owner"], world["rival"]
    globex = {"founder": rival.id, "workspace": world.globex.slug, "account": owner.id, "role": "owner"}
    world.server.backstage("tests.casting:come_and_go", **globex)
    for other in (rival, world["visitor"]):
        member = f"/workspaces/{world.globex.id}/members/{other.id}"
        world.as_("owner", "globex").patch(member, json={"role": "member"}).raise_for_status()
    third, joint = (
        world.as_("owner").post("/workspaces", json={"name": f"{name} {world.tag}"}).json()["slug"]
        for name in ("third", "joint")
    )
    partner = {"founder": owner.id, "workspace": joint, "account": rival.id, "role": "owner"}
    world.server.backstage("tests.casting:come_and_go", **partner)
    host = {"hostname": "web-1", "os": "linux", "arch": "x86_64", "version": "0", "boot_id": "b"}
    for away in (third, joint):
        world.as_("owner", away).post("/agent/register", json=host).raise_for_status()

    def asked(credential: str, workspace: str, argv: list[str]) -> httpx.Response:
        body = {"machine": "web-1", "argv": argv}
        return world.api(credential).post(f"/workspaces/{workspace}/commands", json=body, timeout=PATIENCE)

    full = (world.acme.slug, world.globex.slug)
    shared = {place: world.key("owner", workspace=place, shared=True)["text"] for place in (*full, third, joint)}
    gate = tmp_path / "gate"
    wait = ["sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.1; done"]
    elsewhere = start_agent(world, tmp_path / "other", "web-1", "globex")
    try:
        with ThreadPoolExecutor(16) as threads:
            running = [threads.submit(asked, shared[place], place, wait) for place in full for _ in range(8)]
            awaited(world, 8, "command.started")
            awaited(world, 8, "command.started", workspace="globex")
            refused = asked(shared[third], third, ["true"])
            assert refusal(refused)[:2] == (429, "rate_limited")
            assert (refused.json()["error"]["details"]["limit"], int(refused.headers["Retry-After"])) == (16, 1)
            assert "owner" in refused.json()["error"]["message"]
            # What somebody else owns as well has their places, and people have their own: only the machine is away.
            assert refusal(asked(shared[joint], joint, ["true"]))[:2] == (409, "agent_offline")
            assert refusal(asked(world.token("owner", third), third, ["true"]))[:2] == (409, "agent_offline")
            gate.touch()
            assert [each.result().json()["exit_code"] for each in running] == [0] * 16
        assert refusal(asked(shared[third], third, ["true"]))[:2] == (409, "agent_offline")
    finally:
        elsewhere.stop()


@pytest.mark.slow
def test_several_workers_reach_the_one_relay(
    new_server: Callable[..., Server], postgres: Postgres, tmp_path: Path
) -> None:
    world = make_world(new_server(postgres.database(), "--workers", "2"))
    agent = start_agent(world, tmp_path / "web", "web-1")
    try:
        big = post(world, argv=["head", "-c", "1500000", "/dev/zero"]).json()
        assert (len(big["stdout"]), big["truncated"]) == (MEBIBYTE, True)
        given = base64.b64encode(b"\0" * 128 * 1024).decode()
        counted = post(world, argv=["wc", "-c"], stdin=given, stdin_encoding="base64").json()
        assert counted["stdout"].strip() == str(128 * 1024)
        assert refusal(post(world, argv=["no-such-command"])) == (422, "invalid", "command_not_found")
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(asking(world), argv=["sleep", "29"])
            awaited(world, 4, "command.started")
            agent.stop()
            assert refusal(asked.result())[:2] == (409, "agent_offline")
        assert refusal(post(world, argv=["true"]))[:2] == (409, "agent_offline")
    finally:
        world.close()
        agent.stop()


@pytest.mark.slow
def test_the_documented_line_of_curl(world: World, machine: Machine, tmp_path: Path) -> None:
    assert tool("curl")
    assert tool("jq")
    page = (REPOSITORY / "docs" / "ci.md").read_text()
    script = next(block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if "curl" in block)
    script = script.replace("workspaces/acme/", f"workspaces/{world.acme.slug}/")
    script = script.replace('"systemctl", "is-active", "nginx"', '"sh", "-c", "echo inactive; exit 3"')
    key = world.key("owner", "commands:execute", shared=True)["text"]
    environ = bare_environment(tmp_path) | {"CMDOP_API_KEY": key, "CMDOP_SERVER_URL": world.server.url}
    ran = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (3, "inactive", "")
    environ["CMDOP_API_KEY"] = world.key("owner", "machines:read", shared=True)["text"]
    refused = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert refused.returncode not in (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("approved", [True, False])
def test_the_request_waits_while_somebody_at_the_machine_is_asked(
    world: World, machine: Machine, approved: bool
) -> None:
    async def answer(here: LocalAgent) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (waiting := await here.approvals(wait=1.0)):
                pass
        await here.answer(waiting[0].number, approved=approved)

    async def play() -> httpx.Response:
        ask = asking(world)
        async with LocalAgent(machine.directory.parent) as here:
            await here.attend()
            asked, _ = await asyncio.gather(asyncio.to_thread(ask, argv=["uname", "-r"], timeout=5), answer(here))
            return asked

    asked = asyncio.run(play())
    if approved:
        assert (asked.status_code, asked.json()["exit_code"]) == (200, 0)
    else:
        assert refusal(asked) == (403, "gate_denied", "gate_denied")
