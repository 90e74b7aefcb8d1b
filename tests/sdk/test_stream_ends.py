"""How streams end: refused, closed for a reason, cut off, or because the other side is no relay."""

import asyncio
import contextlib
import re
from time import monotonic

import pytest

from cmdop_sdk import stream_ends
from cmdop_sdk.errors import (
    CMDOPError,
    GateDenied,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
    SessionConflict,
    StreamClosed,
    UnexpectedAnswer,
    Unreachable,
)
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import STREAM, Kind
from tests.processes import REPOSITORY
from tests.sdk.relaying import (
    COMMAND,
    Peer,
    Relay,
    Script,
    output_of,
    relaying,
    run,
    with_stream,
)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("forbidden", PermissionDenied),
        ("not_found", NotFound),
        ("session_conflict", SessionConflict),
        ("gate_denied", GateDenied),
        ("approval_unavailable", GateDenied),
        ("agent_offline", CMDOPError),
        ("no_such_file", CMDOPError),
        ("a_word_of_next_year", InvalidRequest),
    ],
)
def test_a_refusal_is_the_exception_of_its_code(code: str, family: type[CMDOPError]) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect(Kind.OPEN)
        await peer.word(Kind.REFUSED, code=code, message="it is not", hint="cmdop whoami", details={"holder": "bo"})
        await peer.close(4409)

    async def test() -> None:
        async with relaying(script) as relay:
            with pytest.raises(family, match="it is not") as refused:
                await Stream(relay.dialer(), COMMAND).__aenter__()
        assert (refused.value.code, refused.value.hint) == (code, "cmdop whoami")
        assert refused.value.details == {"holder": "bo"}

    run(test)


ENDINGS = [
    ("revoked", 4401, "unauthenticated", "the credential was revoked"),
    ("signed_out", 4401, "unauthenticated", "the sign-in was ended"),
    ("reauth_missed", 4401, "unauthenticated", "no fresh token"),
    ("password_changed", 4401, "unauthenticated", "password"),
    ("member_removed", 4401, "forbidden", "no longer a member"),
    ("role_lowered", 4403, "forbidden", "your role"),
    ("ended_by_admin", 4430, "forbidden", "an administrator"),
    ("ended_by_operator", 4430, "stream_closed", "from elsewhere"),
    ("machine_removed", 4404, "gone", "removed from the workspace"),
    ("machine_moved", 4404, "gone", "another workspace"),
    ("machine_lost", 4404, "agent_offline", "did not come back"),
    ("taken_over", 4409, "session_conflict", "took the session over"),
    ("slow", 4429, "stream_closed", "fast enough"),
    ("a_reason_of_next_year", 4401, "unauthenticated", "no longer good (a_reason_of_next_year)"),
    ("", 4403, "forbidden", "the right to it is gone"),
]


def check_ending(script: Script, reason: str, close: int, code: str, sentence: str) -> None:
    """See that a stream brings its output and then the exception that this ending means."""

    async def use(stream: Stream) -> None:
        piece = await stream.read()
        assert piece is not None
        assert bytes(piece.data) == b"before"
        with pytest.raises(StreamClosed, match="the stream was closed") as closed:
            await stream.read()
        assert sentence in closed.value.message
        assert (closed.value.code, closed.value.reason) == (code, reason or str(close))
        assert closed.value.details["reason"] == closed.value.reason

    with_stream(script, use)


@pytest.mark.parametrize(
    ("reason", "close", "code", "sentence"), [*ENDINGS, ("unavailable", 4503, "unavailable", "cannot check rights")]
)
def test_an_ending_that_is_said_is_told_with_its_reason(reason: str, close: int, code: str, sentence: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"before")
        await peer.word(Kind.CLOSE, reason=reason)
        await peer.close(close, reason)

    check_ending(script, reason, close, code, sentence)


@pytest.mark.parametrize(("reason", "close", "code", "sentence"), ENDINGS)
def test_an_ending_is_known_by_the_close_alone(reason: str, close: int, code: str, sentence: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"before")
        await peer.close(close, reason)

    check_ending(script, reason, close, code, sentence)


def test_every_reason_of_the_protocol_has_a_sentence_and_no_other_has() -> None:
    page = (REPOSITORY / "docs" / "protocol.md").read_text()
    paragraph = page.partition("`CLOSE.reason` names the cause.")[2].partition("To a machine")[0]
    named = set(re.findall(r"`([a-z_ ]+)`", paragraph))
    assert named == {*stream_ends._REASONS, "ended"}  # which is no failure: who watched has seen it all


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (400, UnexpectedAnswer),
        (403, PermissionDenied),
        (404, UnexpectedAnswer),
        (426, UnexpectedAnswer),
        (429, RateLimited),
        (500, ServiceUnavailable),
        (503, ServiceUnavailable),
    ],
)
def test_a_refused_upgrade_says_what_it_means(status: int, family: type[CMDOPError]) -> None:
    async def test() -> None:
        async with relaying(Peer.open) as relay:  # type: ignore[arg-type]
            relay.answers = [(status, {})] * 3
            with pytest.raises(family) as refused:
                await Stream(relay.dialer(retries=1), COMMAND).__aenter__()
            assert refused.value.http_status == status
            assert len(relay.requests) == (2 if refused.value.transient else 1)

    run(test)


