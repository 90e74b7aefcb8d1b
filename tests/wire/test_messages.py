"""Binary messages out of the bytes of a websocket: whatever comes, in whichever pieces, the library would agree."""

import secrets
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]

from cmdop_wire.frames import LIMITS
from cmdop_wire.messages import SCRATCH, Splitter, head_of

PLAIN = st.binary(max_size=300).map(lambda data: Frame(Opcode.BINARY, data))
LARGE = st.integers(60_000, LIMITS.frame).map(lambda size: Frame(Opcode.BINARY, bytes(size)))
CONTROL = st.sampled_from((Opcode.PING, Opcode.PONG)).flatmap(
    lambda opcode: st.binary(max_size=125).map(lambda data: Frame(opcode, data))
)
TEXT = st.text(max_size=40).map(lambda text: Frame(Opcode.TEXT, text.encode()))


@st.composite
def fragments(draw: st.DrawFn) -> list[Frame]:
    """Return one message in several frames, with pings in between."""
    pieces = draw(st.lists(st.binary(max_size=50), min_size=2, max_size=4))
    sent = [Frame(Opcode.BINARY if not place else Opcode.CONT, piece, fin=False) for place, piece in enumerate(pieces)]
    sent[-1].fin = True
    if draw(st.booleans()):
        sent.insert(1, Frame(Opcode.PING, b"still there?"))
    return sent


SENT = st.lists(st.one_of(PLAIN, PLAIN, LARGE, CONTROL, TEXT).map(lambda frame: [frame]) | fragments(), max_size=8).map(
    lambda groups: [frame for group in groups for frame in group]
)
SIZES = st.lists(st.sampled_from((1, 2, 3, 7, 14, 100, 4096, 65536, SCRATCH)), min_size=1, max_size=6)


class Reader:
    """A splitter that was given bytes in pieces, and what came of it, in order."""

    def __init__(self, *, is_server: bool, scratch: bytearray | None = None) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.scratch = scratch or bytearray(SCRATCH)
        self._splitter = Splitter(
            self._hear("message"), self._hear("other"), scratch=self.scratch, unmask=apply_mask if is_server else None
        )

    def _hear(self, kind: str) -> Callable[[bytes], None]:
        return lambda data: self.told.append((kind, data))

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing of its own is kept."""
        return self._splitter.get_buffer(-1).obj is self.scratch

    def feed(self, data: bytes, sizes: list[int]) -> None:
        """Give it ``data``, in pieces of ``sizes``, again and again."""
        turn = 0
        while data:
            room = self._splitter.get_buffer(-1)
            assert len(room) > 0, "an empty buffer ends the connection"
            count = min(len(room), len(data), sizes[turn % len(sizes)])
            room[:count], data = data[:count], data[count:]
            self._splitter.buffer_updated(count)
            turn += 1


def expected(sent: list[Frame], wires: list[bytes]) -> list[tuple[str, bytes]]:
    """Return what is to be told of ``sent``: plain messages by their content, all else as it was on the wire."""
    told: list[tuple[str, bytes]] = []
    for frame, wire in zip(sent, wires, strict=True):
        is_plain = frame.opcode is Opcode.BINARY and frame.fin
        told.append(("message", bytes(frame.data)) if is_plain else ("other", wire))
    return told


@given(SENT, SIZES, st.booleans())
def test_every_frame_is_told_once_and_in_order_in_whichever_pieces_it_comes(
    sent: list[Frame], sizes: list[int], is_server: bool
) -> None:
    wires = [frame.serialize(mask=is_server) for frame in sent]
    reader = Reader(is_server=is_server)
    reader.feed(b"".join(wires), [*sizes, SCRATCH])
    assert reader.told == expected(sent, wires)
    assert reader.is_idle


@pytest.mark.parametrize("is_server", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [
        b"\xc2\x05hello",  # a reserved bit
        head_of(LIMITS.frame + 1),
        b"\x82\x7f" + b"\xff" * 8,  # as long as can be said
        b"\x83\x00",  # a type that is none
    ],
    ids=["reserved bit", "too long", "as long as can be", "no type"],
)
def test_what_no_peer_may_send_is_left_to_the_library_with_all_that_follows(wrong: bytes, is_server: bool) -> None:
    reader, before, after = Reader(is_server=is_server), b"before", b"\x81\x00 and after"
    mask = secrets.token_bytes(4) if is_server else b""
    reader.feed(head_of(6, mask) + (apply_mask(before, mask) if mask else before), [3])
    if is_server:
        wrong = bytes((wrong[0], wrong[1] | 0x80)) + wrong[2:] + bytes(4)
    reader.feed(wrong + after, [SCRATCH])
    assert reader.told[0] == ("message", before)
    assert b"".join(data for kind, data in reader.told[1:] if kind == "other") == wrong + after


@pytest.mark.parametrize("is_server", [True, False])
def test_a_peer_that_masks_when_it_may_not_or_does_not_when_it_must_is_left_to_the_library(is_server: bool) -> None:
    reader = Reader(is_server=is_server)
    wire = Frame(Opcode.BINARY, b"hello").serialize(mask=not is_server)
    reader.feed(wire, [SCRATCH])
    assert reader.told == [("other", wire)]


@given(st.sampled_from((0, 1, 125, 126, 127, 65535, 65536, LIMITS.frame)), st.booleans())
def test_a_head_is_what_the_library_writes(size: int, is_masked: bool) -> None:
    mask = secrets.token_bytes(4) if is_masked else b""
    by_library = Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked)
    ours = head_of(size, mask)
    assert len(ours) + size == len(by_library)
    assert ours[: len(ours) - len(mask)] == by_library[: len(ours) - len(mask)]


def test_connections_share_what_they_read_into_and_never_each_other_s_bytes() -> None:
    scratch = bytearray(SCRATCH)
    readers = [Reader(is_server=False, scratch=scratch) for _ in range(3)]
    wires = [head_of(70_000) + bytes((65 + number,)) * 70_000 for number in range(3)]
    for start in range(0, len(wires[0]), 1000):
        for reader, wire in zip(readers, wires, strict=True):
            reader.feed(wire[start : start + 1000], [1000])
    assert [reader.told for reader in readers] == [[("message", bytes((65 + n,)) * 70_000)] for n in range(3)]
    assert all(reader.is_idle for reader in readers)
