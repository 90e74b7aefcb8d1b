"""uvicorn's protocols with bounds that they lack: how large a head is, how long it takes, who is waited for.

And with a shorter way for what the relay moves: plain binary messages go past the stream that the library keeps.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import apply_mask  # type: ignore[attr-defined] # the fast one, if it was built

from cmdop_server.limits import HEAD_BYTES, HEAD_SECONDS
from cmdop_server.relay.socket import HANG_UP, WRITE_NOW
from cmdop_wire.frames import LIMITS
from cmdop_wire.messages import JOINED, SCRATCH, Splitter, head_of

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from websockets.http11 import Request


class _Parser(httptools.HttpRequestParser):
    """Remembers what came with a request to upgrade, and is no part of it."""

    rest = b""

    def feed_data(self, data: Any) -> None:
        """Parse; the exception says where the request ended."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            raise


class BoundedHttpProtocol(HttpToolsProtocol):
    """Cuts off whoever sends a head without end, or nothing at all."""

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser: Any = _Parser(self)

    def handle_websocket_upgrade(self) -> None:
        """Keep for after the upgrade what a peer sent without waiting for it."""
        super().handle_websocket_upgrade()
        upgraded = self.transport.get_protocol()
        if isinstance(upgraded, BoundedWebSocketProtocol):
            upgraded.early = self.parser.rest

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock with the connection: silence is a slow head, too."""
        super().connection_made(transport)
        self._begin_head()

    def on_message_begin(self) -> None:
        """Start the clock of a further request on the same connection."""
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._end_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what arrives while the head is incomplete."""
        was_in_head = self._in_head
        super().data_received(data)
        # Only whole packets of head count, so that the start of a body is never mistaken for one.
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._end_head()
        super().connection_lost(exc)

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._in_head and not self.transport.is_closing():
            self.transport.close()


_scratch = bytearray(SCRATCH)  # a process serves with one event loop
AHEAD = LIMITS.frame  # bytes of messages that may wait for the relay before their peer has to


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Leaves whoever does not read: a transport that is closed waits for ever for a peer to take what is on its way.

    From the upgrade on, messages are taken from the network by a ``Splitter`` and written to it as they are.
    """

    _leaving: asyncio.TimerHandle | None = None
    _waiting = 0  # bytes of messages that the relay has not taken
    early = b""  # what came in one piece with the request

    async def send(self, message: "ASGISendEvent") -> None:
        """Send what the application says; a large binary message is not copied."""
        if message["type"] != "websocket.send":
            await super().send(message)
            if message["type"] == "websocket.accept" and not self.transport.is_closing():
                self._take_over()
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        data: Any = message["bytes"]
        self._write(b"", data)

    def handle_connect(self, event: "Request") -> None:
        """Tell the application that it may write without waiting, and hang up; read nothing until it has accepted."""
        super().handle_connect(event)
        if not self.close_sent:
            self.transport.pause_reading()  # the library would take what is there, and half of a frame with it
            extensions: Any = self.scope["extensions"]
            extensions[WRITE_NOW] = self.write_now
            extensions[HANG_UP] = self.transport.abort

    def write_now(self, begin: bytes, rest: bytes | memoryview) -> bool:
        """Write a binary message that comes in two parts; ``False`` when it has to wait, or is not to be said."""
        if not self.writable.is_set() or self.disconnected or self.close_sent or not self.handshake_complete:
            return False
        self._write(begin, rest)
        return True

    def _write(self, begin: bytes, rest: bytes | memoryview) -> None:
        head = head_of(len(begin) + len(rest)) + begin
        if len(rest) < JOINED:
            self.transport.write(b"".join((head, rest)))
        else:
            self.transport.writelines((head, rest))

    async def receive(self) -> "ASGIReceiveEvent":
        """Return the next event, and read on when most of what waited was taken."""
        message = await super().receive()
        if message["type"] == "websocket.receive":
            self._waiting -= len(message.get("bytes") or b"")
        return message

    def send_receive_event_to_app(self) -> None:
        """Hand on a message that came in several frames, or as text."""
        if self.curr_msg_data_type == "bytes" and not self.close_sent:
            self._waiting += sum(map(len, self.frames))
        super().send_receive_event_to_app()

    def _take_over(self) -> None:
        messages, early = _Messages(self), self.early
        self.transport.set_protocol(messages)  # uvloop asks a protocol how it reads when reading begins, below
        while early:
            room: Any = messages.get_buffer(len(early))
            size = min(len(room), len(early))
            room[:size] = early[:size]
            messages.buffer_updated(size)
            early = early[size:]
        self.early = b""
        if not self.read_paused:
            self.transport.resume_reading()

    def message_received(self, data: bytes) -> None:
        """Queue one message; a peer who is ahead of the relay waits."""
        if self.close_sent:
            return
        self._waiting += len(data)
        self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if self._waiting > AHEAD and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def keepalive_timeout(self) -> None:
        """Drop a peer that did not answer a ping; it will not answer a farewell either."""
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Serve, then give the peer as long to take the last of it as it has to answer a close."""
        await super().run_asgi()
        if not self.disconnected:
            self._leaving = self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nobody any more."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        super().connection_lost(exc)


class _Messages(asyncio.BufferedProtocol):
    """Reads for ``outer``, which is told of everything else."""

    def __init__(self, outer: BoundedWebSocketProtocol) -> None:
        splitter = Splitter(outer.message_received, outer.data_received, scratch=_scratch, unmask=apply_mask)
        self.get_buffer, self.buffer_updated = splitter.get_buffer, splitter.buffer_updated  # type: ignore[method-assign]
        self.connection_lost, self.eof_received = outer.connection_lost, outer.eof_received  # type: ignore[method-assign]
        self.pause_writing, self.resume_writing = outer.pause_writing, outer.resume_writing  # type: ignore[method-assign]
