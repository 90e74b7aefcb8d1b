"""Nothing runs unaudited: what was asked for is in the log before the machine hears of it, and how it ended, after."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_agent.rules import Rule, parse_rule
from cmdop_sdk.errors import CMDOPError
from cmdop_wire import frames
from cmdop_wire.frames import LINK, Kind
from cmdop_wire.vocab import GateMode
from tests.agents import Machine, register, run, start_agent
from tests.processes import Server, start_again
from tests.relay.seats import stream
from tests.relay.test_handshakes import AGENT, dial, opening, take
from tests.world import World, make_world

pytestmark = pytest.mark.timeout(180)
PATIENCE = 60.0  # seconds for the relay to write what is queued, on a busy machine


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme that lets everything happen but what its one rule denies."""
    made = register(world, tmp_path / "web", "web-1")
    denied: tuple[Rule, ...] = (parse_rule({"deny": "execute_command", "match": "uname -a"}),)
    PermissionsFile(made.directory, tmp_path / "web", lambda: True).write(
        Permissions(GateMode.BYPASS, denied, is_seeded=True)
    )
    running = run(made)
    yield running
    running.stop()


def told(world: World, *actions: str, workspace: str = "acme", who: str = "owner") -> list[dict[str, Any]]:
    """Return a tenant's events with one of these actions, oldest first."""
    answer = world.as_(who, workspace).get(f"/workspaces/{world.tenant(workspace).id}/events?limit=200")
    assert answer.status_code == 200, answer.text
    return [event for event in reversed(answer.json()["items"]) if event["action"] in actions]


