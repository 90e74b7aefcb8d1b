"""The relay killed and started again on the same port and data: machines come back spread out, people go on."""

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection

from cmdop_sdk.errors import StreamClosed
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import LINK, STREAM, VERSION, CloseCode, Frame, Kind
from cmdop_wire.vocab import ErrorCode
from tests.agents import register
from tests.fleet import new_fleet
from tests.herd import herd, histogram
from tests.processes import start_again, start_server
from tests.relay.bare import close_code, dial
from tests.relay.seats import read_until, stream
from tests.world import World, make_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
MIB = 1024 * 1024
COUNT = 50
SHELL = {"kind": "session", "machine": "web-1", "argv": ["/bin/sh"]}


@pytest.fixture(scope="module")
def own(new_database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world on a server of this module's own, which it may kill."""
    server = start_server(tmp_path_factory.mktemp("restarted"), new_database())
    made = make_world(server)
    yield made
    made.close()
    server.stop()


@pytest.fixture(scope="module")
def machine(own: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine of acme with a running agent: web-1."""
    made = new_fleet(own, tmp_path_factory.mktemp("fleet"), "web-1")
    yield
    made.stop()


def restart(world: World) -> None:
    """Kill the control plane as a crash would, and start it again where it was."""
    server = world.server
    server.process.kill()
    server.process.wait()
    server.process = start_again(server, "--port", str(urlsplit(server.url).port)).process


def test_fifty_machines_come_back_and_not_at_once(own: World, tmp_path: Path) -> None:
    with herd(own, tmp_path / "herd", COUNT) as machines:
        restart(own)
        changes = machines.until_all_are_up()
        first: dict[str, float] = {}
        for change in changes:
            if change.dials_at is not None:
                first.setdefault(change.hostname, change.dials_at)
        assert len(first) == COUNT
        # When they dial, not when they are served: how fast that goes is the load's affair. Two seconds are theirs.
        assert max(histogram(list(first.values()), 0.1).values()) <= COUNT // 3
        assert max(first.values()) - min(first.values()) > 0.5
        online = own.as_("owner").get(f"/workspaces/{own.acme.slug}/machines", params={"online": True, "limit": 100})
        assert {each["hostname"] for each in online.json()["items"]} >= set(machines.hostnames)


def test_a_shell_and_what_runs_in_it_outlive_the_relay(own: World, machine: None, tmp_path: Path) -> None:
    content = random.Random(17).randbytes(30 * MIB)
    source = tmp_path / "source"
    source.write_bytes(content)
    lines = [f"echo typed {number} $kept\n" for number in range(20)]
    answers = "".join(f"typed {number} 42\n" for number in range(20)).encode()

    async def type_while_it_is_away(shell: Stream, restarting: "asyncio.Task[None]") -> None:
        for line in lines:
            await shell.send(line.encode())
            await asyncio.sleep(0.05)
        await restarting

    async def play() -> bytes:
        async with stream(own, own.token("member"), **SHELL) as shell:
            await shell.send(b"stty raw -echo; PS1=; kept=$((6 * 7)); echo ready $kept\n")
            await read_until(shell, b"ready 42\n")
            await shell.send(f"cat {source}\n".encode())
            seen, typing = bytearray(), None
            while len(seen) < len(content) + len(answers):
                piece = await shell.read()
                assert piece is not None
                seen += piece.data
                if typing is None and len(seen) > len(content) // 3:
                    restarting = asyncio.create_task(asyncio.to_thread(restart, own))
                    typing = asyncio.create_task(type_while_it_is_away(shell, restarting))
            assert typing is not None
            await typing
            return bytes(seen)

    seen = asyncio.run(play())
    assert hashlib.sha256(seen[: len(content)]).digest() == hashlib.sha256(content).digest()
    assert seen[len(content) :] == answers
    sessions = own.as_("owner").get(f"/workspaces/{own.acme.slug}/sessions").json()["items"]
    assert len(sessions) == 1


def test_a_command_ends_with_the_relay_and_says_so(own: World, machine: None) -> None:
    async def play() -> StreamClosed:
        argv = ["sh", "-c", "echo began; exec sleep 1000"]
        async with stream(own, own.token("member"), kind="command", machine="web-1", argv=argv, timeout=900) as command:
            await read_until(command, b"began\n")
            await asyncio.to_thread(restart, own)
            with pytest.raises(StreamClosed) as ended:
                await command.read()
            return ended.value

    ended = asyncio.run(play())
    assert ended.code == ErrorCode.GONE
    assert "could not be resumed" in ended.message


def test_a_session_that_an_admin_ended_is_not_taken_up_again(own: World, tmp_path: Path) -> None:
    machine = register(own, tmp_path / "bare", "bare-1")
    owner, sessions = own.as_("owner"), f"/workspaces/{own.acme.slug}/sessions"

    async def link(*surviving: str) -> ClientConnection:
        opened = await dial(own, machine.credential, "/relay/agent")
        channels = [{"stream_id": each} for each in surviving]
        await opened.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=channels))
        assert (await hear(opened)).kind is Kind.WELCOME
        return opened

    async def play() -> int | None:
        agent, operator = await link(), await dial(own, own.token("member"))
        await operator.send(frames.encode_json(Kind.OPEN, STREAM, kind="session", machine="bare-1"))
        asked = await hear(agent)
        await agent.send(frames.encode_json(Kind.OPENED, asked.channel))
        opened = frames.body_of(await hear(operator))
        await asyncio.to_thread(restart, own)
        operator = await dial(own, own.token("member"))
        resume = {name: opened[name] for name in ("stream_id", "resume")}
        await operator.send(frames.encode_json(Kind.RESUME, STREAM, **resume, received={}))
        await asyncio.sleep(1)  # so that it waits for the machine; were it slower, there would be nothing to see
        ended = await asyncio.to_thread(owner.post, f"{sessions}/{opened['stream_id']}/terminate")
        assert ended.status_code == 200, ended.text
        await link(opened["stream_id"])
        return await close_code(operator)

    assert asyncio.run(play()) == CloseCode.GONE


async def hear(opened: ClientConnection) -> Frame:
    """Return the next frame on a bare connection."""
    async with asyncio.timeout(30):
        return frames.decode(await opened.recv(decode=False))
