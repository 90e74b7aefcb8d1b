"""One websocket as the relay uses it: frames in, frames out in order, and a queue that is bounded by windows."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, PROTOCOL, CloseCode, Frame, Malformed

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

WriteNow = Callable[[bytes, bytes | memoryview], bool]
HangUp = Callable[[], None]
WRITE_NOW = "cmdop.write_now"  # the extension of our server: takes a message unless its peer is behind
HANG_UP = "cmdop.hang_up"  # another one: drops the connection, with what its peer has not taken

QUEUE = 4 * LIMITS.window  # more than two windows and the control frames can ever need
FAREWELL = 2.0  # seconds that a peer who was cut has for hearing why (D-14)
BROKEN = 1006  # RFC 6455 §7.1.5: gone without a word


class Gone(Exception):
    """The peer has closed, or was closed; ``code`` is the websocket's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Socket:
    """A websocket after its upgrade. ``put`` never blocks; a task of the socket's own sends at the peer's pace."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.is_closed = False
        self._receive = receive
        extensions = scope.get("extensions", {})
        self._write_now: WriteNow | None = extensions.get(WRITE_NOW)
        self._hang_up: HangUp | None = extensions.get(HANG_UP)
        self._send = send
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._closing: tuple[int, str] | None = None
        self._is_cut = False
        self._draining: asyncio.Task[None] | None = None

    async def accept(self) -> None:
        """Complete the upgrade, and begin to send."""
        await self._send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        self._draining = asyncio.create_task(self._drain())

    async def receive(self) -> Frame:
        """Return the next frame; ``Gone`` when there will be none, ``Malformed`` when it is none."""
        message = await self._receive()
        while self._is_cut and message["type"] != "websocket.disconnect":
            message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.is_closed = True
            self._wake.set()
            self._has_room.set()
            raise Gone(message.get("code") or BROKEN)
        data = message.get("bytes")
        if data is None:
            raise Malformed("a text message")
        return frames.decode(data)

    def put(self, message: bytes, rest: bytes | memoryview = b"") -> bool:
        """Send one message at once, or queue it when others wait.

        It may come in two parts, so that nobody has to join them. ``False`` when the queue is overrun, which the
        windows should have prevented.
        """
        if self.is_closed or self._closing is not None:
            return True
        # What is being sent counts as waiting until it is: nothing overtakes it.
        if not self._size and self._write_now is not None and self._write_now(message, rest):
            return True
        self._queue.append(b"".join((message, rest)))
        self._size += len(message) + len(rest)
        self._wake.set()
        if self._size > QUEUE // 2:
            self._has_room.clear()
        return self._size <= QUEUE

    @property
    def queued(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._size

    async def room(self) -> None:
        """Wait until the peer has taken most of what is queued; what feeds this socket waits here."""
        await self._has_room.wait()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close after what is queued; anything put later is dropped."""
        if self._closing is None:
            self._closing = (int(code), reason[:100])
            self._wake.set()
            self._has_room.set()

    def cut(self) -> None:
        """Forget what waits to be sent, and hear nothing more: the peer's right is gone, and ``close`` says why.

        One who does not read, or reads as slowly as can be, is hung up on before long.
        """
        if self._is_cut or self.is_closed:
            return
        self._is_cut = True
        self._queue.clear()
        self._size = 0
        if self._draining is not None:  # it may hold a message, and waits for the peer to have room for it
            self._draining.cancel()
            self._draining = asyncio.create_task(self._drain())
            self._wake.set()
        if self._hang_up is not None:
            asyncio.get_running_loop().call_later(FAREWELL, self._hang_up)

    async def drained(self, seconds: float) -> None:
        """Wait until the last of it is sent, or give up after ``seconds``."""
        if self._draining is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(seconds):
                await self._draining
        self._draining.cancel()

    async def _drain(self) -> None:
        while not self.is_closed:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not self.is_closed:
                message = self._queue.popleft()
                await self._send({"type": "websocket.send", "bytes": message})
                self._size -= len(message)
                if self._size <= QUEUE // 4:
                    self._has_room.set()
            if self._closing is not None and not self.is_closed:
                self.is_closed = True
                code, reason = self._closing
                await self._send({"type": "websocket.close", "code": code, "reason": reason})


async def refuse(send: Send, status: int, reason: str, *, retry_after: int | None = None) -> None:
    """Refuse the upgrade with an HTTP status; ``retry_after`` is in seconds.

    401 no credential, 403 origin, 404 path, 421 the relay is elsewhere, 426 subprotocol, 429 too often, 503 busy.
    """
    body = reason.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
