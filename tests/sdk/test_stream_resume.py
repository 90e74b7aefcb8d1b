"""Streams that lose their connection, at every frame; and what they show when they are dialled again."""

import asyncio
import logging
import random
from typing import Any

import pytest

from cmdop_sdk import stream as streams
from cmdop_sdk.auth import Secret
from cmdop_sdk.dialing import Purpose, Ticketed
from cmdop_sdk.errors import (
    AuthenticationError,
    RateLimited,
    StreamClosed,
    UnexpectedAnswer,
    WrongOrigin,
)
from cmdop_sdk.stream import Stream
from cmdop_sdk.stream_state import Notice
from cmdop_wire import frames
from cmdop_wire.frames import Kind
from tests.sdk.relaying import (
    COMMAND,
    KEY,
    OPENED,
    FarSide,
    Peer,
    TokenBearer,
    output_of,
    relaying,
    run,
    with_stream,
)


class Carrier:
    """Joins connections with one far side, and cuts the first few after so many frames in either direction."""

    def __init__(self, far: FarSide, *cuts: int) -> None:
        self.far = far
        self.connections = 0
        self._cuts = list(cuts)

    async def __call__(self, peer: Peer) -> None:
        self.connections += 1
        self._left = self._cuts.pop(0) if self._cuts else 1 << 30
        self._wake = asyncio.Event()
        first = await peer.frame()
        if first.kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
        else:
            body = frames.body_of(first)
            assert (body["stream_id"], body["resume"]) == (OPENED["stream_id"], OPENED["resume"])
            for message in self.far.resumed(body):
                await self._move(peer, message)
        speaking = asyncio.create_task(self._speak(peer))
        try:
            while True:
                frame = await peer.frame()
                self._count(peer)
                for answer in self.far.hear(frame):
                    await self._move(peer, answer)
                self._wake.set()
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, peer: Peer) -> None:
        while True:
            message = self.far.speak()
            if message is None:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._move(peer, message)
                if frames.decode(message).kind is Kind.EXIT:
                    return

    async def _move(self, peer: Peer, message: bytes) -> None:
        self._count(peer)
        await peer.send(message)

    def _count(self, peer: Peer) -> None:
        self._left -= 1
        if self._left == 0:
            peer.cut()


SPEECH = bytes(number % 251 for number in range(30_000))
TEXT = bytes(number % 241 for number in range(20_000))


async def converse(far: FarSide, *cuts: int) -> tuple[int, list[str]]:
    """Carry ``TEXT`` there and ``SPEECH`` back over connections that are cut; return how many it took, and notices."""
    carrier, said = Carrier(far, *cuts), []
    async with relaying(carrier) as relay:
        opening = {"kind": "session", "machine": "web-1"}
        async with Stream(relay.dialer(), opening, on_notice=lambda notice: said.append(notice.code)) as stream:

            async def speak() -> None:
                for start in range(0, len(TEXT), 777):
                    await stream.send(TEXT[start : start + 777])
                    await asyncio.sleep(0)
                await stream.end_input()

            _, output = await asyncio.gather(speak(), output_of(stream))
            assert output == SPEECH
            assert stream.exit is not None
            assert stream.exit["status"] == 0
    assert far.heard == TEXT
    return carrier.connections, said


def test_a_cut_at_every_frame_loses_and_repeats_nothing() -> None:
    async def test() -> None:
        # Frames of one whole conversation: 30 out, 26 in, the end, the exit, some grants.
        await asyncio.gather(*(converse(FarSide(SPEECH), cut) for cut in range(1, 64)))

    run(test)


def test_one_cut_after_another_loses_and_repeats_nothing() -> None:
    async def test() -> None:
        chance = random.Random(3)
        plans = [[chance.randint(1, 25) for _ in range(4)] for _ in range(16)]
        for connections, said in await asyncio.gather(*(converse(FarSide(SPEECH), *plan) for plan in plans)):
            assert said.count("reconnecting") <= connections
            assert connections > 1

    run(test)


def test_a_machine_that_comes_back_is_told_what_it_missed() -> None:
    """The relay keeps the client's connection while the machine's link is away, and drops what comes meanwhile."""

    async def script(peer: Peer) -> None:
        await peer.open()
        offset, data = frames.data_of(await peer.frame())
        assert (offset, bytes(data)) == (0, b"one ")
        await peer.word(Kind.NOTICE, code="machine_lost", message="the machine's link was lost; waiting for it")
        assert frames.data_of(await peer.frame())[0] == 4  # lost
        await peer.word(Kind.RESUMED, received={"INPUT": 4})
        await peer.word(Kind.RESUMED, received={"INPUT": 4})  # and at once lost and back again
        heard = {}
        while (frame := await peer.frame()).kind is not Kind.END:
            if frame.kind is Kind.INPUT:
                offset, data = frames.data_of(frame)
                heard[offset] = bytes(data)
        assert heard == {4: b"two ", 8: b"three"}
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        said: list[str] = []
        back = asyncio.Event()

        def note(notice: Notice) -> None:
            said.append(notice.code)
            if said.count("resumed") == 2:
                back.set()

        async with relaying(script) as relay:
            async with Stream(relay.dialer(), COMMAND, on_notice=note) as stream:
                await stream.send(b"one ")
                while "machine_lost" not in said:
                    await asyncio.sleep(0)
                await stream.send(b"two ")
                await back.wait()
                await stream.send(b"three")
                await stream.end_input()
                assert await output_of(stream) == b""
        assert said == ["machine_lost", "resumed", "resumed"]

    run(test)