def awaited(world: World, count: int, *actions: str, **where: str) -> list[dict[str, Any]]:
    """Return those events when there are ``count``: ends are written a moment after."""
    deadline = time.monotonic() + PATIENCE
    while len(found := told(world, *actions, **where)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


async def ran(world: World, credential: str = "", **asked: Any) -> str:
    """Have a stream, a member's, run to its end; return the code of the refusal or failure, or nothing."""
    try:
        async with stream(
            world, credential or world.token("member"), **{"kind": "command", "machine": "web-1", **asked}
        ) as opened:
            await opened.end_input()
            while await opened.read() is not None:
                pass
            assert opened.exit is not None
            return str(opened.exit.get("code", ""))
    except CMDOPError as refused:
        return refused.code


def test_a_command_is_told_when_it_starts_and_when_it_ends(world: World, machine: Machine) -> None:
    secret = world.key("member")["text"]

    async def play() -> list[dict[str, Any]]:
        async with stream(
            world, world.token("member"), kind="command", machine="web-1", argv=["sh", "-c", "read x; exit 3", secret]
        ) as command:
            before = await asyncio.to_thread(told, world, "command.started", "command.executed")
            await command.send(b"go\n")
            while await command.read() is not None:
                pass
        return before

    before = asyncio.run(play())
    started, ended = awaited(world, 2, "command.started", "command.executed")
    assert before == [started]  # it was there while the command waited for its input
    assert (started["action"], started["result"]) == ("command.started", "ok")
    assert started["actor"]["id"] == world["member"].id
    assert started["target"] == {"type": "machine", "id": machine.id, "label": "web-1"}
    assert started["changes"]["argv"][:3] == ["sh", "-c", "read x; exit 3"]
    assert secret not in str(started) + str(ended)
    assert (ended["action"], ended["result"], ended["changes"]["status"]) == ("command.executed", "ok", 3)
    assert ended["changes"]["stream"] == started["changes"]["stream"]
    assert float(ended["changes"]["duration"]) > 0


def test_a_program_in_the_place_of_the_shell_is_told_like_a_command(world: World, machine: Machine) -> None:
    secret = world.key("member")["text"]
    asyncio.run(ran(world, kind="session", argv=["sh", "-c", "exit 3", secret], cols=80, rows=24))
    opened, _ = awaited(world, 2, "session.opened", "session.ended")
    assert opened["changes"]["argv"][:3] == ["sh", "-c", "exit 3"]
    assert secret not in str(opened)


def test_what_the_machine_refused_is_no_success(world: World, machine: Machine) -> None:
    async def play() -> list[str]:
        return [
            await ran(world, argv=["uname", "-a"]),
            await ran(world, argv=["a-command-that-nobody-has"]),
            await ran(world, argv=["echo", "in\0between"]),
            await ran(world, argv="no list of words"),
            await ran(world, argv=["false"]),
        ]

    codes = asyncio.run(play())
    assert codes == ["gate_denied", "command_not_found", "invalid", "malformed", ""]
    ended = awaited(world, 5, "command.executed")
    assert [event["result"] for event in ended] == ["denied", "failed", "failed", "failed", "ok"]
    assert [event["reason"] for event in ended] == codes
    assert len(told(world, "command.started")) == 5


def test_files_are_told_when_they_are_opened_and_with_what_went_over(
    world: World, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "home" / "notes").write_bytes(b"seven b")
    assert asyncio.run(ran(world, kind="read_file", path="notes")) == ""
    assert asyncio.run(ran(world, kind="read_file", path="missing")) == "no_such_file"
    read, missing = awaited(world, 2, "file.read")
    assert [each["changes"]["path"] for each in told(world, "file.opened")] == ["notes", "missing"]
    assert (read["result"], read["changes"]["size"], len(read["changes"]["sha256"])) == ("ok", 7, 64)
    assert (missing["result"], missing["reason"]) == ("failed", "no_such_file")


def test_nobody_is_asked_who_is_offline_and_nothing_is_told(world: World, machine: Machine) -> None:
    machine.stop()
    deadline = time.monotonic() + PATIENCE
    while asyncio.run(ran(world, argv=["true"])) != "agent_offline":
        assert time.monotonic() < deadline
    count = len(told(world, "command.started"))
    assert asyncio.run(ran(world, argv=["true"])) == "agent_offline"
    assert len(told(world, "command.started")) == count


@pytest.fixture
def deaf(world: World) -> Iterator[str]:
    """A log of acme's that takes no event, and the credential of a member from before."""
    token = world.token("member")
    world.server.backstage("tests.relay.backstage:deafen", workspace=world.acme.id)
    yield token
    world.server.backstage("tests.relay.backstage:hear_again")


def test_what_cannot_be_written_down_does_not_run(world: World, machine: Machine, deaf: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert asyncio.run(ran(world, deaf, argv=["touch", str(marker)])) == "unavailable"
    assert asyncio.run(ran(world, deaf, kind="session", argv=["touch", str(marker)])) == "unavailable"
    assert asyncio.run(ran(world, deaf, kind="write_file", path="marker")) == "unavailable"
    assert not marker.exists()
    assert not (tmp_path / "home" / "marker").exists()


@pytest.mark.slow
def test_a_killed_relay_leaves_what_it_was_running_in_the_log(
    new_server: Callable[..., Server], new_database: Callable[[], str | None], tmp_path: Path
) -> None:
    server = new_server(new_database())
    world = make_world(server)
    agent = start_agent(world, tmp_path / "web", "web-1")
    token, acme = world.token("owner"), world.acme.id

    async def play() -> None:
        async with dial(server, token) as socket:
            await socket.send(opening(argv=["sh", "-c", "echo running; sleep 60"]))
            while frames.decode(await asyncio.wait_for(socket.recv(), PATIENCE)).kind is not Kind.OUTPUT:  # type: ignore[arg-type]
                pass
            server.process.kill()
            server.process.wait()

    try:
        asyncio.run(play())
        again = start_again(server)
        try:
            path = f"{again.url}/api/v1/workspaces/{acme}/events?action=command.started"
            answer = httpx.get(path, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)
            (started,) = answer.json()["items"]
            assert started["changes"]["argv"] == ["sh", "-c", "echo running; sleep 60"]
            assert started["actor"]["id"] == world["owner"].id
            assert started["target"] == {"type": "machine", "id": agent.id, "label": "web-1"}
        finally:
            again.stop()
    finally:
        world.close()
        agent.stop()


def test_decisions_that_are_more_than_can_wait_are_counted(world: World, tmp_path: Path) -> None:
    """A gate that is busy while nothing can be written: what the log lacks, it says, once, and how many those are."""
    made = register(world, tmp_path / "busy", "web-1")
    asked = 64

    async def play() -> None:
        async with contextlib.AsyncExitStack() as open_ones, dial(world.server, made.credential, AGENT) as link:
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert (await take(link))[0] is Kind.WELCOME
            for _ in range(asked):
                one = await open_ones.enter_async_context(dial(world.server, world.token("member")))
                await one.send(opening())
            for _ in range(asked):
                assert (await take(link))[0] is Kind.OPEN
            world.server.backstage("tests.relay.backstage:deafen", workspace=world.acme.id)
            for number in range(100 + 2 * asked):
                request = str(number)
                await link.send(
                    frames.encode_json(Kind.EVENT, LINK, verdict="deny", operation="session", request=request)
                )
            await link.send(frames.encode_json(Kind.PROBE, LINK, nonce="all"))
            while (await take(link))[1].get("nonce") != "all":
                pass
            world.server.backstage("tests.relay.backstage:hear_again")

    try:
        asyncio.run(play())
    finally:
        world.server.backstage("tests.relay.backstage:hear_again")
    (untold,) = awaited(world, 1, "gate.untold")
    assert (untold["target"]["label"], untold["result"]) == ("web-1", "failed")
    assert untold["changes"]["count"] == 100 + 2 * asked - 200
    assert world.server.log.read_text().count("cannot write a record") == 0
