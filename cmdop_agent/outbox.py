"""Frames on their way to the link: one lane for each channel, served in turn, so that nobody waits for a big talker."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from cmdop_wire.frames import LIMITS, LINK, Kind

LANE = 2 * LIMITS.chunk  # bytes of one channel that may be queued before its process pauses
MOST_SAID = 4 * 1024 * 1024  # bytes of answers that may wait for a relay which goes on asking and reads none


def lane_of(frame: bytes) -> int:
    """Return the channel that an encoded frame belongs to."""
    return int.from_bytes(frame[1:5], "big")


class Outbox:
    """What is queued, in which order it leaves, and how much room each channel has."""

    def __init__(self, on_room: Callable[[int], None] = lambda _: None) -> None:
        self._on_room = on_room
        self._lanes: dict[int, deque[tuple[bytes, bytes]]] = {}
        self._turns: deque[int] = deque()
        self._queued: dict[int, int] = {}
        self._said = 0  # bytes that wait and are no output: nobody's window bounds them
        self._news = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def room(self, number: int) -> int:
        """Return how many more bytes of output a channel may queue; control frames always may."""
        return LANE - self._queued.get(number, 0)

    def put(self, frame: bytes | None, data: bytes = b"") -> None:
        """Queue a frame, or its beginning and the ``data`` that follows.

        ``None`` (no link) is dropped, the channel keeps what must not be lost. What speaks of the link itself goes
        first: a probe's answer must not wait for anybody's output.
        """
        if frame is None:
            return
        number = lane_of(frame)
        if number not in self._lanes:
            self._lanes[number] = deque()
            if number == LINK:
                self._turns.appendleft(number)
            else:
                self._turns.append(number)
        self._lanes[number].append((frame, data))
        self._queued[number] = self._queued.get(number, 0) + len(frame) + len(data)
        self._said += len(frame)
        self._news.set()
        self._is_empty.clear()

    @property
    def is_overrun(self) -> bool:
        """Tell whether more answers wait than a relay that reads ever leaves."""
        return self._said > MOST_SAID

    def waiting(self, kind: Kind) -> int:
        """Return how many frames of one kind wait that speak of the link itself."""
        return sum(frame[0] == kind for frame, _ in self._lanes.get(LINK, ()))

    def drop(self, number: int) -> None:
        """Forget what a channel has queued: it has another number now, or nobody wants it."""
        lane = self._lanes.pop(number, None)
        if lane is not None:
            self._turns.remove(number)
            self._queued.pop(number, None)
            self._said -= sum(len(frame) for frame, _ in lane)

    def clear(self) -> None:
        """Forget everything: the link it was meant for is gone."""
        self._lanes.clear()
        self._turns.clear()
        self._queued.clear()
        self._said = 0
        self._is_empty.set()

    async def flushed(self) -> None:
        """Wait until everything has been handed to the link."""
        await self._is_empty.wait()

    async def drain(self, send: Callable[[bytes, bytes], Awaitable[None]]) -> None:
        """Send for ever, one frame after the other, at the pace of the link."""
        while True:
            while not self._turns:
                self._is_empty.set()
                self._news.clear()
                await self._news.wait()
            number = self._turns.popleft()
            lane = self._lanes[number]
            frame, data = lane.popleft()
            self._said -= len(frame)
            if not lane:
                del self._lanes[number]
            elif number == LINK:
                self._turns.appendleft(number)
            else:
                self._turns.append(number)
            await send(frame, data)
            self._sent(number, len(frame) + len(data))

    def _sent(self, number: int, size: int) -> None:
        before = self._queued.get(number, 0)
        left = max(0, before - size)
        if left:
            self._queued[number] = left
        else:
            self._queued.pop(number, None)
        if before >= LANE > left:
            self._on_room(number)
