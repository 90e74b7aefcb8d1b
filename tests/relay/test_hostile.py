"""A hostile machine and a hostile client: whatever they call their frames, they are cut, it is in the log, and nobody
else's bytes change."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection

from cmdop_wire import frames
from cmdop_wire.frames import LINK, STREAM, VERSION, CloseCode, Frame, Kind
from tests.agents import Machine, register, start_agent
from tests.relay.bare import close_code, dial
from tests.relay.seats import read_until, stream
from tests.terminal import eventually
from tests.world import World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def victim(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "web", "web-1")
    yield running
    running.stop()


async def hear(socket: ClientConnection) -> Frame:
    """Return the next frame of a bare connection."""
    async with asyncio.timeout(20):
        return frames.decode(await socket.recv(decode=False))


def told(world: World, action: str, tenant: str) -> list[tuple[str, str]]:
    """Return who did something of that name in a workspace, and with what result."""
    api = world.as_("owner") if tenant == "acme" else world.as_("rival")
    path = f"/workspaces/{getattr(world, tenant).slug}/events?action={action}"
    return [(each["actor"]["id"], each["result"]) for each in api.get(path).json()["items"]]


@pytest.mark.parametrize("tenant", ["acme", "globex"])
@pytest.mark.parametrize("kind", [Kind.OUTPUT, Kind.EXIT, Kind.OPENED, Kind.WINDOW])
def test_a_machine_that_speaks_for_another_is_cut_and_told_on(
    world: World, victim: Machine, tmp_path: Path, tenant: str, kind: Kind
) -> None:
    who = "owner" if tenant == "acme" else "rival"
    hostile = register(world, tmp_path / "hostile", "evil-1", tenant, who)
    body = frames.encode_data(kind, 1, 0, b"smuggled\n") if kind is Kind.OUTPUT else frames.encode_json(kind, 1)

    async def play() -> None:
        async with stream(world, world.token("member"), kind="command", machine="web-1", argv=["cat"]) as mine:
            await mine.send(b"first\n")
            await read_until(mine, b"first\n")
            link = await dial(world, hostile.credential, "/relay/agent")
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=[]))
            assert frames.decode(await link.recv(decode=False)).kind is Kind.WELCOME
            await link.send(body)  # channel 1 is the victim's, on the victim's own link
            assert await close_code(link) == CloseCode.MALFORMED
            await mine.send(b"second\n")
            assert await read_until(mine, b"second\n") == b"second\n"

    asyncio.run(play())
    eventually(lambda: told(world, "machine.cut", tenant), lambda events: (hostile.id, "denied") in events)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_machine_that_names_another_s_stream_learns_nothing_and_keeps_nothing_alive(
    world: World, tmp_path: Path, tenant: str
) -> None:
    victim = register(world, tmp_path / "bare", "bare-1")
    hostile = register(world, tmp_path / "hostile", "evil-1", tenant, "owner" if tenant == "acme" else "rival")
    key = world.key("member", "commands:execute")

    async def linked(machine: Machine, *kept: str) -> ClientConnection:
        link = await dial(world, machine.credential, "/relay/agent")
        channels = [{"stream_id": each} for each in kept]
        await link.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=channels))
        assert (await hear(link)).kind is Kind.WELCOME
        return link

    async def play() -> None:
        link = await linked(victim)
        operator = await dial(world, key["text"])
        await operator.send(frames.encode_json(Kind.OPEN, STREAM, kind="session", machine="bare-1"))
        asked = await hear(link)
        await link.send(frames.encode_json(Kind.OPENED, asked.channel))
        session = frames.body_of(await hear(operator))["stream_id"]  # who may see the workspace's sessions knows it
        await link.close()
        gone = await asyncio.to_thread(world.as_("owner").delete, f"/workspaces/{world.acme.slug}/keys/{key['id']}")
        assert gone.status_code == 200
        assert await close_code(operator) == CloseCode.AUTH
        evil = await linked(hostile, session)
        await evil.send(frames.encode_json(Kind.PROBE, LINK, nonce="?"))
        assert (await hear(evil)).kind is Kind.PROBED  # with nothing before it
        link = await linked(victim, session)
        resumed, closed = await hear(link), await hear(link)
        assert (resumed.kind, frames.body_of(resumed)["stream_id"]) == (Kind.RESUME, session)
        assert (closed.kind, frames.body_of(closed)["reason"]) == (Kind.CLOSE, "revoked")

    asyncio.run(play())


@pytest.mark.parametrize("channel", [LINK, STREAM + 1, 77])
def test_a_client_opens_and_resumes_on_its_own_channel_only(world: World, victim: Machine, channel: int) -> None:
    async def play() -> None:
        for first in (
            frames.encode_json(Kind.OPEN, channel, kind="command", machine="web-1", argv=["true"]),
            frames.encode_json(Kind.RESUME, channel, stream_id="ses_x", resume="x", received={}),
        ):
            socket = await dial(world, world.token("member"))
            await socket.send(first)
            assert await close_code(socket) == CloseCode.MALFORMED

    asyncio.run(play())


@pytest.mark.parametrize("channel", [LINK, STREAM + 1, 77])
def test_a_client_that_speaks_for_another_is_cut_and_told_on(world: World, victim: Machine, channel: int) -> None:
    async def play() -> None:
        async with stream(world, world.token("admin"), kind="command", machine="web-1", argv=["cat"]) as mine:
            hostile = await dial(world, world.token("member"))
            await hostile.send(frames.encode_json(Kind.OPEN, STREAM, kind="command", machine="web-1", argv=["cat"]))
            assert frames.decode(await hostile.recv(decode=False)).kind is Kind.OPENED
            await hostile.send(frames.encode_data(Kind.INPUT, channel, 0, b"smuggled\n"))
            assert await close_code(hostile) == CloseCode.MALFORMED
            await mine.send(b"mine\n")
            assert await read_until(mine, b"mine\n") == b"mine\n"

    asyncio.run(play())
    eventually(lambda: told(world, "stream.cut", "acme"), lambda events: (world["member"].id, "denied") in events)


@pytest.mark.parametrize("kind", ["PROBE", "REAUTH"])
@pytest.mark.parametrize("who", ["guest", "member"])
def test_who_asks_without_end_is_cut_and_nobody_else_is(world: World, victim: Machine, kind: str, who: str) -> None:
    token = world.token(who)
    question = frames.encode_json(Kind[kind], STREAM, nonce="again", token=token)
    asked = {"kind": "observe"} if who == "guest" else {"kind": "command", "argv": ["sleep", "600"]}

    async def play() -> None:
        async with stream(world, world.token("admin"), kind="session", machine="web-1", argv=["cat"]) as other:
            asking = await dial(world, token)
            await asking.send(frames.encode_json(Kind.OPEN, STREAM, machine="web-1", **asked))
            assert frames.decode(await asking.recv(decode=False)).kind is Kind.OPENED
            with contextlib.suppress(ConnectionClosed):
                for _ in range(1_000):
                    await asking.send(question)
            assert await close_code(asking) == CloseCode.MALFORMED
            await other.send(b"still here\n")
            await read_until(other, b"still here")

    asyncio.run(play())
    eventually(lambda: told(world, "stream.cut", "acme"), lambda events: (world[who].id, "denied") in events)


def test_a_machine_that_asks_without_end_is_cut(world: World, tmp_path: Path) -> None:
    hostile = register(world, tmp_path / "hostile", "evil-1", "globex", "rival")

    async def play() -> None:
        link = await dial(world, hostile.credential, "/relay/agent")
        await link.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=[]))
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                await link.send(frames.encode_json(Kind.PROBE, LINK, nonce="again"))
        assert await close_code(link) == CloseCode.MALFORMED

    asyncio.run(play())
    eventually(lambda: told(world, "machine.cut", "globex"), lambda events: (hostile.id, "denied") in events)


def test_a_machine_that_tells_without_end_is_cut_and_holds_up_no_record(world: World, tmp_path: Path) -> None:
    hostile = register(world, tmp_path / "hostile", "evil-1", "globex", "rival")
    other = register(world, tmp_path / "other", "web-1")
    event = frames.encode_json(Kind.EVENT, LINK, verdict="deny", operation="session", request="open")
    hello = frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=[])
    api = world.as_("owner")

    def metrics() -> object:
        return api.get(f"/workspaces/{world.acme.id}/machines/{other.id}").json()["metrics"]

    async def play() -> None:
        quiet = await dial(world, other.credential, "/relay/agent")
        await quiet.send(hello)
        assert frames.decode(await quiet.recv(decode=False)).kind is Kind.WELCOME

        async def talk() -> None:
            link = await dial(world, hostile.credential, "/relay/agent")
            await link.send(hello)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await link.send(event)
                    await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        await asyncio.sleep(1)
        await quiet.send(frames.encode_json(Kind.HEARTBEAT, LINK, metrics={"load": 4.25}))
        async with asyncio.timeout(10):
            while not (await asyncio.to_thread(metrics) or {}):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(60):
            await talking

    asyncio.run(play())
    eventually(lambda: told(world, "machine.cut", "globex"), lambda events: (hostile.id, "denied") in events)
    assert told(world, "gate.untold", "globex") == []


def test_a_machine_that_dials_again_may_tell_no_more_than_before(world: World, tmp_path: Path) -> None:
    hostile = register(world, tmp_path / "hostile", "evil-1", "globex", "rival")
    event = frames.encode_json(Kind.EVENT, LINK, verdict="deny", operation="session", request="open")

    async def play() -> None:
        for code in (CloseCode.DONE, CloseCode.MALFORMED):
            link = await dial(world, hostile.credential, "/relay/agent")
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=[]))
            assert frames.decode(await link.recv(decode=False)).kind is Kind.WELCOME
            with contextlib.suppress(ConnectionClosed):
                for _ in range(100):
                    await link.send(event)
                await link.send(frames.encode_json(Kind.CLOSE, LINK))
            assert await close_code(link) == code

    asyncio.run(play())


@pytest.mark.slow
def test_a_machine_whose_gate_is_busy_is_not_cut(world: World, victim: Machine) -> None:
    token = world.token("member")

    async def play() -> None:
        free = asyncio.Semaphore(16)

        async def ask() -> None:
            async with free, stream(world, token, kind="command", machine="web-1", argv=["true"]) as one:
                assert await one.read() is None

        await asyncio.gather(*(ask() for _ in range(300)))

    asyncio.run(play())
    assert told(world, "machine.cut", "acme") == []
