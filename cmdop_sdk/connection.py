"""A websocket of ours: what the library made, with messages that go past the streams and queues that it keeps.

Plain binary messages, which is nearly all that is ever said, are taken from the network and written to it as they are;
handshakes, pings, closing and whatever breaks the rules stay the library's.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable
from typing import Any

from cmdop_sdk.websocket import ClientConnection, Frame, Opcode, State, apply_mask, connect
from cmdop_wire.messages import JOINED, SCRATCH, Splitter, head_of

OnMessage = Callable[[bytearray | bytes], None]
OnLost = Callable[[], None]


class Connection(ClientConnection):
    """A websocket that hands on each message where it arrives: no queue, no task switch, no copy in between.

    Whoever takes the messages bounds what it keeps by the windows that it grants, or with ``pause`` and ``resume``.
    """

    def __init__(self, on_message: OnMessage, on_lost: OnLost, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._on_message = on_message
        self._on_lost = on_lost
        self._pieces: list[bytes | bytearray | memoryview] = []  # of a message in several frames

    async def send(self, message: Any, *options: Any, **named: Any) -> None:
        """Send a message and wait while the network does not take it; ``ConnectionClosed`` when it never will."""
        if type(message) is bytes:
            await self.send_parts(message)
        else:
            await super().send(message, *options, **named)

    async def send_parts(self, begin: bytes, rest: bytes = b"") -> None:
        """Send one message that comes in two parts, as ``send`` does."""
        if self.state is not State.OPEN or self.send_in_progress is not None:
            await super().send(begin + rest)
            return
        mask = secrets.token_bytes(4)
        head = head_of(len(begin) + len(rest), mask)
        if len(rest) > JOINED:
            turned = len(begin) % 4  # the mask goes on where the first part left it
            self.transport.writelines((head + apply_mask(begin, mask), apply_mask(rest, mask[turned:] + mask[:turned])))
        else:
            self.transport.write(head + apply_mask(begin + rest, mask))
        if self.paused:
            try:
                await self.drain()
            except OSError as problem:
                await asyncio.shield(self.connection_lost_waiter)
                raise self.protocol.close_exc from problem

    def process_event(self, event: Any) -> None:
        """Take what the protocol understood of the bytes that came."""
        if not isinstance(event, Frame) or event.opcode not in (
            Opcode.BINARY,
            Opcode.CONT,
            Opcode.TEXT,
        ):
            super().process_event(event)
        elif event.opcode is Opcode.BINARY and event.fin:
            self._on_message(event.data)  # type: ignore[arg-type] # memoryviews are only sent
        elif event.opcode is Opcode.TEXT:
            self._on_message(b"")  # which is no frame
        else:
            self._pieces.append(event.data)  # all of them together within max_size
            if event.fin:
                message = b"".join(self._pieces)
                self._pieces.clear()
                self._on_message(message)

    def take_over(self) -> None:
        """Read past the library from now on, unless something has arrived before that was not understood yet."""
        if self.protocol.reader.buffer or self.transport.is_closing():
            return
        # uvloop asks a protocol how it reads when reading begins.
        self.transport.pause_reading()
        self.transport.set_protocol(_Messages(self, self._on_message))
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that nothing comes or goes any more."""
        super().connection_lost(exc)
        self._on_lost()

    def pause(self) -> None:
        """Read no more from the network until ``resume``."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.transport.abort()


class Dial(connect):
    """``connect`` that follows no redirect: a credential stays with its server (D-23)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the answer as what it is: a refusal."""
        return exc


_of_thread = threading.local()


def _scratch() -> bytearray:
    """Return what the connections of this thread share: one loop runs in it at a time, and reads one at a time."""
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = bytearray(SCRATCH)
    found: bytearray = _of_thread.scratch
    return found


class _Messages(asyncio.BufferedProtocol):
    """Reads for ``outer``, which is told of everything else."""

    def __init__(self, outer: Connection, on_message: OnMessage) -> None:
        splitter = Splitter(on_message, outer.data_received, scratch=_scratch())
        self.get_buffer, self.buffer_updated = splitter.get_buffer, splitter.buffer_updated  # type: ignore[method-assign]
        self.connection_lost, self.eof_received = outer.connection_lost, outer.eof_received  # type: ignore[method-assign]
        self.pause_writing, self.resume_writing = outer.pause_writing, outer.resume_writing  # type: ignore[method-assign]
