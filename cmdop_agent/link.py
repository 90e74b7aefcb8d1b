"""The agent's link: one outbound websocket to the relay, dialled again with jittered back-off for as long as it takes.

Moves frames between the socket and ``Channels``; what they mean is decided there and in ``session.py``.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import websockets

from cmdop_agent.channels import Channels
from cmdop_sdk.connection import Connection, Dial
from cmdop_sdk.network import proxy_for, unreachable
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, LINK, PROTOCOL, VERSION, CloseCode, Frame, Kind, Malformed
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)
_QUIET = logging.getLogger("cmdop_agent.websockets")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False  # what went wrong is told once, by the link

FIRST_BOUND, LONGEST_BOUND = 2.0, 8.0  # a relay that restarts, however long that took, has all machines within 10 s
LONGEST_BOUND_UNANSWERED = 30.0  # nobody says no: the relay is far away, or has more to do than it can
LONGEST_BOUND_WITH_STREAMS = 5.0  # somebody waits, and not longer than the grace
STEADY = 20.0  # a link that held so long starts the back-off anew
CONFLICT_WAIT = 300.0  # somebody else has our credential: D-5
GONE_WAIT = 3600.0  # the workspace or this registration is no more: at most one attempt an hour (D-29)
ALONE = {  # reasons of the relay for which nobody else dials now, in words
    "machine_moved": "this machine has moved to another workspace",
    "credential_changed": "this machine has a new credential",
}
GONE = frozenset({CloseCode.AUTH, CloseCode.GONE, CloseCode.FORBIDDEN})
GOODBYE = 2.0  # seconds for a polite end


@dataclass(slots=True)
class Wait:
    """How long to wait before the next attempt: jitter over a doubling bound, so that a thousand agents of a restarted
    relay do not come back at once; long where we are not wanted.
    """

    random: Callable[[], float] = random.random
    _tries: int = 0

    def next(self, code: int | None = None, *, has_streams: bool = False, is_unanswered: bool = False) -> float:
        """Return the seconds to wait after the relay closed with ``code``; ``None``: it did not say."""
        if code in GONE:
            return GONE_WAIT * (1.0 + 0.5 * self.random())
        if code == CloseCode.CONFLICT:
            return CONFLICT_WAIT * (0.5 + self.random())
        longest = LONGEST_BOUND_UNANSWERED if is_unanswered else LONGEST_BOUND
        bound = min(LONGEST_BOUND_WITH_STREAMS if has_streams else longest, FIRST_BOUND * 2.0**self._tries)
        self._tries = min(self._tries + 1, 10)
        return bound * (0.1 + 0.9 * self.random())

    def reset(self) -> None:
        """Begin anew after a link that held."""
        self._tries = 0


@dataclass(slots=True)
class LinkState:
    """What ``connect status`` tells of the link."""

    is_up: bool = False
    is_refused: bool = False  # the relay does not know this machine, or not any more
    is_unanswered: bool = False  # the last attempt met silence
    since: float = field(default_factory=monotonic)
    node: str = ""
    server_version: str = ""
    last_problem: str = ""
    problem_code: str = ""  # the same for programs: the relay's reason, an ``ErrorCode``, or one of ours
    next_attempt: float | None = None
    untold: int = 0  # decisions of the gate that no link has taken

    def failed(self, code: str, sentence: str) -> None:
        """Note why there is no link, for programs and in words."""
        self.problem_code, self.last_problem = code, sentence

    def changed(self, is_up: bool) -> None:
        """Note that the link went up or down just now."""
        if is_up is not self.is_up:
            self.is_up, self.since = is_up, monotonic()


class Link:
    """Keeps one link up."""

    def __init__(
        self,
        url: str,
        credential: Callable[[], str],
        channels: Channels,
        hello: Callable[[], dict[str, Any]],
        *,
        tls: ssl.SSLContext | None = None,
        on_welcome: Callable[[dict[str, Any]], None] = lambda _: None,
        on_lost: Callable[[LinkState], None] = lambda _: None,
        wait: Wait | None = None,
    ) -> None:
        self.state = LinkState()
        self._url = url
        self._credential = credential
        self._channels = channels
        self._hello = hello
        self._tls = tls
        self._on_welcome = on_welcome
        self._on_lost = on_lost
        self._wait = wait or Wait()
        self._wake = asyncio.Event()
        self._socket: Connection | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._told = ""  # why the relay ended the last link
        self._greeted = asyncio.Event()  # WELCOME has come
        self._ended = asyncio.Event()  # nothing comes any more, or what came was wrong
        self._problem: Exception | None = None

    async def keep(self) -> None:
        """Dial, serve, and dial again, until ``stop``."""
        while not self._is_stopping:
            started, self._told = monotonic(), ""
            code = await self._once()
            self.state.changed(False)
            self.state.is_refused = code in GONE
            self.state.untold += self._channels.outbox.waiting(Kind.EVENT)
            self._channels.link_lost()
            if monotonic() - started > STEADY:
                self._wait.reset()
            pause = self._wait.next(code, has_streams=len(self._channels) > 0, is_unanswered=self.state.is_unanswered)
            if self._told in ALONE:
                pause /= 20
            self.state.next_attempt = monotonic() + pause
            if self._wake.is_set() or self._is_stopping:
                pause = 0.0  # we left by ourselves
            else:
                self._on_lost(self.state)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    def dial_now(self) -> None:
        """Leave the link, if any, and dial at once: ``reload`` of the control socket (D-20). No stream ends."""
        self._wake.set()
        if self._socket is not None and self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(self._socket, CloseCode.GOING_AWAY))

    async def stop(self) -> None:
        """Say goodbye, so that the machine is offline at once (D-28), and do not come back."""
        self._is_stopping = True
        self._wake.set()
        if self._socket is not None:
            self._channels.outbox.put(frames.encode_json(Kind.CLOSE, LINK, reason="stopped"))
            await self._leave(self._socket, CloseCode.DONE, is_answered=True)

    def send(self, frame: bytes) -> None:
        """Queue a frame of the link itself (heartbeat, event); lost when the link is down, and events are counted."""
        if self.state.is_up:
            self._channels.outbox.put(frame)
        else:
            self.state.untold += frame[0] == Kind.EVENT

    async def _leave(self, socket: Connection, code: CloseCode, *, is_answered: bool = False) -> None:
        """Hand over what is queued, then close; whoever does not answer is left.

        After a goodbye the relay closes, once it is written that the machine is offline.
        """
        try:
            async with asyncio.timeout(GOODBYE):
                await self._channels.outbox.flushed()
                await (socket.wait_closed() if is_answered else socket.close(code))
        except (TimeoutError, websockets.ConnectionClosed):
            socket.abort()
        finally:
            self._leaving = None

    async def _once(self) -> int | None:
        """Hold one connection; return the close code that the relay gave, if any."""
        origin = "http" + self._url.removeprefix("ws").partition("/relay/")[0]
        self._ended, self._greeted, self._problem = asyncio.Event(), asyncio.Event(), None
        try:
            async with Dial(
                self._url,
                additional_headers={"Authorization": f"Bearer {self._credential()}"},
                subprotocols=[websockets.Subprotocol(PROTOCOL)],
                compression=None,
                max_size=LIMITS.frame,
                open_timeout=LIMITS.hello,
                ping_interval=LIMITS.ping,
                ping_timeout=LIMITS.dead - LIMITS.ping,
                close_timeout=GOODBYE,
                ssl=self._tls,
                proxy=proxy_for(origin),
                user_agent_header=None,
                process_exception=lambda error: error,  # no tries of its own
                create_connection=lambda *given, **options: Connection(  # type: ignore[arg-type] # a factory, as documented
                    self._received, self._ended.set, *given, **options
                ),
                logger=_QUIET,
            ) as socket:
                assert isinstance(socket, Connection), "we made it"
                socket.take_over()
                self._socket = socket
                try:
                    return await self._serve(socket)
                finally:
                    self._socket = None
        except websockets.InvalidStatus as refused:
            status = refused.response.status_code
            if status in (401, 403):
                self.state.failed(
                    ErrorCode.UNAUTHENTICATED, "the server does not know this machine, or not any more"
                )  # fmt: skip
                return CloseCode.AUTH
            self.state.failed(ErrorCode.UNAVAILABLE, f"the relay answered {status}")
        except websockets.ConnectionClosed as closed:
            return self._closed(closed)
        except Malformed as problem:
            self.state.failed(ErrorCode.MALFORMED, f"the relay sent what it may not: {problem}")
        except TimeoutError:
            self.state.is_unanswered = True
            self.state.failed("time_out", f"{origin} does not answer")
        except (OSError, EOFError, websockets.WebSocketException) as problem:
            self.state.failed("unreachable", unreachable(problem, origin).message)
        return None

    def _closed(self, closed: websockets.ConnectionClosed) -> int | None:
        if closed.rcvd is None:
            self.state.failed("lost", "the connection was lost")
            return None
        told = ALONE.get(self._told)
        did = "closed" if self._greeted.is_set() else "refused"
        reason = closed.rcvd.reason or str(closed.rcvd.code)
        self.state.failed(self._told if told else reason, told or f"the relay {did} the link: {reason}")
        return closed.rcvd.code

    async def _serve(self, socket: Connection) -> int | None:
        await socket.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, **self._hello()))
        welcomed, ended = (asyncio.ensure_future(event.wait()) for event in (self._greeted, self._ended))
        try:
            async with asyncio.timeout(LIMITS.hello):
                await asyncio.wait((welcomed, ended), return_when=asyncio.FIRST_COMPLETED)
            sender = asyncio.create_task(self._channels.outbox.drain(socket.send_parts))
            try:
                await asyncio.wait((sender, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                    await sender
        finally:
            welcomed.cancel()
            ended.cancel()
        if self._problem is not None:
            raise self._problem
        await socket.wait_closed()
        raise socket.protocol.close_exc

    def _received(self, message: bytes | bytearray) -> None:
        """Act on a message where it arrives, without a task in between; nothing follows one that is wrong."""
        if self._problem is not None:
            return
        try:
            frame = frames.decode(message)
            if self.state.is_up:
                self._take(frame)
            else:
                self._greet(frame)
            if self._channels.outbox.is_overrun:
                raise Malformed("the relay asks, and does not read the answers")
        except Exception as problem:  # of a bug of ours, too: the link is dialled again
            self._problem = problem
            self._ended.set()

    def _greet(self, welcome: Frame) -> None:
        if welcome.kind is Kind.CLOSE:
            self._told = str(frames.body_of(welcome).get("reason", ""))
            return
        if welcome.kind is not Kind.WELCOME:
            raise Malformed("the relay speaks before WELCOME")
        body = frames.body_of(welcome)
        self.state.changed(True)
        self.state.node, self.state.server_version = str(body.get("node", "")), str(body.get("server", ""))
        self.state.failed("", "")
        self.state.next_attempt = None
        self._channels.link_found()
        self._greeted.set()
        self._on_welcome(body)

    def _take(self, frame: Frame) -> None:
        if frame.channel != LINK:
            self._channels.take(frame)
        elif frame.kind is Kind.PROBE:
            nonce = frames.body_of(frame).get("nonce")
            self._channels.outbox.put(frames.encode_json(Kind.PROBED, LINK, nonce=nonce))
        elif frame.kind is Kind.CLOSE:
            self._told = str(frames.body_of(frame).get("reason", ""))
            log.info("the relay ends the link: %s", self._told)
        elif frame.kind is not Kind.PROBED:
            raise Malformed(f"{frame.kind.name} is not for the link")
