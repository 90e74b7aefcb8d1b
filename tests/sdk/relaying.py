"""A small real relay on loopback: it takes websockets as the relay does, and says what a test's script says.

``FarSide`` is a machine that keeps what was not consumed, as an agent does; it outlives the connections to it.
"""

import asyncio
import http
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from cmdop_sdk.auth import KeyCredential, Secret
from cmdop_sdk.bearers import Bearer, KeyBearer, Shown
from cmdop_sdk.dialing import CLIENT_PATH, Dialer, Target
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import LIMITS, PROTOCOL, STREAM, Frame, Kind
from cmdop_wire.ids import make_key

KEY = make_key("acme").text
COMMAND = {"kind": "command", "machine": "web-1", "argv": ["true"]}
OBSERVE = {"kind": "observe", "machine": "web-1"}
OPENED = {"stream_id": "ses_00000000000000000001", "resume": "resume-secret", "machine": "mch_00000000000000000001"}


class Peer:
    """One client's websocket, seen from the relay."""

    def __init__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.socket = socket
        self.bearer = socket.request.headers.get("Authorization", "").removeprefix("Bearer ")

    async def frame(self) -> Frame:
        """Return the next frame of the client."""
        message = await self.socket.recv()
        assert isinstance(message, bytes)
        return frames.decode(message)

    async def expect(self, kind: Kind) -> dict[str, Any]:
        """Return the body of the next frame, which must be a word of this type."""
        frame = await self.frame()
        assert frame.kind is kind
        return frames.body_of(frame)

    async def send(self, message: bytes) -> None:
        """Send one message."""
        await self.socket.send(message)

    async def word(self, kind: Kind, **body: Any) -> None:
        """Send one control frame."""
        await self.send(frames.encode_json(kind, STREAM, **body))

    async def open(self, **more: Any) -> dict[str, Any]:
        """Take OPEN and answer it; return what was asked for."""
        asked = await self.expect(Kind.OPEN)
        await self.word(Kind.OPENED, **{**OPENED, **more})
        return asked

    async def output(self, offset: int, data: bytes, kind: Kind = Kind.OUTPUT) -> None:
        """Send output that begins at ``offset``."""
        await self.send(frames.encode_data(kind, STREAM, offset, data))

    async def close(self, code: int, reason: str = "") -> None:
        """Close the websocket."""
        await self.socket.close(code, reason)

    def cut(self) -> None:
        """Drop the connection as a broken network does: no close frame, what is in flight is lost."""
        self.socket.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Relay:
    """The running relay; ``script`` serves each connection, ``answers`` refuse the next upgrades with a status."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests: list[Request] = []
        self.port = 0
        self.failures: list[BaseException] = []

    @property
    def origin(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self.port}"

    def dialer(self, bearer: Bearer | None = None, **options: Any) -> Dialer:
        """Return a dialer to it, with a key unless another bearer is given."""
        made = bearer or KeyBearer(KeyCredential.from_text(KEY, self.origin), self.origin)
        return Dialer(Target(self.origin), made, **options)

    def upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse the upgrade where the test or the protocol wants it."""
        self.requests.append(request)
        if self.answers:
            status, headers = self.answers.pop(0)
            response = connection.respond(http.HTTPStatus(status), f"it is {status}")
            for name, value in headers.items():
                response.headers[name] = value
            return response
        return None if request.path == CLIENT_PATH else connection.respond(http.HTTPStatus.NOT_FOUND, "no such stream")

    async def serve(self, socket: ServerConnection) -> None:
        """Run the script for one connection; a failed assertion in it fails the test."""
        try:
            await self.script(Peer(socket))
        except websockets.ConnectionClosed:
            pass
        except Exception as failure:
            self.failures.append(failure)
            socket.transport.abort()


@asynccontextmanager
async def relaying(script: Script, **options: Any) -> AsyncIterator[Relay]:
    """Run a relay for a while; its own failures come out at the end."""
    relay = Relay(script)
    options.setdefault("subprotocols", [PROTOCOL])
    async with serve(
        relay.serve,
        "127.0.0.1",
        0,
        process_request=relay.upgrade,
        compression=None,
        ping_interval=None,
        close_timeout=1,
        **options,
    ) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay
    for failure in relay.failures:
        raise failure


class TokenBearer:
    """Shows one token after another: a new one whenever the last was rejected or is about to end."""

    def __init__(self, *lives: float | None) -> None:
        self.shown: list[str] = []
        self._lives = list(lives)
        self._now: Shown | None = None

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Return the present token, or the next."""
        import time

        now = self._now
        if now is None or now.secret == rejected or (now.expires_at or 1e12) - 60 <= time.time():
            life = self._lives.pop(0) if len(self._lives) > 1 else self._lives[0]
            now = self._now = Shown(Secret(f"token-{len(self.shown)}"), None if life is None else time.time() + life)
            self.shown.append(now.secret.reveal())
        return now

    def forget(self) -> None:
        """Get the next token when it is asked for."""
        self._now = None


class FarSide:
    """What runs at the machine: says ``speech``, hears ``heard``, ends when both have ended."""

    def __init__(self, speech: bytes, piece: int = 1000) -> None:
        self.heard = bytearray()
        self._speech = speech
        self._piece = piece
        self._output = Sender()
        self._input = Receiver(LIMITS.input_window)

    def resumed(self, body: dict[str, Any]) -> list[bytes]:
        """Return what to send first on a new connection."""
        answer = [
            frames.encode_json(Kind.RESUMED, STREAM, received={"INPUT": self._input.received}),
            frames.encode_window(STREAM, Kind.INPUT, self._input.limit),
        ]
        return answer + [
            frames.encode_data(Kind.OUTPUT, STREAM, offset, data)
            for offset, data in self._output.again(body["received"]["OUTPUT"])
        ]

    def speak(self) -> bytes | None:
        """Return the next frame to send, ``None`` when there is nothing to say or no room to say it."""
        begins = self._output.sent
        data = self._speech[begins : begins + min(self._piece, self._output.room)]
        if data:
            return frames.encode_data(Kind.OUTPUT, STREAM, self._output.send(data), data)
        if begins == len(self._speech) and self._input.is_ended:
            return frames.encode_json(Kind.EXIT, STREAM, status=0, sent={"OUTPUT": begins, "ERROR": 0})
        return None

    def hear(self, frame: Frame) -> list[bytes]:
        """Take a frame of the client and return what to answer at once."""
        if frame.kind is Kind.WINDOW:
            self._output.granted(frames.window_of(frame)[1])
        elif frame.kind is Kind.END:
            self._input.end(frames.end_of(frame)[1])
        elif frame.kind is Kind.INPUT:
            new = self._input.take(*frames.data_of(frame))
            self.heard += new
            limit = self._input.consume(len(new))
            return [] if limit is None else [frames.encode_window(STREAM, Kind.INPUT, limit)]
        return []


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop, with a limit, and see that no task is left over."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            await test()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == [], "every task ends with its stream"

    asyncio.run(whole())


async def output_of(stream: Stream) -> bytes:
    """Return everything that a stream brings."""
    return b"".join([bytes(piece.data) async for piece in stream])


def with_stream(
    script: Script, use: Callable[[Stream], Awaitable[None]], opening: dict[str, Any] | None = None, **options: Any
) -> None:
    """Run ``script`` against ``use`` of one stream."""

    async def test() -> None:
        async with relaying(script) as relay:
            async with Stream(relay.dialer(), opening or COMMAND, **options) as stream:
                await use(stream)

    run(test)
