"""Streams against a small real relay: what travels, windows, waiting, observers, and what is left over."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from cmdop_sdk import stream as streams
from cmdop_sdk.errors import (
    InvalidRequest,
    StreamClosed,
    TimedOut,
    UnexpectedAnswer,
)
from cmdop_sdk.stream import Stream
from cmdop_sdk.stream_state import Notice
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, Kind
from tests.sdk.relaying import (
    COMMAND,
    KEY,
    OBSERVE,
    OPENED,
    Peer,
    output_of,
    relaying,
    run,
    with_stream,
)


def test_a_stream_says_what_it_wants_and_hands_on_what_comes() -> None:
    asked: list[Any] = []

    async def script(peer: Peer) -> None:
        asked.extend([peer.bearer, await peer.open(size=5)])
        await peer.output(0, b"out ")
        await peer.output(0, b"wrong", Kind.ERROR)
        await peer.output(4, b"put")
        await peer.word(Kind.EXIT, status=3, sent={"OUTPUT": 7, "ERROR": 5})
        await peer.socket.wait_closed()
        asked.append(peer.socket.close_code)

    async def use(stream: Stream) -> None:
        pieces = [(piece.kind, bytes(piece.data)) async for piece in stream]
        assert pieces == [(Kind.OUTPUT, b"out "), (Kind.ERROR, b"wrong"), (Kind.OUTPUT, b"put")]
        assert stream.exit is not None
        assert (stream.opened["size"], stream.exit["status"]) == (5, 3)
        await stream.send(b"too late is no error")
        assert await stream.read() is None

    with_stream(script, use)
    assert asked == [KEY, COMMAND, 1000]


def test_output_stops_at_the_window_until_it_is_read() -> None:
    grants: list[tuple[Kind, int]] = []

    async def script(peer: Peer) -> None:
        await peer.open()
        for offset in range(0, LIMITS.window, LIMITS.chunk):
            await peer.output(offset, bytes(LIMITS.chunk))
        await peer.word(Kind.PROBE, nonce="1")
        while (frame := await peer.frame()).kind is not Kind.PROBED:  # answered although nobody has read a byte
            grants.append(frames.window_of(frame))
        assert grants == []
        await peer.word(Kind.NOTICE, code="read", message="now")
        frame = await peer.frame()
        grants.append(frames.window_of(frame))
        await peer.word(Kind.EXIT, status=0, sent={"OUTPUT": LIMITS.window, "ERROR": 0})

    async def test() -> None:
        said = asyncio.Event()
        async with relaying(script) as relay:
            async with Stream(relay.dialer(), COMMAND, on_notice=lambda _: said.set()) as stream:
                await said.wait()
                assert len(await output_of(stream)) == LIMITS.window

    run(test)
    assert grants == [(Kind.OUTPUT, LIMITS.window + LIMITS.window // 2)]


@pytest.mark.parametrize("beyond", [1, LIMITS.chunk])
def test_a_relay_that_overruns_the_window_is_left(beyond: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        for offset in range(0, LIMITS.window, LIMITS.chunk):
            await peer.output(offset, bytes(LIMITS.chunk))
        await peer.output(LIMITS.window, bytes(beyond))
        with contextlib.suppress(Exception):
            await peer.socket.wait_closed()

    async def use(stream: Stream) -> None:
        await asyncio.sleep(0.05)
        with pytest.raises(UnexpectedAnswer, match="window"):
            await output_of(stream)

    with_stream(script, use)


def test_input_stops_at_the_window_until_it_is_granted() -> None:
    data = random.Random(7).randbytes(2 * LIMITS.input_window + 5)
    heard = bytearray()

    async def script(peer: Peer) -> None:
        await peer.open()
        limit, last = LIMITS.input_window, -1
        while True:
            frame = await peer.frame()
            if frame.kind is Kind.END:
                assert frames.end_of(frame) == (Kind.INPUT, len(data))
                break
            offset, piece = frames.data_of(frame)
            assert offset == len(heard)
            heard.extend(piece)
            assert len(heard) <= limit
            if len(heard) == limit != last:
                last, limit = limit, limit + LIMITS.input_window // 2
                await peer.send(frames.encode_window(STREAM, Kind.INPUT, limit))
        await peer.word(Kind.EXIT, status=0)

    async def use(stream: Stream) -> None:
        await asyncio.gather(stream.send(data[:1000]), stream.send(data[1000:]))
        await stream.end_input()
        await output_of(stream)
        with pytest.raises(InvalidRequest, match="end"):
            await stream.send(b"more")

    with_stream(script, use)
    assert heard == data


def test_an_approval_is_waited_for_longer_and_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    said: list[Notice] = []

    async def script(peer: Peer) -> None:
        await peer.expect(Kind.OPEN)
        await peer.word(Kind.NOTICE, code="waiting_for_approval", message="waiting for approval at the machine")
        await asyncio.sleep(0.5)
        await peer.word(Kind.OPENED, **OPENED)
        await peer.word(Kind.EXIT, status=0)

    async def use(stream: Stream) -> None:
        assert [notice.code for notice in said] == ["waiting_for_approval"]
        assert await output_of(stream) == b""

    with_stream(script, use, on_notice=said.append)


def test_a_machine_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.1)
    said = []

    async def script(peer: Peer) -> None:
        await peer.expect(Kind.OPEN)
        said.append((await peer.expect(Kind.CLOSE))["reason"])

    async def test() -> None:
        async with relaying(script) as relay:
            with pytest.raises(TimedOut, match="did not answer"):
                await Stream(relay.dialer(), COMMAND).__aenter__()
            await asyncio.sleep(0.05)

    run(test)
    assert said == ["closed"]


def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        for number in range(200):
            await peer.output(number, bytes([number]))
            await asyncio.sleep(0)
        await peer.word(Kind.EXIT, status=0, sent={"OUTPUT": 200, "ERROR": 0})

    async def use(stream: Stream) -> None:
        read = bytearray()
        while True:
            try:
                async with asyncio.timeout(0.0005):
                    piece = await stream.read()
            except TimeoutError:
                continue
            if piece is None:
                break
            read += piece.data
        assert read == bytes(range(200))

    with_stream(script, use)


def test_a_notice_that_nobody_can_take_ends_the_stream_with_that_failure() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.NOTICE, code="x", message="y")
        with contextlib.suppress(Exception):
            await peer.socket.wait_closed()

    async def use(stream: Stream) -> None:
        with pytest.raises(ZeroDivisionError):
            await output_of(stream)

    with_stream(script, use, on_notice=lambda _: 1 // 0)


def test_leaving_early_says_so() -> None:
    said = []

    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"there is more")
        said.append((await peer.expect(Kind.CLOSE))["reason"])

    async def use(stream: Stream) -> None:
        await stream.read()
        await stream.close()
        with pytest.raises(StreamClosed, match="closed here"):
            await stream.send(b"x")

    with_stream(script, use)
    assert said == ["closed"]


def test_an_observer_begins_in_the_middle_and_only_watches() -> None:
    heard: list[Kind] = []

    async def script(peer: Peer) -> None:
        await peer.expect(Kind.OPEN)
        await peer.word(Kind.OPENED, stream_id="ses_1", observing="ana", **{"from": {"OUTPUT": 10**9}})
        await peer.output(10**9, b"context ")
        await peer.output(10**9 + 8, b"and more")
        await peer.word(Kind.CLOSE, reason="ended")
        await peer.close(1000, "ended")
        with contextlib.suppress(Exception):
            while True:
                heard.append((await peer.frame()).kind)

    async def use(stream: Stream) -> None:
        for act in (stream.send(b"x"), stream.end_input(), stream.resize(80, 24), stream.signal("INT")):
            with pytest.raises(InvalidRequest, match="only watches"):
                await act
        assert await output_of(stream) == b"context and more"
        assert stream.exit is None

    with_stream(script, use, OBSERVE)
    assert heard == []


def test_an_observer_who_does_not_read_makes_the_relay_wait() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.expect(Kind.OPEN)
        await peer.word(Kind.OPENED, stream_id="ses_1", **{"from": {"OUTPUT": 0}})
        for offset in range(0, 64 * LIMITS.window, LIMITS.chunk):
            await peer.output(offset, bytes(LIMITS.chunk))
            sent += LIMITS.chunk
        await peer.word(Kind.CLOSE, reason="ended")

    async def use(stream: Stream) -> None:
        before = -1
        while sent > before:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 32 * LIMITS.window
        size = 0
        async for piece in stream:
            size += len(piece.data)
        assert size == 64 * LIMITS.window

    with_stream(script, use, OBSERVE)
