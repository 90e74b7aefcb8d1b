"""Sessions over the relay: one operator, mute observers, nobody else's channel, nothing lost when a link is."""

import asyncio
import hashlib
import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import connect

from cmdop_sdk.errors import NotFound, PermissionDenied, SessionConflict, StreamClosed
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, PROTOCOL, STREAM, CloseCode, Kind
from tests.agents import Machine, register, run, start_agent
from tests.relay import deaf
from tests.relay.bare import close_code, dial
from tests.relay.seats import read_until, stream
from tests.terminal import eventually
from tests.world import World

pytestmark = pytest.mark.timeout(120)
SHELL = {"kind": "session", "machine": "web-1", "argv": ["/bin/sh"]}


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "web", "web-1")
    yield running
    running.stop()


def test_a_second_operator_is_refused_and_told_who_has_it(world: World, machine: Machine) -> None:
    async def play() -> str:
        async with stream(world, world.token("member"), **SHELL) as first:
            with pytest.raises(SessionConflict, match=world["member"].email):
                async with stream(world, world.token("admin"), **SHELL):
                    pass
            for who in ("guest", "member"):  # to take over is an owner's and an admin's right (D-26)
                with pytest.raises(PermissionDenied):
                    async with stream(world, world.token(who), **SHELL, take_over=True):
                        pass
            async with stream(world, world.token("admin"), **SHELL, take_over=True) as second:
                await second.send(b"echo mine $((40 + 2))\n")
                await read_until(second, b"mine 42")
            with pytest.raises(StreamClosed) as ended:
                await read_until(first, b"what never comes")
            return ended.value.reason

    assert asyncio.run(play()) == "taken_over"


@pytest.mark.parametrize(("who", "said"), [("member", "forbidden"), ("admin", "")])
def test_a_ticket_takes_over_for_whom_the_role_allows_it(world: World, machine: Machine, who: str, said: str) -> None:
    asked = f"/workspaces/{world.acme.id}/machines/{machine.id}/ticket"

    async def play() -> None:
        async with stream(world, world.token("owner"), **SHELL) as first:
            ticket = world.as_(who).post(asked, json={"right": "session.operate"}).json()["secret"]
            second = await dial(world, ticket)
            await second.send(frames.encode_json(Kind.OPEN, STREAM, **SHELL, take_over=True))
            answer = frames.decode(await second.recv(decode=False))
            assert answer.kind is (Kind.REFUSED if said else Kind.OPENED)
            assert frames.body_of(answer).get("code", "") == said
            if said:
                await first.send(b"echo mine $((40 + 2))\n")
                await read_until(first, b"mine 42")
            else:
                with pytest.raises(StreamClosed, match="took the session over"):
                    await read_until(first, b"what never comes")
            await second.close()

    asyncio.run(play())


def test_a_clean_close_frees_the_machine_at_once(world: World, machine: Machine) -> None:
    async def play() -> None:
        for _ in range(4):  # faster than ends are written down
            async with stream(world, world.token("member"), **SHELL):
                pass
            async with stream(world, world.token("admin"), **SHELL):
                pass

    asyncio.run(play())


@pytest.mark.slow
def test_an_operator_who_is_not_there_any_more_is_no_holder(world: World, machine: Machine) -> None:
    async def play() -> int | None:
        gone = await deaf.dial(world, "member", **SHELL)  # its connection stands, and nobody answers on it
        async with stream(world, world.token("admin"), **SHELL) as second:
            await second.send(b"echo mine $((40 + 2))\n")
            await read_until(second, b"mine 42")
            with pytest.raises(SessionConflict):
                async with stream(world, world.token("member"), **SHELL):
                    pass
        gone.transport.resume_reading()
        return await close_code(gone)

    assert asyncio.run(play()) == CloseCode.CONFLICT