def test_output_that_comes_twice_or_after_a_gap_is_known_for_what_it_is() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"abc")
        await peer.output(6, b"ghi")  # on its way when the connection before this one was lost
        await peer.word(Kind.EXIT, status=9, sent={"OUTPUT": 9, "ERROR": 0})  # so was this
        await peer.output(0, b"abcdef")
        await peer.output(3, b"defghi")
        await peer.word(Kind.EXIT, status=0, sent={"OUTPUT": 9, "ERROR": 0})

    async def use(stream: Stream) -> None:
        assert await output_of(stream) == b"abcdefghi"
        assert stream.exit is not None
        assert stream.exit["status"] == 0

    with_stream(script, use)


def test_a_screen_that_changed_meanwhile_is_told_after_the_resume() -> None:
    sizes: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        first = await peer.frame()
        if first.kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
            peer.cut()
            return
        await peer.word(Kind.RESUMED, received={"INPUT": 0})
        while not sizes:
            frame = await peer.frame()
            if frame.kind is Kind.RESIZE:
                sizes.append(frames.body_of(frame))
        await peer.word(Kind.EXIT, status=0)

    async def use(stream: Stream) -> None:
        await asyncio.sleep(0.02)
        await stream.resize(132, 43)
        await output_of(stream)

    with_stream(script, use)
    assert sizes == [{"cols": 132, "rows": 43}]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4503])
def test_a_relay_that_restarts_is_dialled_again(code: int) -> None:
    async def script(peer: Peer) -> None:
        first = await peer.frame()
        if first.kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
            await peer.close(code, "restart")
            return
        await peer.word(Kind.RESUMED, received={"INPUT": 0})
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(), COMMAND) as stream:
                relay.answers = [(503, {}), (503, {})]  # still starting
                assert await output_of(stream) == b""
            assert len(relay.requests) == 4

    run(test)


def test_who_is_refused_while_resuming_learns_why() -> None:
    answers = iter([("unavailable", 4503), ("gone", 4404)])

    async def script(peer: Peer) -> None:
        first = await peer.frame()
        if first.kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
            peer.cut()
            return
        code, close = next(answers)
        await peer.word(Kind.REFUSED, code=code, message=f"it is {code}", hint="cmdop connect list")
        await peer.close(close)

    async def use(stream: Stream) -> None:
        with pytest.raises(StreamClosed, match="could not be resumed: it is gone") as closed:
            await output_of(stream)
        assert (closed.value.code, closed.value.reason, closed.value.hint) == ("gone", "gone", "cmdop connect list")
        assert not closed.value.transient
        with pytest.raises(StreamClosed):
            await stream.send(b"x")

    with_stream(script, use)


def test_a_relay_that_does_not_come_back_is_waited_for_as_long_as_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LIMITS", frames.Limits(grace=0.4))

    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"last words")
        await peer.socket.close(1001)

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(), COMMAND) as stream:
                relay.answers = [(503, {})] * 1000
                piece = await stream.read()
                assert piece is not None
                assert bytes(piece.data) == b"last words"
                with pytest.raises(StreamClosed, match="could not be resumed") as closed:
                    await stream.read()
        assert closed.value.transient
        assert closed.value.code == "unavailable"

    run(test)


def test_a_fresh_token_is_shown_before_the_old_one_ends() -> None:
    tokens: list[str] = []

    async def script(peer: Peer) -> None:
        tokens.append(peer.bearer)
        await peer.open()
        for _ in range(2):
            tokens.append((await peer.expect(Kind.REAUTH))["token"])
            await peer.word(Kind.REAUTHED, expires_at=None)
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(TokenBearer(60.2, 60.3, 3600)), COMMAND) as stream:
                await output_of(stream)

    run(test)
    assert tokens == ["token-0", "token-1", "token-2"]


def test_a_sign_in_that_is_about_to_end_is_not_refreshed_without_pause() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        assert (await peer.expect(Kind.REAUTH))["token"] == "token-1"
        for nonce in range(50):
            await peer.word(Kind.PROBE, nonce=nonce)
            assert (await peer.expect(Kind.PROBED))["nonce"] == nonce
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(TokenBearer(30)), COMMAND) as stream:  # none is good for a minute
                await output_of(stream)

    run(test)


