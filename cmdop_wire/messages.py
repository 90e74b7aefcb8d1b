"""Whole binary messages out of, and into, the bytes of a websocket (RFC 6455 §5.2), without a copy to spare. No I/O.

Only the plain case is taken here: one unfragmented binary frame, which is all that this protocol sends. Anything else
(control frames, fragments, text, what breaks the rules) goes to the websocket library as it came, and the library
decides. Measured in docs/decisions/benchmarks.md: a library that takes every frame through a stream of its own copies
each byte four times.
"""

import struct
from collections.abc import Callable

from cmdop_wire.frames import LIMITS

SCRATCH = 256 * 1024  # bytes read at a time; shared by all connections of one event loop
JOINED = 16 * 1024  # bytes: less than that is copied into one TLS record with what stands before it
_BEYOND = 64 * 1024  # what is read beyond the end of a message that is not whole yet
_LONGEST_HEAD = 14
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")
_PLAIN = 0x82  # FIN, no reserved bit, binary
_FIN, _MASKED, _LENGTH = 0x80, 0x80, 0x7F
_CONTINUATION, _FIRST_CONTROL = 0x0, 0x8

Unmask = Callable[[memoryview, bytes], bytes]


def head_of(size: int, mask: bytes = b"") -> bytes:
    """Return what stands before a binary message of ``size`` bytes that goes in one frame; its ``mask`` has 4 bytes."""
    bit = _MASKED if mask else 0
    if size < 126:
        return bytes((_PLAIN, bit | size)) + mask
    if size < 65536:
        return bytes((_PLAIN, bit | 126)) + _SHORT.pack(size) + mask
    return bytes((_PLAIN, bit | 127)) + _LONG.pack(size) + mask


class Splitter:
    """Takes what arrives on one connection, from the first byte after the upgrade.

    ``on_message`` gets each plain message as bytes of its own; ``on_other`` everything else, whole frames in the order
    in which they came among the messages, and after something that no peer may send all that follows. ``unmask`` is
    given where the peer masks (the server's side). ``scratch`` has at least ``SCRATCH`` bytes and may be shared by all
    connections of one thread: between ``get_buffer`` and ``buffer_updated`` nobody else runs there. An idle connection
    keeps nothing.
    """

    def __init__(
        self,
        on_message: Callable[[bytes], None],
        on_other: Callable[[bytes], None],
        *,
        scratch: bytearray,
        unmask: Unmask | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_other = on_other
        self._scratch = scratch
        self._unmask = unmask
        self._mask_size = 0 if unmask is None else 4
        self._kept: bytearray | None = None  # a frame that is not whole yet, from its first byte
        self._filled = 0
        self._is_fragmented = False  # between the first and the last frame of a message in several
        self._is_left = False  # the rest is the library's

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Return where the next bytes are to be put (as ``asyncio.BufferedProtocol`` has it)."""
        return memoryview(self._scratch) if self._kept is None else memoryview(self._kept)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take ``nbytes`` bytes that were put there."""
        if self._kept is None:
            view, size = memoryview(self._scratch), nbytes
        else:
            view, size = memoryview(self._kept), self._filled + nbytes
        begin = 0
        while begin < size:
            whole = self._take(view[begin:size])
            if whole <= 0:
                self._keep(view[begin:size], -whole)
                return
            begin += whole
        self._kept = None

    def _keep(self, rest: memoryview, wanted: int) -> None:
        """Keep the beginning of a frame that has ``wanted`` bytes, with room for it and for some of what follows."""
        size = len(rest)
        if self._kept is None or len(self._kept) < wanted:
            kept = bytearray(wanted + _BEYOND)
            kept[:size] = rest
            self._kept = kept
        else:
            memoryview(self._kept)[:size] = rest  # the same memory, perhaps overlapping: moved, not copied twice
        self._filled = size

    def _take(self, view: memoryview) -> int:
        """Hand on the frame that ``view`` begins with and return its size; minus its size when it is not whole."""
        if self._is_left:
            self._on_other(bytes(view))
            return len(view)
        available = len(view)
        if available < 2:
            return -_LONGEST_HEAD
        first, second = view[0], view[1]
        size, begin = second & _LENGTH, 2
        if size >= 126:
            long = _SHORT if size == 126 else _LONG
            begin += long.size
            if available < begin:
                return -_LONGEST_HEAD
            (size,) = long.unpack_from(view, 2)
        if bool(second & _MASKED) != bool(self._mask_size) or size > LIMITS.frame or first & 0x70:
            self._is_left = True  # the library says what is wrong with it
            return self._take(view)
        begin += self._mask_size
        end = begin + size
        if available < end:
            return -end
        if first != _PLAIN or self._is_fragmented:
            opcode = first & 0x0F
            if opcode < _FIRST_CONTROL:
                self._is_fragmented = not first & _FIN
            self._on_other(bytes(view[:end]))
        elif self._unmask is None:
            self._on_message(bytes(view[begin:end]))
        else:
            self._on_message(self._unmask(view[begin:end], bytes(view[begin - 4 : begin])))
        return end
