"""One stream to the relay: a session, command or transfer, over a websocket that may be lost and resumed.

Bytes are neither lost nor repeated across a resume: both ends keep what the other has not consumed, and every byte
has its offset (docs/protocol.md). What frames mean is in ``stream_state``, how a websocket is made in ``dialing``, why
a stream ends in ``stream_ends``.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from cmdop_sdk import stream_ends
from cmdop_sdk.connection import Connection
from cmdop_sdk.dialing import CLOSING, Dialer, Purpose
from cmdop_sdk.errors import CMDOPError, InvalidRequest, ServiceUnavailable, StreamClosed, TimedOut, Unreachable
from cmdop_sdk.reauthenticating import reauthenticate
from cmdop_sdk.stream_state import Notice, Output, StreamState
from cmdop_sdk.websocket import ConnectionClosed
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Frame, Kind, Malformed

PATIENCE = 20.0  # seconds for the far side to say that it runs; a person there has LIMITS.approval more
REDIAL_FIRST, REDIAL_LONGEST = 0.1, 3.0  # seconds, jittered

OnNotice = Callable[[Notice], None]


def ignore(_: Notice) -> None:
    """Drop a notice."""


class Stream:
    """One open stream; use it in ``async with``, iterate over its output, and read ``exit`` afterwards.

    ``opening`` is the body of OPEN. A stream that ends before its end raises ``StreamClosed`` to whoever reads or
    sends. ``on_notice`` is called in the event loop and must not block.
    """

    def __init__(self, dialer: Dialer, opening: Mapping[str, Any], *, on_notice: OnNotice = ignore) -> None:
        self._dialer = dialer
        self._state = StreamState(opening)
        self._on_notice = on_notice
        self._connection: Connection | None = None
        self._is_joined = False  # input may be sent: the far side knows where we are
        self._is_paused = False
        self._due: bytes | None = None  # a grant for what was read before
        self._lost_at: float | None = None  # loop time until RESUMED; the grace counts from here
        self._wait = REDIAL_FIRST
        self._news = asyncio.Event()  # for whoever reads
        self._room = asyncio.Event()  # for whoever sends
        self._work = asyncio.Event()  # for the keeper
        self._sending = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._reauthing: asyncio.Task[None] | None = None

    @property
    def opened(self) -> Mapping[str, Any]:
        """Return what the far side said when it began."""
        return self._state.opened

    @property
    def has_output(self) -> bool:
        """Tell whether ``read`` has something to return now."""
        return bool(self._state.arrived)

    @property
    def exit(self) -> Mapping[str, Any] | None:
        """Return what the far side said when it ended; ``None`` before that, and for an observer."""
        return self._state.exit

    async def __aenter__(self) -> Self:
        """Connect and open; returns when the far side runs, raises why it does not."""
        try:
            await self._dial()
            self._keeper = asyncio.create_task(self._keep(), name="stream keeper")
            await self._until_opened()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Output:
        piece = await self.read()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read(self) -> Output | None:
        """Return the next piece of output, ``None`` after the last; raises what ended the stream before its end."""
        # Before anything is taken out: whoever is cancelled while this waits must not lose a piece.
        grant, self._due = self._due, None
        if grant is not None and self._is_joined:  # else it is said with the resume
            await self._put(grant)
        while not self._state.arrived:
            if self._state.is_over:
                self._check()
                return None
            self._news.clear()
            await self._news.wait()
        piece, self._due = self._state.pop()
        self._read_on()
        return piece

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send input, and wait while the far side does not take it. What is sent after the exit is dropped.

        What is sent while the connection is away arrives after it is resumed, once and in order.
        """
        self._check_hand()
        left = memoryview(data)
        async with self._sending:
            if self._state.input.is_ended:
                raise InvalidRequest("no input follows its end")
            while left and not self._state.is_over:
                room = min(self._state.input.room, LIMITS.chunk)
                if room <= 0:
                    self._room.clear()
                    await self._room.wait()
                    continue
                frame = self._state.input_frame(bytes(left[:room]))
                left = left[room:]
                if self._is_joined:
                    await self._put(frame)
        self._check()

    async def end_input(self) -> None:
        """Say that no more input follows."""
        self._check_hand()
        async with self._sending:
            frame = self._state.end_frame()
            if self._is_joined:
                await self._put(frame)

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the far terminal its new size."""
        self._check_hand()
        frame = self._state.resize_frame(cols, rows)
        if self._is_joined:
            await self._put(frame)

    async def signal(self, name: str) -> None:
        """Send a signal (``INT``, ``TERM`` …) to the far foreground processes; lost while the connection is away."""
        self._check_hand()
        self._check()
        await self._put(frames.encode_json(Kind.SIGNAL, STREAM, name=name))

    async def close(self) -> None:
        """Leave: what runs at the far side ends; an observer just goes."""
        if not self._state.is_over:
            await self._put(frames.encode_json(Kind.CLOSE, STREAM, reason="closed"))
        await self._stop()

    # -- called by the connection, without a task ------------------------------------------------------------------

    def _take(self, message: bytes | bytearray) -> None:
        state, was_opened = self._state, bool(self._state.opened)
        try:
            state.take(message)
            if state.opened and not was_opened:
                self._is_joined = True
            while state.notices:
                self._say(state.notices.popleft())
        except Malformed as problem:
            state.broken(problem)
        except Exception as bug:  # of ``on_notice``: whoever reads is told
            state.end(bug)
        self._read_on()
        self._wake()

    def _lost(self) -> None:
        if not self._is_alive:  # else it was an earlier connection
            self._is_joined = False
            self._state.is_resuming = bool(self._state.opened)
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._room.set()
        if self._state.to_answer or self._state.is_over or not self._is_alive:
            self._work.set()

    def _say(self, notice: Notice) -> None:
        if notice.code == "waiting_for_approval" and self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time() + LIMITS.approval + PATIENCE)
        self._on_notice(notice)

    def _read_on(self) -> None:
        """Keep an observer's memory bounded: who does not read makes the relay wait, and is cut by it (D-26)."""
        if not self._state.is_observer or self._connection is None:
            return
        if not self._is_paused and self._state.waiting > LIMITS.window:
            self._is_paused = True
            self._connection.pause()
        elif self._is_paused and self._state.waiting < LIMITS.window // 2:
            self._is_paused = False
            self._connection.resume()

    # -- the keeper: answers, and dials again ---------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            while not self._state.is_over:
                await self._work.wait()
                self._work.clear()
                while self._state.to_answer:
                    await self._answer(self._state.to_answer.popleft())
                if not self._is_alive and not self._state.is_over:
                    await self._after_loss()
        except Malformed as problem:
            self._state.broken(problem)
        except Exception as failure:  # also a bug of ours: whoever reads must not wait for ever
            self._state.end(failure)
        self._wake()

    async def _answer(self, frame: Frame) -> None:
        body = frames.body_of(frame)
        if frame.kind is Kind.PROBE:
            await self._put(frames.encode_json(Kind.PROBED, STREAM, nonce=body.get("nonce")))
            return
        connection, self._is_joined = self._connection, False
        for message in self._state.again(body):
            await self._put(message)
        if connection is self._connection and self._is_alive:
            self._is_joined, self._state.is_resuming = True, False
            self._lost_at, self._wait = None, REDIAL_FIRST
            self._say(Notice("resumed", "connected again"))

    async def _after_loss(self) -> None:
        assert self._connection is not None, "what was never there is not lost"
        state = self._state
        code, reason = self._connection.close_code or stream_ends.LOST, self._connection.close_reason or ""
        if state.farewell is not None:
            raise stream_ends.ended(state.farewell or reason, code)
        if not state.opened and code == stream_ends.LOST:
            raise Unreachable("the connection was lost before the machine answered; it may have begun")
        if code not in stream_ends.RESUMABLE or not state.is_resumable:
            raise stream_ends.ended(reason, code)
        await self._redial()

    async def _redial(self) -> None:
        """Dial until somebody answers or the grace is over; the far side then says from where it goes on."""
        now = asyncio.get_running_loop().time
        if self._lost_at is None:
            self._lost_at = now()
            self._say(Notice("reconnecting", "the connection was lost; reconnecting"))
        failure: CMDOPError = ServiceUnavailable("the relay did not take it up again")
        while now() < self._lost_at + LIMITS.grace:
            await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._wait = min(2 * self._wait, REDIAL_LONGEST)
            try:
                await self._dial(retries=0)
            except CMDOPError as problem:
                failure = problem
                if not failure.transient:
                    break
            else:
                return
        raise stream_ends.not_resumed(failure) from failure

    # -- the connection -------------------------------------------------------------------------------------------

    @property
    def _purpose(self) -> Purpose:
        return Purpose(self._state.machine, self._state.right)

    @property
    def _is_alive(self) -> bool:
        return self._connection is not None and self._connection.close_code is None

    async def _dial(self, retries: int | None = None) -> None:
        self._connection, shown = await self._dialer.dial(
            self._purpose, self._state.first_frame, self._take, self._lost, retries=retries
        )
        await _ended(self._reauthing)
        self._reauthing = None
        if shown.expires_at is not None:
            self._reauthing = asyncio.create_task(
                reauthenticate(self._dialer, self._purpose, shown, self._put), name="stream re-authentication"
            )

    async def _put(self, message: bytes) -> None:
        connection = self._connection
        if connection is not None and connection.close_code is None:
            # A loss is the keeper's affair: input is kept, the rest is said again or moot.
            with contextlib.suppress(ConnectionClosed):
                await connection.send(message)

    async def _until_opened(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE) as self._patience:
                while not self._state.opened and not self._state.is_over:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimedOut("the machine did not answer in time", hint="cmdop connect list") from None
        finally:
            self._patience = None
        if not self._state.opened:
            self._check()

    def _check(self) -> None:
        if self._state.failure is not None:
            raise self._state.failure

    def _check_hand(self) -> None:
        if self._state.is_observer:
            raise InvalidRequest("an observer only watches")

    async def _stop(self) -> None:
        self._state.end(StreamClosed("the stream was closed here", reason="closed"))
        self._wake()
        await _ended(self._reauthing, self._keeper)
        if self._connection is not None:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSING):
                        await self._connection.close(CloseCode.DONE)
            finally:
                self._connection.abort()
            await asyncio.sleep(0)  # the library's own task ends a turn later


async def _ended(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait until they have ended."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