def test_a_rejected_token_is_replaced_once() -> None:
    async def script(peer: Peer) -> None:
        assert peer.bearer == "token-1"
        await peer.open()
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            relay.answers = [(401, {})]
            async with Stream(relay.dialer(TokenBearer(3600)), COMMAND) as stream:
                await output_of(stream)
            relay.answers = [(401, {}), (401, {}), (401, {})]
            with pytest.raises(AuthenticationError, match="it is 401"):
                await Stream(relay.dialer(TokenBearer(3600)), COMMAND).__aenter__()
            assert len(relay.answers) == 1

    run(test)


def test_a_rejected_key_is_not_shown_twice() -> None:
    async def test() -> None:
        async with relaying(Peer.open) as relay:  # type: ignore[arg-type]
            relay.answers = [(401, {})]
            with pytest.raises(AuthenticationError) as refused:
                await Stream(relay.dialer(), COMMAND).__aenter__()
            assert len(relay.requests) == 1
            assert refused.value.code == "unauthenticated"

    run(test)


def test_a_resume_shows_what_is_good_then() -> None:
    bearers: list[str] = []

    async def script(peer: Peer) -> None:
        bearers.append(peer.bearer)
        if (await peer.frame()).kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
            peer.cut()
            return
        await peer.word(Kind.RESUMED, received={"INPUT": 0})
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(TokenBearer(60.01, 3600)), COMMAND) as stream:
                await output_of(stream)

    run(test)
    assert bearers == ["token-0", "token-1"]


def test_a_wait_that_is_no_number_is_as_good_as_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(_never) as home, relaying(script) as there:
            home.answers = [(421, {})]
            refusals = [RateLimited("too many requests", http_status=429, details={"retry_after": "soon"})]

            async def ticket(_: Purpose) -> Ticketed:
                if refusals:
                    raise refusals.pop()
                return Ticketed(Secret("ticket"), f"ws://127.0.0.1:{there.port}/relay/client")

            async with Stream(home.dialer(tickets=ticket), COMMAND) as stream:
                assert await output_of(stream) == b""

    run(test)


def test_a_relay_elsewhere_is_shown_tickets_and_never_a_token() -> None:
    shown: list[str] = []
    asked: list[Purpose] = []

    async def script(peer: Peer) -> None:
        shown.append(peer.bearer)
        if (await peer.frame()).kind is Kind.OPEN:
            await peer.word(Kind.OPENED, **OPENED)
            peer.cut()
            return
        await peer.word(Kind.RESUMED, received={"INPUT": 0})
        while (frame := await peer.frame()).kind is not Kind.REAUTH:
            pass
        shown.append(frames.body_of(frame)["token"])
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(_never) as home, relaying(script) as there:
            home.answers = [(421, {})]

            async def ticket(purpose: Purpose) -> Ticketed:
                asked.append(purpose)
                return Ticketed(Secret(f"ticket-{len(asked)}"), f"ws://127.0.0.1:{there.port}/relay/client")

            bearer = TokenBearer(3600, 60.4, 3600)
            async with Stream(home.dialer(bearer, tickets=ticket), COMMAND) as stream:
                bearer.forget()
                await output_of(stream)
            assert len(home.requests) == 1

    run(test)
    assert shown == ["ticket-1", "ticket-2", "ticket-3"]
    assert asked[0] == Purpose("web-1", "command.execute")
    assert asked[1:] == [Purpose(OPENED["machine"], "command.execute")] * 2


async def _never(peer: Peer) -> None:
    raise AssertionError("nobody may come here")


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.2:5/relay/client",
        "wss://127.0.0.1:5/relay/client",
        "ws://127.0.0.1:5/relay/agent",
        "ws://127.0.0.1:5/relay/client?x=1",
        "ws://evil@127.0.0.9/relay/client",
    ],
)
def test_a_relay_on_another_host_is_not_believed(url: str) -> None:
    async def ticket(_: Purpose) -> Ticketed:
        return Ticketed(Secret("ticket"), url)

    async def test() -> None:
        async with relaying(_never) as home:
            home.answers = [(421, {}), (421, {})]
            with pytest.raises(WrongOrigin, match="names a relay elsewhere"):
                await Stream(home.dialer(tickets=ticket), COMMAND).__aenter__()
            with pytest.raises(UnexpectedAnswer, match="tickets only"):
                await Stream(home.dialer(), COMMAND).__aenter__()

    run(test)


def test_no_redirect_is_followed() -> None:
    async def test() -> None:
        async with relaying(Peer.open) as stranger, relaying(Peer.open) as relay:  # type: ignore[arg-type]
            for status in (301, 302, 307, 308):
                relay.answers = [(status, {"Location": f"ws://127.0.0.1:{stranger.port}/relay/client"})]
                with pytest.raises(UnexpectedAnswer, match="never followed") as refused:
                    await Stream(relay.dialer(), COMMAND).__aenter__()
                assert refused.value.code == "redirected"
            assert stranger.requests == []

    run(test)


def test_no_log_line_holds_the_credential(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script, logger=logging.Logger("quiet")) as relay:
            async with Stream(relay.dialer(), COMMAND) as stream:
                await output_of(stream)

    with caplog.at_level(logging.DEBUG):
        run(test)
    assert KEY not in caplog.text
    assert "Bearer" not in caplog.text