def test_a_relay_that_is_starting_is_tried_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            relay.answers = [(503, {})]
            async with Stream(relay.dialer(), COMMAND) as stream:
                assert await output_of(stream) == b""

    run(test)


def test_a_relay_that_names_a_time_is_tried_again_after_it_and_not_at_all_when_that_is_long() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.EXIT, status=0)

    async def test() -> None:
        async with relaying(script) as relay:
            relay.answers, begun = [(429, {"Retry-After": "1"})], monotonic()
            async with Stream(relay.dialer(), COMMAND) as stream:
                assert await output_of(stream) == b""
            assert 1.0 <= monotonic() - begun < 10
            relay.answers = [(429, {"Retry-After": "3600"})]
            with pytest.raises(RateLimited) as refused:
                await Stream(relay.dialer(), COMMAND).__aenter__()
            assert refused.value.details["retry_after"] == 3600
            assert len(relay.requests) == 3

    run(test)


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    async def test() -> None:
        async with relaying(Peer.open) as relay:  # type: ignore[arg-type]
            dialer = relay.dialer(retries=1)
        with pytest.raises(Unreachable, match="connection refused"):
            await Stream(dialer, COMMAND).__aenter__()

    run(test)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"SSH-2.0-OpenSSH_9.9\r\n", b"\x00" * 5000],
)
def test_something_else_answers(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def test() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            relay = Relay(Peer.open)  # type: ignore[arg-type]
            relay.port = server.sockets[0].getsockname()[1]
            with pytest.raises((UnexpectedAnswer, Unreachable)):
                await Stream(relay.dialer(retries=0), COMMAND).__aenter__()

    run(test)


def test_a_relay_of_another_protocol_is_left() -> None:
    async def test() -> None:
        async with relaying(Peer.open, subprotocols=None) as relay:  # type: ignore[arg-type]
            with pytest.raises(UnexpectedAnswer, match="cmdop"):
                await Stream(relay.dialer(), COMMAND).__aenter__()

    run(test)


@pytest.mark.parametrize(
    "message",
    [
        "text",
        b"",
        b"\x21\x00",
        b"\xff\x00\x00\x00\x01",
        frames.encode_json(Kind.OPENED, STREAM),  # a second time
        frames.encode_json(Kind.HEARTBEAT, STREAM),
        frames.encode_data(Kind.INPUT, STREAM, 0, b"rm -rf /"),
        frames.encode_data(Kind.OUTPUT, 2, 0, b"somebody else's"),
        frames.encode(Kind.OUTPUT, STREAM, b"short"),
        frames.encode(Kind.EXIT, STREAM, b"not json"),
        frames.encode_window(STREAM, Kind.OUTPUT, 5),
        frames.encode_window(STREAM, Kind.INPUT, 2**40),
        frames.encode_end(STREAM, Kind.INPUT, 0),
        frames.encode_json(Kind.RESUMED, STREAM, received={"INPUT": 5}),
        frames.encode_json(Kind.RESUMED, STREAM, received={"INPUT": True}),
        frames.encode_json(Kind.RESUMED, STREAM, received=5),
    ],
)
def test_what_a_relay_may_not_send_ends_the_stream(message: str | bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.socket.send(message)
        with contextlib.suppress(Exception):
            await peer.socket.wait_closed()

    async def use(stream: Stream) -> None:
        with pytest.raises(UnexpectedAnswer, match="may not"):
            await output_of(stream)

    with_stream(script, use)


@pytest.mark.parametrize("kind", [Kind.OUTPUT, Kind.EXIT, Kind.RESUMED, Kind.WINDOW])
def test_nothing_comes_before_opened(kind: Kind) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect(Kind.OPEN)
        await peer.send(frames.encode_data(kind, STREAM, 0, b"early"))
        with contextlib.suppress(Exception):
            await peer.socket.wait_closed()

    async def test() -> None:
        async with relaying(script) as relay:
            with pytest.raises(UnexpectedAnswer, match=kind.name):
                await Stream(relay.dialer(), COMMAND).__aenter__()

    run(test)


def test_a_message_in_pieces_is_one_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        whole = frames.encode_data(Kind.OUTPUT, STREAM, 0, b"in three pieces")
        await peer.socket.send([whole[:3], whole[3:20], whole[20:]])
        await peer.word(Kind.EXIT, status=0)

    async def use(stream: Stream) -> None:
        assert await output_of(stream) == b"in three pieces"

    with_stream(script, use)


def test_a_loss_before_the_machine_answered_is_not_tried_again() -> None:
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.expect(Kind.OPEN))
        peer.cut()

    async def test() -> None:
        async with relaying(script) as relay:
            with pytest.raises(Unreachable, match="may have begun"):
                await Stream(relay.dialer(), COMMAND).__aenter__()

    run(test)
    assert len(asked) == 1
