"""The agent's link: one outbound websocket to the relay, dialled again with jittered back-off for as long as it takes.

Moves frames between the socket and ``Channels``; what they mean is decided in ``session.py``.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from cmdop_agent.channels import Channels
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, LINK, PROTOCOL, VERSION, CloseCode, Frame, Kind, Malformed

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
STEADY = 60.0  # a link that held so long starts the back-off anew
GONE_WAIT = 3600.0  # the workspace or this registration is no more: at most one attempt an hour (D-29)
GONE = frozenset({CloseCode.AUTH, CloseCode.GONE, CloseCode.FORBIDDEN})


@dataclass(slots=True)
class Wait:
    """How long to wait before the next attempt: full jitter over a doubling bound, one hour when we are not wanted."""

    random: Callable[[], float] = random.random
    _tries: int = 0

    def next(self, *, is_gone: bool) -> float:
        """Return the seconds to wait."""
        if is_gone:
            return float(GONE_WAIT * (0.75 + 0.5 * self.random()))
        self._tries += 1
        # Half of it is certain, so that a thousand agents of a restarted relay do not come back at once.
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2**self._tries)
        return float(bound * (0.1 + 0.9 * self.random()))

    def reset(self) -> None:
        """Begin anew after a link that held."""
        self._tries = 0


@dataclass(slots=True)
class LinkState:
    """What ``connect status`` tells of the link."""

    is_up: bool = False
    since: float = field(default_factory=monotonic)
    node: str = ""
    server_version: str = ""
    last_problem: str = ""
    next_attempt: float | None = None

    def changed(self, is_up: bool) -> None:
        """Note that the link went up or down just now."""
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
    ) -> None:
        self.state = LinkState()
        self._url = url
        self._credential = credential
        self._channels = channels
        self._hello = hello
        self._tls = tls
        self._on_welcome = on_welcome
        self._wake = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._is_stopping = False

    async def keep(self) -> None:
        """Dial, serve, and dial again, until ``stop``."""
        wait = Wait()
        while not self._is_stopping:
            started = monotonic()
            code = await self._once()
            self.state.changed(False)
            self._channels.link_lost()
            if monotonic() - started > STEADY:
                wait.reset()
            pause = wait.next(is_gone=code in GONE)
            self.state.next_attempt = monotonic() + pause
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    def dial_now(self) -> None:
        """Drop the link, if any, and dial at once: ``reload`` of the control socket (D-20)."""
        self._wake.set()
        if self._socket is not None:
            self._socket.transport.abort()

    async def stop(self) -> None:
        """Say goodbye, so that the machine is offline at once (D-28), and do not come back."""
        self._is_stopping = True
        self._wake.set()
        if self._socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
                async with asyncio.timeout(2):
                    await self._socket.send(frames.encode_json(Kind.CLOSE, LINK, reason="stopped"))
                    await self._socket.close(CloseCode.DONE)

    def send(self, frame: bytes) -> None:
        """Queue a frame of the link itself (heartbeat, event); lost when the link is down."""
        if self.state.is_up:
            self._channels.outbox.put(frame)

    async def _once(self) -> int | None:
        """Hold one connection; return the close code that the relay gave, if any."""
        try:
            async with connect(
                self._url,
                additional_headers={"Authorization": f"Bearer {self._credential()}"},
                subprotocols=[websockets.Subprotocol(PROTOCOL)],
                compression=None,
                max_size=LIMITS.frame,
                open_timeout=LIMITS.hello,
                ping_interval=LIMITS.ping,
                ping_timeout=LIMITS.dead - LIMITS.ping,
                ssl=self._tls,
                user_agent_header=None,
            ) as socket:
                self._socket = socket
                try:
                    await self._serve(socket)
                finally:
                    self._socket = None
        except websockets.InvalidStatus as refused:
            self.state.last_problem = f"the relay answered {refused.response.status_code}"
            return CloseCode.AUTH if refused.response.status_code in (401, 403, 404) else None
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            self.state.last_problem = closed.rcvd.reason if closed.rcvd else "the connection was lost"
            return code
        except Malformed as problem:
            self.state.last_problem = f"the relay sent what it may not: {problem}"
        except (OSError, TimeoutError, websockets.WebSocketException) as problem:
            self.state.last_problem = str(problem) or type(problem).__name__
        return None

    async def _serve(self, socket: ClientConnection) -> None:
        await socket.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, **self._hello()))
        async with asyncio.timeout(LIMITS.hello):
            welcome = self._frame(await socket.recv())
        if welcome.kind is not Kind.WELCOME:
            raise Malformed("the relay speaks before WELCOME")
        body = frames.body_of(welcome)
        self.state.changed(True)
        self.state.node, self.state.server_version = str(body.get("node", "")), str(body.get("server", ""))
        self.state.last_problem, self.state.next_attempt = "", None
        self._on_welcome(body)
        sender = asyncio.create_task(self._channels.outbox.drain(socket.send))
        try:
            async for message in socket:
                self._take(self._frame(message))
            raise websockets.ConnectionClosedOK(socket.protocol.close_rcvd, socket.protocol.close_sent)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await sender

    def _frame(self, message: str | bytes) -> Frame:
        if isinstance(message, str):
            raise Malformed("a text message")
        return frames.decode(message)

    def _take(self, frame: Frame) -> None:
        if frame.channel != LINK:
            self._channels.take(frame)
        elif frame.kind is Kind.PROBE:
            nonce = frames.body_of(frame).get("nonce")
            self._channels.outbox.put(frames.encode_json(Kind.PROBED, LINK, nonce=nonce))
        elif frame.kind is Kind.SEED:
            self._on_welcome(frames.body_of(frame))
        else:
            raise Malformed(f"{frame.kind.name} is not for the link")
