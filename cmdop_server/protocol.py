"""uvicorn's protocols with bounds that they lack: how large a head is, how long it takes, who is waited for."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from cmdop_server.limits import HEAD_BYTES, HEAD_SECONDS


class BoundedHttpProtocol(HttpToolsProtocol):
    """Cuts off whoever sends a head without end, or nothing at all."""

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

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


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Leaves whoever does not read: a transport that is closed waits for ever for a peer to take what is on its way."""

    _leaving: asyncio.TimerHandle | None = None

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
