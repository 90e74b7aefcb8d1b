"""Credit-based flow control of one data type in one direction, with what a resume needs. No I/O.

Offsets count bytes since the channel opened. Grants are absolute, so that one which arrives twice, late or again
after a resume does no harm. ``Sender`` keeps what the peer has not consumed; ``Receiver`` grants as it consumes.
"""

from collections import deque

from cmdop_wire.frames import LIMITS, Malformed


class Sender:
    """The sending end: what may go now, and what must be kept in case the link is lost."""

    def __init__(self, window: int = LIMITS.window) -> None:
        self.sent = 0  # offset of the next byte to send
        self.limit = window  # offset up to which the peer lets us send
        self.is_ended = False
        self._kept: deque[bytes] = deque()
        self._base = 0  # offset of the first kept byte

    @property
    def room(self) -> int:
        """Return how many bytes may be sent now."""
        return self.limit - self.sent

    def send(self, data: bytes) -> bytes:
        """Account for ``data``, which must fit in ``room``, and return it."""
        assert len(data) <= self.room, "the sender asks for room first"
        self.sent += len(data)
        self._kept.append(data)
        return data

    def granted(self, limit: int, window: int) -> None:
        """Take a grant: what lies ``window`` below it was consumed, and need not be kept any longer."""
        if limit < self.limit:
            return  # an older grant, overtaken
        consumed = limit - window
        if consumed > self.sent:
            raise Malformed("a grant beyond what was sent")
        self.limit = limit
        self.forget(consumed)

    def forget(self, consumed: int) -> None:
        """Drop what the peer has for certain: everything below the offset ``consumed``."""
        while self._kept and self._base + len(self._kept[0]) <= consumed:
            self._base += len(self._kept.popleft())

    def again(self, received: int) -> list[bytes]:
        """Return what to send again to a peer that has everything below ``received``; ``Malformed`` if it is gone."""
        if not self._base <= received <= self.sent:
            raise Malformed("what the peer misses is no longer kept")
        pieces, offset = [], self._base
        for data in self._kept:
            if offset + len(data) > received:
                pieces.append(data[max(0, received - offset) :])
            offset += len(data)
        return pieces


class Receiver:
    """The receiving end: checks that the peer stays inside its grant, and grants again when half is consumed."""

    def __init__(self, window: int = LIMITS.window) -> None:
        self.window = window
        self.received = 0
        self.consumed = 0
        self.limit = window
        self.is_ended = False

    def take(self, size: int) -> None:
        """Account for ``size`` bytes that arrived; ``Malformed`` when they exceed the grant or follow the end."""
        self.received += size
        if self.received > self.limit or self.is_ended:
            raise Malformed("data beyond the granted window")

    def consume(self, size: int) -> int | None:
        """Account for ``size`` bytes that were used up; return a new absolute grant when it is time for one."""
        self.consumed += size
        if self.limit - self.consumed > self.window // 2:
            return None
        self.limit = self.consumed + self.window
        return self.limit
