"""Frames: what is written is read, nothing else is, and only what the tables say may be sent."""

import contextlib
import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cmdop_wire import frames
from cmdop_wire.frames import DATA, LEGAL, LIMITS, Frame, Kind, Malformed, Side, State, is_legal

CHANNELS = st.integers(0, 2**32 - 1)
OFFSETS = st.integers(0, frames.LARGEST_OFFSET)
DATA_KINDS = st.sampled_from(sorted(DATA))
PARSERS = (frames.body_of, frames.window_of, frames.end_of, frames.data_of)

# Reviewed by hand: they are on the wire and never change.
NUMBERS = {
    "HELLO": 1, "WELCOME": 2, "OPEN": 3, "OPENED": 4, "REFUSED": 5, "CLOSE": 6, "EXIT": 7, "RESIZE": 8, "SIGNAL": 9,
    "NOTICE": 10, "RESUME": 11, "RESUMED": 12, "REAUTH": 13, "REAUTHED": 14, "PROBE": 15, "PROBED": 16,
    "HEARTBEAT": 17, "EVENT": 18, "SEED": 19, "INPUT": 32, "OUTPUT": 33, "ERROR": 34, "END": 35, "WINDOW": 36,
}  # fmt: skip


def test_the_numbers_of_the_frame_types_are_pinned() -> None:
    assert {kind.name: int(kind) for kind in Kind} == NUMBERS


@pytest.mark.parametrize(
    ("message", "hexadecimal"),
    [
        (frames.encode_data(Kind.OUTPUT, 1, 258, b"hi"), "21 00000001 0000000000000102 6869"),
        (frames.encode_window(7, Kind.INPUT, 262144), "24 00000007 20 0000000000040000"),
        (frames.encode_end(1, Kind.INPUT, 3), "23 00000001 20 0000000000000003"),
        (frames.encode_json(Kind.RESIZE, 1, cols=80), "08 00000001 7b22636f6c73223a38307d"),
        (frames.encode(Kind.PROBE, 0, b"{}"), "0f 00000000 7b7d"),
    ],
)
def test_the_bytes_are_those_of_the_protocol(message: bytes, hexadecimal: str) -> None:
    assert message == bytes.fromhex(hexadecimal)


@given(DATA_KINDS, CHANNELS, OFFSETS, st.binary(max_size=2000))
def test_data_travels_with_its_offset(kind: Kind, channel: int, offset: int, data: bytes) -> None:
    for given_data in (data, memoryview(data)):
        frame = frames.decode(frames.encode_data(kind, channel, offset, given_data))
        assert (frame.kind, frame.channel) == (kind, channel)
        begins, received = frames.data_of(frame)
        assert (begins, bytes(received)) == (offset, data)


@given(DATA_KINDS, CHANNELS, OFFSETS)
def test_grants_and_ends_travel(of: Kind, channel: int, offset: int) -> None:
    assert frames.window_of(frames.decode(frames.encode_window(channel, of, offset))) == (of, offset)
    assert frames.end_of(frames.decode(frames.encode_end(channel, of, offset))) == (of, offset)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(set(Kind) - DATA)), CHANNELS, st.dictionaries(st.text(), JSON, max_size=5))
def test_words_travel(kind: Kind, channel: int, body: dict[str, object]) -> None:
    frame = frames.decode(frames.encode(kind, channel, json.dumps(body).encode()))
    assert (frame.kind, frame.channel, frames.body_of(frame)) == (kind, channel, body)
    named = {name: value for name, value in body.items() if name not in ("kind", "channel")}
    assert frames.body_of(frames.decode(frames.encode_json(kind, channel, **named))) == named


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x21\x00\x00\x00\x01" + b"\xff" * 8)  # an offset of 64 bits
@example(b"\x06\x00\x00\x00\x01" + b"[" * 100_000)  # deeper than any recursion limit
@example(b"\x06\x00\x00\x00\x01\xff\xfe")
@example(b'\x06\x00\x00\x00\x01{"a":"\xff"}')  # JSON, but no UTF-8
@example(b"\x24\x00\x00\x00\x01\x21" + b"\xff" * 8)
def test_garbage_is_malformed_and_never_a_crash(message: bytes) -> None:
    for received in (message, bytearray(message)):
        try:
            frame = frames.decode(received)
        except Malformed:
            continue
        for parse in PARSERS:
            with contextlib.suppress(Malformed):
                parse(frame)


