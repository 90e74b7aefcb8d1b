"""Credit-based flow control of one data type in one direction, with what a resume needs. No I/O.

Offsets count bytes since the channel opened. Grants and data carry them, so that what arrives twice, late or again
after a resume does no harm. ``Sender`` keeps what the peer has not consumed; ``Receiver`` grants as it consumes.
"""

from collections import deque
from collections.abc import Iterator

from cmdop_wire.frames import LIMITS, Malformed


class Sender:
    """The sending end: what may go now, and what must be kept in case the link is lost."""

    def __init__(self, window: int = LIMITS.window) -> None:
        self.window = window
        self.sent = 0  # offset of the next byte to send
        self.limit = window  # offset up to which the peer lets us send
        self.is_ended = False
        self._kept: deque[bytes] = deque()
        self._base = 0  # offset of the first kept byte

    @property
    def room(self) -> int:
        """Return how many bytes may be sent now."""
        return self.limit - self.sent

    @property
    def kept(self) -> int:
        """Return how many bytes are kept for a resume; never more than two windows."""
        return self.sent - self._base

    def send(self, data: bytes) -> int:
        """Account for ``data``, which must fit in ``room``, and return its offset."""
        assert len(data) <= self.room, "the sender asks for room first"
        assert not self.is_ended, "nothing follows the end"
        offset = self.sent
        self.sent += len(data)
        self._kept.append(data)
        return offset

    def granted(self, limit: int) -> None:
        """Take a grant: what lies a window below it was consumed, and need not be kept any longer."""
        if limit < self.limit:
            return  # an older grant, overtaken
        if limit - self.window > self.sent:
            raise Malformed("a grant beyond what was sent")
        self.limit = limit
        while self._kept and self._base + len(self._kept[0]) <= limit - self.window:
            self._base += len(self._kept.popleft())

    def again(self, received: int) -> Iterator[tuple[int, bytes]]:
        """Return what to send again, each piece with its offset, to a peer that has everything below ``received``.

        ``Malformed`` when it cannot have received that, or what follows it is no longer kept.
        """
        if not self._base <= received <= self.sent:
            raise Malformed("what the peer misses is no longer kept")
        return self._from(received)

    def _from(self, received: int) -> Iterator[tuple[int, bytes]]:
        offset = self._base
        for data in tuple(self._kept):
            end = offset + len(data)
            if end > received:
                start = max(received, offset)
                yield start, data[start - offset :]
            offset = end


class Receiver:
    """The receiving end: checks that the peer stays inside its grant, and grants again when half is consumed.

    ``start`` is where it begins when it did not see the channel open: an observer's first byte.
    """

    def __init__(self, window: int = LIMITS.window, start: int = 0) -> None:
        self.window = window
        self.received = start
        self.consumed = start
        self.limit = start + window
        self.is_ended = False

    def take(self, offset: int, data: memoryview) -> memoryview:
        """Return the part of ``data`` that is new; ``Malformed`` beyond the grant or after the end.

        Nothing is new of what came before, nor of what follows a gap: a link was lost in between, and the peer is
        about to send again from what we told it that we have.
        """
        end = offset + len(data)
        if end > self.limit:
            raise Malformed("data beyond the granted window")
        if offset > self.received or end <= self.received:
            return data[:0]
        if self.is_ended:
            raise Malformed("data after its end")
        new = data[self.received - offset :]
        self.received = end
        return new

    def end(self, offset: int) -> bool:
        """Take the mark that data ends at ``offset``; tell whether it does now, for the first time."""
        if offset < self.received or (self.is_ended and offset > self.received):
            raise Malformed("data ended elsewhere")
        if offset > self.received or self.is_ended:
            return False
        self.is_ended = True
        return True

    def consume(self, size: int) -> int | None:
        """Account for ``size`` bytes that were used up; return a new absolute grant when it is time for one."""
        self.consumed += size
        if self.limit - self.consumed > self.window // 2:
            return None
        self.limit = self.consumed + self.window
        return self.limit
