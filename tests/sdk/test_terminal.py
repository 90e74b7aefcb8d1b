"""Terminals, commands and files of the SDK through a real server and a real agent."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cmdop_sdk.attached import Terminal
from cmdop_sdk.auth import MemoryTokenSource
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import (
    AgentOffline,
    InvalidRequest,
    MachineRefused,
    NotFound,
    PermissionDenied,
    SessionConflict,
    StreamClosed,
)
from cmdop_sdk.stream_state import Notice
from tests.agents import Machine, start_agent
from tests.processes import Postgres, Server
from tests.sdk.test_against_server import signed_in
from tests.world import World, make_world

EVERYTHING = ("machines:read", "commands:execute", "sessions:observe", "files:read", "files:write")


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """Return a machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "agent-of-web-1", "web-1")
    yield running
    running.stop()


def acting(world: World, who: str = "owner", server: str | None = None) -> AsyncCMDOPClient:
    """Return a client that acts with a key of ``who``."""
    key = world.key(who, *EVERYTHING)["text"]
    return AsyncCMDOPClient.remote(api_key=key, server=server or world.server.url)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop, and see that no task is left over."""

    async def whole() -> None:
        async with asyncio.timeout(90):
            await test()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(whole())


async def until(terminal: Terminal, text: bytes) -> bytes:
    """Read until ``text`` has been shown; return everything so far."""
    shown = b""
    while text not in shown:
        shown += await anext(terminal)
    return shown


def test_a_command_s_whole_life(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world) as client:
            execute = client.terminal.execute
            done = await execute("web-1", ["sh", "-c", "echo out; echo err >&2; exit 3"])
            assert (done.exit_code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
            assert 0 < done.duration < 30
            words = ["printf", "%s|", "a b", "$HOME", "*", "'", "ü", "; rm -rf /"]
            assert (await execute(machine.id, words)).text == "|".join(words[2:]) + "|"
            assert (await execute("WEB-1", "echo $((6*7)) | cat", shell=True)).text == "42\n"
            stdin = random.Random(2).randbytes(3_000_000)
            done = await execute("web-1", ["cat"], stdin=stdin)
            assert done.stdout == stdin
            done = await execute("web-1", ["sh", "-c", "kill -TERM $$"])
            assert (done.exit_code, done.signal) == (143, "TERM")
            done = await execute("web-1", ["sleep", "60"], timeout=0.5)
            assert (done.exit_code, done.timed_out) == (124, True)
            done = await execute("web-1", ["head", "-c", "5000000", "/dev/zero"], output_limit=1000)
            assert (len(done.stdout), done.truncated, done.exit_code) == (1000, True, 0)
            with pytest.raises(MachineRefused) as missing:
                await execute("web-1", ["no-such-command-here"])
            assert missing.value.code == "command_not_found"

    run(test)


def test_commands_side_by_side(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world) as client:
            results = await asyncio.gather(
                *(client.terminal.execute("web-1", ["echo", str(number)]) for number in range(20))
            )
            assert [result.text for result in results] == [f"{number}\n" for number in range(20)]

    run(test)


def test_a_running_command_is_fed_and_signalled(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world) as client:
            script = "trap 'echo bye >&2; exit 7' INT; read line; echo got $line; while :; do sleep 0.05; done"
            async with client.terminal.start("web-1", ["sh", "-c", script]) as command:
                await command.send(b"this\n")
                heard = []
                async for where, data in command:
                    heard.append((where, bytes(data)))
                    if where == "stdout":
                        await command.signal("INT")
            assert heard == [("stdout", b"got this\n"), ("stderr", b"bye\n")]
            assert command.exit.exit_code == 7

    run(test)


def test_a_terminal_is_operated_and_watched(world: World, machine: Machine) -> None:
    guest = signed_in(world, "guest").pair  # guests have no keys

    async def test() -> None:
        watching = AsyncCMDOPClient.with_source(MemoryTokenSource(guest), guest.origin, guest.workspace_id)
        async with acting(world) as client, watching, acting(world, "member") as second:
            assert await client.terminal.get_active_session("web-1") is None
            async with client.terminal.attach("web-1", cols=93, rows=31, argv=["/bin/sh"]) as terminal:
                session = await client.terminal.get_active_session("web-1")
                assert session is not None
                assert (session.id, session.state, session.operator.kind) == (
                    terminal.session_id,
                    "active",
                    "personal_key",
                )
                assert terminal.machine_id == machine.id
                await terminal.send("stty size; echo mark-$((1+1))\n")
                assert b"31 93" in await until(terminal, b"mark-2")
                await terminal.resize(100, 40)
                await terminal.send("stty size; echo mark-$((2+2))\n")
                assert b"40 100" in await until(terminal, b"mark-4")

                for ref in ("web-1", terminal.session_id):
                    async with watching.terminal.attach(ref, "observer") as seen:
                        assert b"mark-4" in await until(seen, b"mark-4")  # what was shown before
                        await terminal.send("echo seen-$((5*5))\n")
                        await until(seen, b"seen-25")
                    await until(terminal, b"seen-25")
                with pytest.raises(PermissionDenied):
                    async with watching.terminal.attach("web-1"):
                        pass
                with pytest.raises(SessionConflict) as taken:
                    async with second.terminal.attach("web-1"):
                        pass
                assert taken.value.details["holder"]
                await terminal.send("exit 5\n")
                async for _ in terminal:
                    pass
                assert terminal.exit is not None
                assert terminal.exit.exit_code == 5
            while await client.terminal.get_active_session("web-1") is not None:
                await asyncio.sleep(0.05)  # the lease is free, its record a batch later
            (ended,) = await client.terminal.list_sessions("web-1").all()
            assert (ended.id, ended.state, ended.observers) == (session.id, "ended", 2)

    run(test)


def test_a_session_is_ended_by_an_admin(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world, "member") as client:
            async with client.terminal.attach("web-1", argv=["/bin/sh"]) as terminal:
                path = f"/workspaces/{world.acme.id}/sessions/{terminal.session_id}/terminate"
                answer = await asyncio.to_thread(world.as_("admin").post, path)
                assert answer.status_code == 200
                with pytest.raises(StreamClosed) as closed:
                    async for _ in terminal:
                        pass
                assert (closed.value.reason, closed.value.code) == ("ended_by_admin", "forbidden")

    run(test)


def test_a_machine_of_another_workspace_is_none(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world, "rival") as client:
            for ref in ("web-1", machine.id):
                with pytest.raises(NotFound):
                    await client.terminal.get_active_session(ref)
                with pytest.raises(NotFound):
                    await client.terminal.execute(ref, ["true"])
                with pytest.raises(NotFound):
                    async with client.terminal.attach(ref):
                        pass
                with pytest.raises(NotFound):
                    await client.files.get(ref, "x")

    run(test)


def test_a_machine_whose_agent_is_away(world: World, machine: Machine) -> None:
    async def test() -> None:
        machine.stop()
        async with acting(world) as client:
            with pytest.raises(AgentOffline):
                await client.terminal.execute("web-1", ["true"])

    run(test)


def test_files_there_and_back(world: World, machine: Machine, tmp_path: Path) -> None:
    async def test() -> None:
        content = random.Random(5).randbytes(5_000_003)
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(content)
        source.chmod(0o750)
        async with acting(world) as client:
            sent = await client.files.put("web-1", "sent.bin", source)
            assert (sent.size, sent.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            got = await client.files.get("web-1", "sent.bin", back)
            assert (got.sha256, got.mode) == (sent.sha256, 0o750)
            assert back.read_bytes() == content
            await client.files.put("web-1", "empty", b"", mode=0o600)
            empty = await client.files.get("web-1", "empty")
            assert (empty.content, empty.mode) == (b"", 0o600)
            for path, code in (
                ("missing", "no_such_file"),
                ("../outside", "outside_root"),
                ("/etc/passwd", "outside_root"),
            ):
                with pytest.raises(MachineRefused) as refused:
                    await client.files.get("web-1", path)
                assert refused.value.code == code

    run(test)


# -- a network that breaks --------------------------------------------------------------------------------------------


class Wire:
    """A real connection in between that can be cut and held away."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rsplit(":", 1)[1])
        self._writers: set[asyncio.StreamWriter] = set()
        self.carried = 0
        self.is_away = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            writer.transport.abort()
            return
        there, out = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, out}
        await asyncio.gather(self._carry(reader, out), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.carried += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self) -> None:
        """Break every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    """Run a wire to ``url`` for a while."""
    wire = Wire(url)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield wire
    server.close()
    wire.cut()
    await asyncio.sleep(0.05)


def test_a_network_that_breaks_again_and_again_changes_no_byte(world: World, machine: Machine) -> None:
    content = random.Random(9).randbytes(12_000_000)

    async def test() -> None:
        async with wired(world.server.url) as wire, acting(world, server=wire.url) as client:

            async def disturb() -> None:
                last = 0
                for _ in range(6):
                    while wire.carried < last + 3_000_000:
                        await asyncio.sleep(0.005)
                    last = wire.carried
                    wire.cut()

            disturbing = asyncio.create_task(disturb())
            done = await client.terminal.execute("web-1", ["cat"], stdin=content, timeout=60)
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
            assert done.exit_code == 0
            assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest()

    run(test)


def test_what_is_typed_while_the_network_is_away_arrives_later_once(world: World, machine: Machine) -> None:
    said: list[str] = []

    async def test() -> None:
        away, back = asyncio.Event(), asyncio.Event()

        def note(notice: Notice) -> None:
            said.append(notice.code)
            {"reconnecting": away, "resumed": back}[notice.code].set()

        async with wired(world.server.url) as wire, acting(world, server=wire.url) as client:
            async with client.terminal.attach("web-1", argv=["/bin/sh"], on_notice=note) as terminal:
                await terminal.send("echo begun-$((1+1))\n")
                await until(terminal, b"begun-2")
                wire.is_away = True
                wire.cut()
                await away.wait()
                await terminal.send("echo typed-$((3+3)) >> typed-here\n")
                await asyncio.sleep(0.5)
                wire.is_away = False
                await back.wait()
                await terminal.send("cat typed-here; rm typed-here; exit\n")
                shown = b"".join([data async for data in terminal])
                assert shown.count(b"typed-6") == 1

    run(test)
    assert said == ["reconnecting", "resumed"]


def test_the_end_of_a_command_is_told_although_the_network_broke_meanwhile(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with wired(world.server.url) as wire, acting(world, server=wire.url) as client:
            async with client.terminal.start(
                "web-1", ["sh", "-c", "echo begun; sleep 0.7; echo done; exit 9"]
            ) as command:
                heard: list[Any] = []
                async for _, data in command:
                    heard.append(bytes(data))
                    if len(heard) == 1:
                        wire.is_away = True
                        wire.cut()
                        asyncio.get_running_loop().call_later(1.5, setattr, wire, "is_away", False)
            assert b"".join(heard) == b"begun\ndone\n"
            assert command.exit.exit_code == 9

    run(test)


@pytest.mark.slow
def test_a_relay_with_a_port_of_its_own_takes_tickets(
    new_server: Callable[..., Server], postgres: Postgres, tmp_path: Path
) -> None:
    server = new_server(postgres.database(), "--workers", "2")
    world = make_world(server)
    machine = start_agent(world, tmp_path / "agent-of-web-1", "web-1")
    guest = signed_in(world, "guest").pair

    async def test() -> None:
        watching = AsyncCMDOPClient.with_source(MemoryTokenSource(guest), guest.origin, guest.workspace_id)
        async with acting(world) as client, watching:
            assert (await client.terminal.execute("web-1", ["echo", "hello"])).text == "hello\n"
            assert (await client.files.put("web-1", "sent", b"content")).size == 7
            async with client.terminal.attach("web-1", argv=["/bin/sh"]) as terminal:
                for ref in ("web-1", terminal.session_id):
                    async with watching.terminal.attach(ref, "observer") as seen:
                        await terminal.send("echo seen-$((5*5))\n")
                        await until(seen, b"seen-25")
                await terminal.send("exit\n")
                assert terminal.exit is None
                async for _ in terminal:
                    pass

    try:
        run(test)
    finally:
        machine.stop()
        world.close()


def test_a_small_command_without_a_stream(world: World, machine: Machine) -> None:
    async def test() -> None:
        async with acting(world) as client:
            given = bytes(range(256))
            done = await client.machines.run("web-1", ["sh", "-c", "cat; echo err >&2; exit 3"], stdin=given)
            assert (done.exit_code, done.stdout, done.stderr, done.truncated) == (3, given, b"err\n", False)
            late = await client.machines.run("web-1", ["sleep", "60"], timeout=0.5)
            assert (late.exit_code, late.timed_out) == (124, True)
            with pytest.raises(MachineRefused) as missing:
                await client.machines.run("web-1", ["no-such-command-here"])
            assert missing.value.code == "command_not_found"
            with pytest.raises(InvalidRequest):
                await client.machines.run("web-1", ["true"], timeout=31)
            with pytest.raises(NotFound):
                await client.machines.run("web-9", ["true"])

    run(test)