def test_an_observer_sees_and_has_no_effect_whatever_they_send(world: World, machine: Machine, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    chance = random.Random(7)

    async def play() -> None:
        async with stream(world, world.token("member"), **SHELL) as operator:
            await operator.send(b"PS1=; echo ready $((40 + 2))\n")
            await read_until(operator, b"ready 42")
            guest = await dial(world, world.token("guest"))
            await guest.send(frames.encode_json(Kind.OPEN, STREAM, kind="observe", machine="web-1"))
            opened = frames.decode(await guest.recv(decode=False))
            assert opened.kind is Kind.OPENED
            typed = f"touch {marker}\n".encode()
            for kind in Kind:
                if kind in (Kind.CLOSE, Kind.REAUTH):
                    continue
                await guest.send(frames.encode(kind, STREAM, typed))
                await guest.send(frames.encode_data(Kind.INPUT, STREAM, 0, typed))
                await guest.send(frames.encode_json(Kind.SIGNAL, STREAM, name="KILL"))
            for _ in range(200):
                await guest.send(frames.encode(chance.choice(list(Kind)[:10]), STREAM, chance.randbytes(20)))
            await operator.send(b"echo alive $((40 + 2)); stty size\n")
            seen = await read_until(operator, b"24 80")
            assert b"alive 42" in seen
            await guest.close()

    asyncio.run(play())
    assert not marker.exists()


@pytest.mark.parametrize(
    "rubbish", [b"", b"\x00", b"\xff" * 5, b"\x21" + b"\0" * 4, b"\x03\0\0\0\x01{", b"\x03\0\0\0\x01[]"]
)
def test_what_is_no_frame_ends_the_connection(world: World, machine: Machine, rubbish: bytes) -> None:
    async def play() -> None:
        socket = await dial(world, world.token("member"))
        await socket.send(rubbish)
        assert await close_code(socket) == CloseCode.MALFORMED

    asyncio.run(play())


def test_another_tenants_machine_is_an_unknown_machine(world: World, machine: Machine) -> None:
    async def play(who: str, ref: str) -> str:
        with pytest.raises(NotFound) as refused:
            async with stream(world, world.token(who), kind="command", machine=ref, argv=["true"]):
                pass
        assert refused.value.message.count(ref) == 1
        return refused.value.message.replace(ref, "M")

    by_name = asyncio.run(play("rival", "web-1"))
    by_id = asyncio.run(play("rival", machine.id))
    nonsense = asyncio.run(play("rival", "mch_00000000000000000000"))
    assert by_name == by_id == nonsense


@pytest.mark.parametrize("who", ["client", "machine"])
def test_a_lost_link_loses_and_repeats_nothing(world: World, machine: Machine, tmp_path: Path, who: str) -> None:
    size = 24 * 1024 * 1024
    content = random.Random(3).randbytes(size)
    source = tmp_path / "source"
    source.write_bytes(content)

    async def play() -> tuple[str, int]:
        digest, count, cuts = hashlib.sha256(), 0, 0
        async with stream(
            world, world.token("member"), kind="command", machine="web-1", argv=["cat", str(source)], timeout=100
        ) as transfer:
            while (piece := await transfer.read()) is not None:
                digest.update(piece.data)
                count += len(piece.data)
                if count > (cuts + 1) * size // 4 and cuts < 2:
                    cuts += 1
                    await cut(transfer)
        assert cuts == 2
        return digest.hexdigest(), count

    async def cut(transfer: object) -> None:
        if who == "client":
            transfer._connection.transport.abort()  # type: ignore[attr-defined] # what a lost network looks like
        else:
            drop = partial(world.server.backstage, "tests.relay.backstage:drop", machine_id=machine.id)
            assert await asyncio.to_thread(drop) == 1

    assert asyncio.run(play()) == (hashlib.sha256(content).hexdigest(), size)


def test_a_cloned_credential_is_refused_while_the_first_is_alive(world: World, tmp_path: Path) -> None:
    first = run(register(world, tmp_path / "one", "web-1"))
    try:

        async def clone() -> int | None:
            socket = await connect(
                "ws" + world.server.url.removeprefix("http") + "/relay/agent",
                additional_headers={"Authorization": f"Bearer {first.credential}"},
                subprotocols=[websockets.Subprotocol(PROTOCOL)],
                compression=None,
            )
            await socket.send(frames.encode_json(Kind.HELLO, 0, version=1, agent="0", channels=[]))
            return await close_code(socket)

        assert asyncio.run(clone()) == CloseCode.CONFLICT

        async def still_there() -> None:
            async with stream(world, world.token("member"), kind="command", machine="web-1", argv=["true"]) as command:
                while await command.read() is not None:
                    pass
                assert command.exit is not None
                assert command.exit["status"] == 0

        asyncio.run(still_there())
    finally:
        first.stop()


def test_what_ended_while_the_machine_was_away_ends_when_it_is_back(
    world: World, machine: Machine, tmp_path: Path
) -> None:
    key, told = world.key("member", "commands:execute"), tmp_path / "pid"
    line = ["/bin/sh", "-c", f"echo $$ > {told}.new && mv {told}.new {told} && exec sleep 600"]

    async def play() -> None:
        async with stream(world, key["text"], kind="command", machine="web-1", argv=line) as running:
            async with asyncio.timeout(30):
                while not told.exists():
                    await asyncio.sleep(0.05)
            machine.process.send_signal(signal.SIGSTOP)  # it does not come back before the key is revoked
            try:
                drop = partial(world.server.backstage, "tests.relay.backstage:drop", machine_id=machine.id)
                assert await asyncio.to_thread(drop) == 1
                owner = world.as_("owner")
                gone = await asyncio.to_thread(owner.delete, f"/workspaces/{world.acme.id}/keys/{key['id']}")
                assert gone.status_code == 200
                with pytest.raises(StreamClosed, match="revoked"):
                    await read_until(running, b"what never comes")
            finally:
                machine.process.send_signal(signal.SIGCONT)

    asyncio.run(play())
    pid = int(told.read_text())
    # Long before the grace is over, for which the machine would keep it for whoever was lost.
    eventually(lambda: Path(f"/proc/{pid}").exists(), lambda runs: not runs, LIMITS.grace * 0.7)