@given(st.sampled_from(sorted(Kind)), st.binary(max_size=40))
def test_any_body_of_any_type_is_read_or_malformed(kind: Kind, body: bytes) -> None:
    frame = frames.decode(frames.encode(kind, 1, body))
    assert bytes(frame.body) == body
    for parse in PARSERS:
        with contextlib.suppress(Malformed):
            parse(frame)


def test_an_unknown_type_is_malformed() -> None:
    for number in set(range(256)) - set(NUMBERS.values()):
        with pytest.raises(Malformed, match=f"{number:#04x}"):
            frames.decode(struct.pack("!BI", number, 1))


def test_sizes_are_limited() -> None:
    largest = frames.encode_data(Kind.OUTPUT, 1, 0, bytes(LIMITS.frame - 13))
    assert len(frames.data_of(frames.decode(largest))[1]) == LIMITS.frame - 13
    with pytest.raises(Malformed):
        frames.decode(largest + b"x")
    text = b'{"a":"' + b"x" * (LIMITS.control - 8) + b'"}'
    assert len(frames.body_of(Frame(Kind.NOTICE, 1, text))["a"]) == LIMITS.control - 8
    with pytest.raises(Malformed):
        frames.body_of(Frame(Kind.NOTICE, 1, text + b" "))
    for short in range(frames.HEADER_SIZE):
        with pytest.raises(Malformed):
            frames.decode(largest[:short])


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"1", b"{", b"{'a':1}", b'{"a":1}x', b"\x00"])
def test_a_word_is_one_json_object(body: bytes) -> None:
    with pytest.raises(Malformed):
        frames.body_of(Frame(Kind.OPEN, 1, body))


@pytest.mark.parametrize("parse", [frames.window_of, frames.end_of])
@pytest.mark.parametrize("of", sorted(set(range(256)) - {int(kind) for kind in DATA})[::17])
def test_only_data_has_windows_and_ends(parse: object, of: int) -> None:
    with pytest.raises(Malformed):
        parse(Frame(Kind.WINDOW, 1, struct.pack("!BQ", of, 5)))  # type: ignore[operator]


def test_our_own_chunks_fit_into_a_frame() -> None:
    assert 13 + LIMITS.chunk <= LIMITS.frame
    assert LIMITS.chunk <= LIMITS.input_window <= LIMITS.window


# Reviewed by hand: who may send what to whom in which state (docs/protocol.md). Everything else is refused.
LEGAL_WORDS = {
    ("agent", "new"): "HELLO",
    ("agent", "greeted"): "PROBE PROBED HEARTBEAT EVENT SEED CLOSE",
    ("agent", "opening"): "OPENED REFUSED NOTICE",
    ("agent", "open"): "OUTPUT ERROR END WINDOW EXIT NOTICE RESUMED REFUSED",
    ("operator", "new"): "HELLO OPEN RESUME",
    ("operator", "greeted"): "PROBE PROBED OPEN RESUME REAUTH CLOSE",
    ("operator", "opening"): "PROBE PROBED REAUTH CLOSE",
    ("operator", "open"): "PROBE PROBED INPUT END WINDOW RESIZE SIGNAL CLOSE REAUTH",
    ("observer", "open"): "PROBE PROBED WINDOW REAUTH CLOSE",
}


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("state", State)
def test_the_legal_table_is_the_reviewed_one(side: Side, state: State) -> None:
    legal = {kind.name for kind in Kind if is_legal(side, state, kind)}
    assert legal == set(LEGAL_WORDS.get((side, state), "").split())


def test_nothing_is_legal_after_the_close_and_no_input_from_an_observer() -> None:
    assert not any(state is State.CLOSED for _, state in LEGAL)
    assert not any(is_legal(Side.OBSERVER, state, kind) for state in State for kind in DATA)
