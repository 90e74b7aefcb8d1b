"""The relay's end of an agent's link, as small as it can be: a real websocket server that a test steers frame by frame.

What the real relay decides is tested with the real relay; here tests say exactly what an agent gets to see, and when.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection, serve

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.link import Wait
from cmdop_agent.permissions import Permissions
from cmdop_agent.registration import Registration
from cmdop_cli import loops
from cmdop_wire import frames
from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import DATA, LIMITS, LINK, PROTOCOL, VERSION, CloseCode, Frame, Kind
from cmdop_wire.ids import make_id, make_token
from cmdop_wire.vocab import GateMode

SECONDS = 20.0


class Call:
    """One stream as its caller sees it, on whichever link it rides now."""

    def __init__(self, relay: "Relay", number: int, stream_id: str) -> None:
        self.relay = relay
        self.number = number
        self.stream_id = stream_id
        self.told: asyncio.Queue[tuple[Kind, dict[str, Any]]] = asyncio.Queue()
        self.out = {Kind.OUTPUT: bytearray(), Kind.ERROR: bytearray()}
        self.exit: dict[str, Any] | None = None
        self.opened: dict[str, Any] = {}
        self.is_reading = True  # a caller who does not read grants nothing
        self.received = {Kind.OUTPUT: Receiver(), Kind.ERROR: Receiver()}
        self.input = Sender(LIMITS.input_window)
        self.news = asyncio.Event()

    @property
    def text(self) -> str:
        """Return the standard output so far."""
        return self.out[Kind.OUTPUT].decode(errors="replace")

    def take(self, frame: Frame) -> None:
        """Take one frame of the machine."""
        if frame.kind in DATA:
            new = self.received[frame.kind].take(*frames.data_of(frame))
            self.out[frame.kind] += new
            if self.is_reading:
                self._grant(frame.kind, len(new))
        elif frame.kind is Kind.WINDOW:
            self.input.granted(frames.window_of(frame)[1])
        else:
            body = frames.body_of(frame)
            if frame.kind is Kind.EXIT:
                self.exit = body
            elif frame.kind is Kind.OPENED:
                self.opened = body
            elif frame.kind is Kind.RESUMED:
                self.relay.resend(self, body["received"]["INPUT"])
            self.told.put_nowait((frame.kind, body))
        self.news.set()

    def _grant(self, kind: Kind, size: int) -> None:
        limit = self.received[kind].consume(size)
        if limit is not None:
            self.relay.send(frames.encode_window(self.number, kind, limit))

    def read_again(self) -> None:
        """Start to read what came while nothing was granted."""
        self.is_reading = True
        for kind, receiver in self.received.items():
            self._grant(kind, receiver.received - receiver.consumed)

    async def next(self, *wanted: Kind) -> dict[str, Any]:
        """Return the body of the next of these frames; anything else that comes first fails the test."""
        async with asyncio.timeout(SECONDS):
            kind, body = await self.told.get()
        assert kind in wanted, f"{kind.name} {body}"
        return body

    async def until(self, shown: Callable[["Call"], object]) -> None:
        """Wait until ``shown(self)`` holds."""
        async with asyncio.timeout(SECONDS):
            while not shown(self):
                self.news.clear()
                await self.news.wait()

    async def ended(self) -> dict[str, Any]:
        """Wait for the EXIT and return it; everything that was sent has arrived by then."""
        await self.until(lambda call: call.exit is not None)
        assert self.exit is not None
        assert self.exit["sent"] == {kind.name: len(data) for kind, data in self.out.items()}
        return self.exit

    def type(self, data: bytes) -> None:
        """Send input; the test stays within what was granted."""
        self.relay.send(frames.encode_data(Kind.INPUT, self.number, self.input.send(data), data))

    def end_input(self) -> None:
        """Say that no more input follows."""
        self.relay.send(frames.encode_end(self.number, Kind.INPUT, self.input.sent))

    def say(self, what: Kind, body: dict[str, Any]) -> None:
        """Send a control frame on this channel."""
        self.relay.send(frames.encode(what, self.number, json.dumps(body).encode()))

    def close(self, reason: str = "closed") -> None:
        """Let the machine end the channel, or forget what it kept."""
        self.say(Kind.CLOSE, {"reason": reason})


@dataclass
class Relay:
    """A websocket server for one agent. ``answer`` may refuse the upgrade; ``welcome`` is added to WELCOME."""

    url: str = ""
    welcome: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[], int | None] = lambda: None
    location: str = ""  # where ``answer`` sends the caller to
    hellos: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    told: list[tuple[Kind, dict[str, Any]]] = field(default_factory=list)  # on the link itself
    calls: dict[int, Call] = field(default_factory=dict)
    closed: list[int | None] = field(default_factory=list)
    socket: ServerConnection | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 1
    _sending: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def serve(self, socket: ServerConnection) -> None:
        """Hold one link."""
        hello = frames.decode(await socket.recv(decode=False))
        assert (hello.kind, hello.channel) == (Kind.HELLO, LINK)
        self.hellos.append(frames.body_of(hello))
        await socket.send(
            frames.encode_json(Kind.WELCOME, LINK, version=VERSION, server="9.9", node="n1", **self.welcome)
        )
        self.socket, self._sending = socket, asyncio.Queue()
        self._tell()
        sender = asyncio.create_task(self._drain(socket, self._sending))
        try:
            with contextlib.suppress(websockets.ConnectionClosedError):
                async for message in socket:
                    assert isinstance(message, bytes)
                    frame = frames.decode(message)
                    self._take(frame)
                    if (frame.kind, frame.channel) == (Kind.CLOSE, LINK):
                        return  # the goodbye is written; the relay closes
        finally:
            sender.cancel()
            self.closed.append(socket.close_code)
            if self.socket is socket:
                self.socket = None
            self._tell()

    async def _drain(self, socket: ServerConnection, queue: "asyncio.Queue[bytes]") -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.send(await queue.get())

    def _take(self, frame: Frame) -> None:
        if frame.channel == LINK:
            self.told.append((frame.kind, frames.body_of(frame)))
            self._tell()
        elif frame.channel in self.calls:
            self.calls[frame.channel].take(frame)

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, shown: Callable[["Relay"], object]) -> None:
        """Wait until ``shown(self)`` holds."""
        async with asyncio.timeout(SECONDS):
            while not shown(self):
                await self.news.wait()

    async def linked(self) -> None:
        """Wait until the agent's link is up."""
        await self.until(lambda relay: relay.socket is not None)

    def send(self, message: bytes) -> None:
        """Send one frame on the link."""
        self._sending.put_nowait(message)

    def call(self, kind: str = "command", stream_id: str | None = None, **opening: Any) -> Call:
        """Open a channel."""
        stream_id = stream_id or make_id("session")
        number, self._number = self._number, self._number + 1
        call = self.calls[number] = Call(self, number, stream_id)
        actor = {"kind": "account", "id": "usr_1", "label": "ann@example.com"}
        call.say(Kind.OPEN, {"stream_id": stream_id, "kind": kind, "actor": actor, **opening})
        return call

    def resume(self, call: Call, received: dict[str, int] | None = None) -> None:
        """Let a call ride on the present link, on a new number."""
        self.calls.pop(call.number, None)
        number, self._number = self._number, self._number + 1
        call.number, self.calls[number] = number, call
        have = {kind.name: receiver.received for kind, receiver in call.received.items()}
        call.say(Kind.RESUME, {"stream_id": call.stream_id, "received": have if received is None else received})

    def resend(self, call: Call, received: int) -> None:
        """Send the input again that the machine does not have, and the grants: the last ones may be lost."""
        for offset, data in call.input.again(received):
            self.send(frames.encode_data(Kind.INPUT, call.number, offset, data))
        for kind, receiver in call.received.items():
            self.send(frames.encode_window(call.number, kind, receiver.limit))

    def cut(self) -> None:
        """Break the connection without a word."""
        assert self.socket is not None
        self.socket.transport.abort()

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """End the link with a close code."""
        assert self.socket is not None
        await self.socket.close(code, reason)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine; a minute is more than any needs, and nothing may be left running."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            await work()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []

    with asyncio.Runner(loop_factory=loops.fast()) as runner:  # the agent's own
        runner.run(whole())


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """Give a relay that listens on loopback."""
    made = Relay()

    def before(connection: ServerConnection, request: websockets.Request) -> websockets.Response | None:
        made.attempts.append(asyncio.get_running_loop().time())
        assert request.path == "/relay/agent"
        status = made.answer()
        if status is None:
            return None
        answer = connection.respond(HTTPStatus(status), "no\n")
        if made.location:
            answer.headers["Location"] = made.location
        return answer

    async with serve(
        made.serve,
        "127.0.0.1",
        0,
        process_request=before,
        subprotocols=[websockets.Subprotocol(PROTOCOL)],
        max_size=LIMITS.frame,
        compression=None,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        made.url = f"ws://127.0.0.1:{port}/relay/agent"
        yield made


class Impatient(Wait):
    """Comes back at once, where a test is not about waiting."""

    def next(self, code: int | None = None, **how: bool) -> float:
        """Return next to nothing."""
        return 0.02


def registration(url: str, **fields: Any) -> Registration:
    """Return a registration at ``url``."""
    known: dict[str, Any] = {
        "server": "http://127.0.0.1",
        "relay_url": url,
        "mode": "prod",
        "workspace_id": make_id("workspace"),
        "workspace_slug": "acme",
        "machine_id": make_id("machine"),
        "hostname": "web-1",
        "name": "web-1",
        "credential": make_token("machine"),
    }
    return Registration(**{**known, **fields})


def own_folder() -> Path:
    """Return where the test's agent keeps its own files."""
    return Path(os.environ["CMDOP_CONFIG_DIR"]) / "agent"


@asynccontextmanager
async def running(
    mode: GateMode | None = GateMode.BYPASS,
    *rules: Any,
    at: Relay | None = None,
    **fields: Any,
) -> AsyncIterator[tuple[Agent, Relay]]:
    """Give a running agent with its link up, whose gate is in ``mode``; ``None`` leaves it as it is."""
    async with contextlib.AsyncExitStack() as stack:
        there = at or await stack.enter_async_context(relay())
        agent = Agent(own_folder(), registration(there.url, **fields), facts("0.1", "web-1"), say=lambda _: None)
        agent.link._wait = Impatient()
        if mode is not None:
            agent.permissions.write(Permissions(mode, tuple(rules)))
        task = asyncio.create_task(agent.run())
        try:
            await asyncio.wait([task, asyncio.ensure_future(there.linked())], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield agent, there
        finally:
            agent.stopping.set()
            await task
