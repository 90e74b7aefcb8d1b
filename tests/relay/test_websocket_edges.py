"""What RFC 6455 lets a peer do with a message, and what not: in pieces, by the byte, too long, without a mask."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import CloseCode as Closed
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]

from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, PROTOCOL, STREAM, CloseCode, Kind
from cmdop_wire.messages import head_of
from tests.agents import Machine, start_agent
from tests.relay.bare import close_code, dial
from tests.relay.seats import read_until, stream
from tests.world import World

pytestmark = pytest.mark.timeout(120)

OPEN = frames.encode_json(Kind.OPEN, STREAM, kind="command", machine="web-1", argv=["cat"])
TYPED = b"typed by somebody\n"
INPUT = frames.encode_data(Kind.INPUT, STREAM, 0, TYPED)


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "web-1", "web-1")
    yield running
    running.stop()


def whole(message: bytes) -> list[bytes]:
    """Return a message as it is nearly always sent."""
    return [Frame(Opcode.BINARY, message).serialize(mask=True)]


def fragmented(message: bytes) -> list[bytes]:
    """Return a message in three frames, with a ping between them."""
    first, middle, last = message[:3], message[3:9], message[9:]
    return [
        Frame(Opcode.BINARY, first, fin=False).serialize(mask=True),
        Frame(Opcode.PING, b"between").serialize(mask=True),
        Frame(Opcode.CONT, middle, fin=False).serialize(mask=True),
        Frame(Opcode.CONT, last).serialize(mask=True),
    ]


def by_the_byte(message: bytes) -> list[bytes]:
    """Return a message of which every byte comes by itself."""
    return [bytes((each,)) for each in whole(message)[0]]


def in_one_with_others(message: bytes) -> list[bytes]:
    """Return a message that comes in one piece with pings and a part of it."""
    ping = Frame(Opcode.PING, b"").serialize(mask=True)
    head, tail = (data := ping + ping + whole(message)[0])[:-4], data[-4:]
    return [head, tail + ping]


@pytest.mark.parametrize("sent_as", [whole, fragmented, by_the_byte, in_one_with_others])
def test_a_message_is_the_same_in_whichever_pieces_it_comes(world: World, machine: Machine, sent_as: object) -> None:
    assert callable(sent_as)

    async def play() -> bytes:
        socket = await dial(world, world.token("member"))
        for message in (OPEN, INPUT):
            for piece in sent_as(message):
                socket.transport.write(piece)
                await asyncio.sleep(0)
            if message is OPEN:
                assert frames.decode(await socket.recv(decode=False)).kind is Kind.OPENED
        async with asyncio.timeout(30):
            while True:
                frame = frames.decode(await socket.recv(decode=False))
                if frame.kind is Kind.OUTPUT:
                    await socket.close()
                    return bytes(frames.data_of(frame)[1])

    assert asyncio.run(play()) == TYPED


@pytest.mark.parametrize("size", [0, 1, 9, -1, None], ids=["none", "a byte", "a part", "all but a byte", "all"])
@pytest.mark.parametrize(("is_good", "apart"), [(True, 0), (True, 0.002), (False, 0)])
@pytest.mark.parametrize("sent_as", [whole, fragmented])
def test_what_comes_before_the_answer_to_the_upgrade_waits_for_it(
    world: World, sent_as: object, apart: float, is_good: bool, size: int | None
) -> None:
    assert callable(sent_as)
    opening = frames.encode_json(Kind.OPEN, STREAM, kind="command", machine="nowhere", argv=["true"])
    said = b"".join(sent_as(opening))
    early = said[:size]
    host, port = world.server.url.removeprefix("http://").split(":")
    credential = world.token("member") if is_good else "cmdat_" + "x" * 36
    request = (
        f"GET /relay/client HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\nAuthorization: Bearer {credential}\r\n\r\n"
    ).encode()

    async def play() -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(30):
            writer.write(request + (b"" if apart else early))
            if apart:
                await asyncio.sleep(apart)
                writer.write(early)
            head = await reader.readuntil(b"\r\n\r\n")
            if is_good:
                writer.write(said[len(early) :])
            answered = b""
            while not answered.endswith(b"not_found") and (piece := await reader.read(4096)):
                answered += piece
        writer.close()
        return head, answered

    head, answered = asyncio.run(play())
    assert head.startswith(b"HTTP/1.1 101 " if is_good else b"HTTP/1.1 401 ")
    assert answered.count(b'"code":"not_found"') == is_good  # once, or not at all
    assert is_good or answered == b"no usable credential"


def masked(head: bytes, data: bytes) -> bytes:
    """Return what a client sends that masks as it must."""
    mask = secrets.token_bytes(4)
    return bytes((head[0], head[1] | 0x80)) + head[2:] + mask + apply_mask(data, mask)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Frame(Opcode.BINARY, INPUT).serialize(mask=False), Closed.PROTOCOL_ERROR),
        (masked(head_of(LIMITS.frame + 1), b""), Closed.MESSAGE_TOO_BIG),
        (masked(b"\x82\x7f" + b"\x7f" + b"\xff" * 7, b""), Closed.MESSAGE_TOO_BIG),
        (masked(b"\xc2\x05", b"hello"), Closed.PROTOCOL_ERROR),
        (masked(b"\x83\x05", b"hello"), Closed.PROTOCOL_ERROR),
        (masked(b"\x80\x05", b"hello"), Closed.PROTOCOL_ERROR),
        (masked(b"\x02\x05", b"hello") + masked(b"\x82\x05", b"hello"), Closed.PROTOCOL_ERROR),
        (masked(b"\x09\x05", b"hello"), Closed.PROTOCOL_ERROR),
        (masked(b"\x81\x05", b"hello"), CloseCode.MALFORMED),
        (masked(b"\x82\x00", b""), CloseCode.MALFORMED),
    ],
    ids=[
        "no mask",
        "too long",
        "as long as can be said",
        "reserved bit",
        "no such type",
        "goes on with nothing",
        "another in the midst of one",
        "a ping in pieces",
        "text",
        "nothing in it",
    ],
)
def test_who_breaks_the_rules_is_closed_with_the_code_for_it_and_nobody_else_notices(
    world: World, machine: Machine, wrong: bytes, code: int
) -> None:
    async def play() -> None:
        async with stream(world, world.token("admin"), kind="session", machine="web-1", argv=["cat"]) as other:
            hostile = await dial(world, world.token("member"))
            await hostile.send(OPEN)
            assert frames.decode(await hostile.recv(decode=False)).kind is Kind.OPENED
            hostile.transport.write(wrong + whole(INPUT)[0])
            assert await close_code(hostile) == code
            await other.send(b"still here\n")
            await read_until(other, b"still here")

    asyncio.run(play())
