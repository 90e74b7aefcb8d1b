"""One channel in lists of bytes: what frames mean, what is kept, and that a resume neither loses nor repeats."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_agent.outbox import LANE, MOST_SAID, Outbox, lane_of
from cmdop_agent.session import (
    Channel,
    Close,
    EndInput,
    Granted,
    Opening,
    Resize,
    Signal,
    Write,
    opening_of,
)
from cmdop_wire import frames
from cmdop_wire.flow import Receiver
from cmdop_wire.frames import LIMITS, Frame, Kind, Malformed

ACTOR = {"kind": "account", "id": "usr_1", "label": "ann"}


def channel(number: int = 7) -> Channel:
    """Return a channel whose process runs."""
    made = Channel(number, Opening("ses_1", "command", ACTOR, ["cat"]))
    made.opened()
    return made


def frame(kind: Kind, body: bytes | dict[str, Any] = b"") -> Frame:
    """Return a frame of the relay for that channel."""
    return Frame(kind, 7, json.dumps(body).encode() if isinstance(body, dict) else body)


def data(kind: Kind, offset: int, content: bytes) -> Frame:
    """Return a data frame."""
    return frames.decode(frames.encode_data(kind, 7, offset, content))


def body(message: bytes | None) -> Any:
    """Return the JSON of a control frame."""
    assert message is not None
    return frames.body_of(frames.decode(message))


def test_frames_become_steps() -> None:
    each = channel()
    assert each.take(data(Kind.INPUT, 0, b"ls\n")) == [Write(b"ls\n")]
    assert each.take(frame(Kind.RESIZE, {"cols": 100, "rows": 40})) == [Resize(100, 40)]
    assert each.take(frame(Kind.RESIZE, {"cols": 0, "rows": 10**9})) == [Resize(1, 1000)]
    assert each.take(frame(Kind.SIGNAL, {"name": "INT"})) == [Signal("INT")]
    assert each.take(frames.decode(frames.encode_end(7, Kind.INPUT, 3))) == [EndInput()]
    assert each.take(frame(Kind.CLOSE, {"reason": "closed"})) == [Close("closed")]


def test_input_counts_once() -> None:
    each = channel()
    assert each.take(data(Kind.INPUT, 0, b"abc")) == [Write(b"abc")]
    assert each.take(data(Kind.INPUT, 0, b"abc")) == []
    assert each.take(data(Kind.INPUT, 1, b"bcd")) == [Write(b"d")]
    assert each.take(data(Kind.INPUT, 9, b"gap")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        frame(Kind.OUTPUT, b"\0" * 8),
        frame(Kind.RESIZE, {"cols": "wide", "rows": 1}),
        frame(Kind.RESIZE, {"cols": True, "rows": 1}),
        frame(Kind.RESIZE, b"[]"),
        frame(Kind.SIGNAL, {"name": "STOP"}),
        frame(Kind.SIGNAL, {"name": ["INT"]}),
        frame(Kind.SIGNAL, b"{"),
        frame(Kind.INPUT, b"short"),
        frame(Kind.CLOSE, b"no json"),
        frame(Kind.HELLO, {}),
        frame(Kind.REAUTH, {"token": "x"}),
        data(Kind.INPUT, 0, b"x" * (LIMITS.input_window + 1)) if LIMITS.input_window < LIMITS.frame - 20 else
        data(Kind.INPUT, LIMITS.input_window, b"x"),
        frames.decode(frames.encode_end(7, Kind.OUTPUT, 0)),
        frames.decode(frames.encode_window(7, Kind.INPUT, 10)),
        frames.decode(frames.encode_window(7, Kind.OUTPUT, 10 * LIMITS.window)),
    ],
)  # fmt: skip
def test_what_may_not_come_is_malformed(wrong: Frame) -> None:
    with pytest.raises(Malformed):
        channel().take(wrong)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CLOSE])
def test_nothing_but_close_may_come_before_opened(kind: Kind) -> None:
    with pytest.raises(Malformed):
        Channel(7, Opening("ses_1", "command", ACTOR)).take(frame(kind, b"\0" * 12))


@given(st.binary(max_size=40), st.sampled_from(list(Kind)))
def test_whatever_bytes_come_are_understood_or_malformed(content: bytes, kind: Kind) -> None:
    each = channel()
    try:
        steps = each.take(Frame(kind, 7, content))
    except Malformed:
        return
    assert all(isinstance(step, Write | EndInput | Resize | Signal | Granted | Close) for step in steps)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"stream_id": "s", "kind": "command", "actor": "me"}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "argv": "ls"}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "argv": [1]}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "timeout": 0}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "timeout": -3}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "timeout": 1e300}',
        b'{"stream_id": "s", "kind": "command", "actor": {}, "cols": 1.5}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[-30:]),
)
def test_an_opening_that_is_none_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        opening_of(Frame(Kind.OPEN, 1, content))


def test_an_opening_may_say_more_than_we_know() -> None:
    opening = opening_of(Frame(Kind.OPEN, 1, b'{"stream_id": "s", "kind": "fly", "actor": {}, "wings": 2}'))
    assert (opening.kind, opening.timeout, opening.cols) == ("fly", 30.0, 80)


def test_output_stays_within_the_grant_and_input_is_granted_as_it_is_used() -> None:
    each = channel()
    sent = 0
    while (room := each.room(Kind.OUTPUT)) > 0:
        assert room <= LIMITS.chunk
        each.output(Kind.OUTPUT, b"x" * room)
        sent += room
    assert sent == LIMITS.window
    assert each.room(Kind.ERROR) == LIMITS.chunk
    assert each.take(frames.decode(frames.encode_window(7, Kind.OUTPUT, LIMITS.window + 10))) == [Granted()]
    assert each.room(Kind.OUTPUT) == 10
    assert each.consumed(LIMITS.input_window // 2 - 1) is None
    grant = each.consumed(1)
    assert grant is not None
    assert frames.window_of(frames.decode(grant)) == (Kind.INPUT, LIMITS.input_window * 3 // 2)


def test_refusals_and_notices_are_cut_to_what_a_frame_may_hold() -> None:
    each = Channel(7, Opening("ses_1", "command", ACTOR))
    for message in (each.refused("no", "x" * 10**6, "y" * 10**6), each.notice("wait", "z" * 10**6)):
        assert message is not None
        assert len(message) < LIMITS.control


def test_while_the_link_is_away_nothing_is_said_and_output_waits() -> None:
    each = channel()
    each.lost()
    assert each.output(Kind.OUTPUT, b"abc") is None
    assert each.exit(status=0) is None
    assert each.opened() is None
    assert each.refused("no", "no") is None
    again = each.resume(9, {})
    told = [frames.decode(b"".join(message)) for message in again]
    assert [frame.kind for frame in told] == [Kind.RESUMED, Kind.WINDOW, Kind.OUTPUT, Kind.EXIT]
    assert {frame.channel for frame in told} == {9}


@pytest.mark.parametrize("received", [{"OUTPUT": 4}, {"OUTPUT": -1}, {"OUTPUT": "3"}, {"OUTPUT": True}, {"ERROR": 1}])
def test_a_resume_that_cannot_be_is_malformed_and_changes_nothing(received: dict[str, Any]) -> None:
    each = channel()
    each.output(Kind.OUTPUT, b"abc")
    with pytest.raises(Malformed):
        each.resume(9, received)
    assert each.number == 7


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.booleans(), st.integers(0, 100)), max_size=30))
def test_whatever_is_lost_on_the_way_arrives_once_and_in_order(pieces: list[tuple[bytes, bool, int]]) -> None:
    each, receiver, arrived, number = channel(), Receiver(), bytearray(), 7
    for content, is_lost, _ in pieces:
        message = each.output(Kind.OUTPUT, content)
        if is_lost:
            each.lost()
            number += 1
            for again in each.resume(number, {"OUTPUT": receiver.received}):
                found = frames.decode(b"".join(again))
                if found.kind is Kind.OUTPUT:
                    arrived += receiver.take(*frames.data_of(found))
        elif message is not None:
            arrived += receiver.take(*frames.data_of(frames.decode(message + content)))
    assert bytes(arrived) == b"".join(content for content, _, _ in pieces)
    exit_ = each.exit(status=0)
    assert body(exit_)["sent"] == {"OUTPUT": len(arrived), "ERROR": 0}


def test_after_the_end_no_input_is_granted() -> None:
    each = channel()
    each.exit(status=0)
    assert each.is_over
    assert each.consumed(LIMITS.input_window) is None


# -- the outbox ------------------------------------------------------------------------------------------------------


def drained(box: Outbox, most: int = 1000) -> list[int]:
    """Return the channels of what the outbox sends, in its order."""
    import asyncio

    order: list[int] = []

    async def send(message: bytes, _: bytes) -> None:
        order.append(lane_of(message))
        if len(order) >= most:
            await asyncio.Event().wait()

    async def whole() -> None:
        task = asyncio.create_task(box.drain(send))
        await asyncio.wait([task, asyncio.ensure_future(box.flushed())], return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(whole())
    return order


def test_channels_take_turns_and_the_link_goes_first() -> None:
    box = Outbox()
    for _ in range(3):
        box.put(frames.encode_data(Kind.OUTPUT, 5, 0, b"x" * 1000))
    box.put(frames.encode_data(Kind.OUTPUT, 6, 0, b"y"))
    box.put(frames.encode_json(Kind.PROBED, 0, nonce="n"))
    box.put(frames.encode_json(Kind.PROBED, 0, nonce="m"))
    assert drained(box) == [0, 0, 5, 6, 5, 5]


def test_a_full_lane_is_told_when_it_has_room_again_and_nobody_else() -> None:
    told: list[int] = []
    box = Outbox(told.append)
    piece = frames.encode_data(Kind.OUTPUT, 5, 0, b"x" * LIMITS.chunk)
    while box.room(5) > 0:
        box.put(piece)
    box.put(frames.encode_data(Kind.OUTPUT, 6, 0, b"y"))
    assert box.room(6) > LANE // 2
    drained(box)
    assert told == [5]
    assert box.room(5) == box.room(6) == LANE


def test_what_was_meant_for_a_lost_link_is_forgotten() -> None:
    box = Outbox()
    box.put(frames.encode_json(Kind.PROBED, 0, nonce="n"))
    box.put(None)
    box.clear()
    assert drained(box) == []


def test_what_a_channel_has_queued_is_dropped_with_its_number() -> None:
    box = Outbox()
    for number in (5, 6, 5, 7):
        box.put(frames.data_head_of(Kind.OUTPUT, number, 0), b"x" * 1000)
    box.drop(5)
    box.drop(8)
    assert box.room(5) == LANE
    assert drained(box) == [6, 7]


def test_answers_that_nobody_reads_are_counted_and_output_is_not() -> None:
    box = Outbox()
    answer = frames.encode_json(Kind.PROBED, 0, nonce="n" * 1000)
    for number in range(1, 300):
        box.put(frames.data_head_of(Kind.OUTPUT, number, 0), bytes(LANE))
    assert not box.is_overrun
    for _ in range(MOST_SAID // len(answer) + 1):
        box.put(answer)
    assert box.is_overrun
    drained(box, most=100_000)
    assert not box.is_overrun
