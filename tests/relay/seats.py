"""Seats at streams for tests of the relay: streams not yet open, and people who sit at them and write down what comes.

``Seats`` is the usual table: who is about to lose a right as operator, observer and with a command, and a bystander.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cmdop_sdk.auth import Secret
from cmdop_sdk.bearers import Shown
from cmdop_sdk.dialing import Dialer, Target
from cmdop_sdk.errors import CMDOPError
from cmdop_sdk.stream import Stream
from cmdop_wire import frames
from cmdop_wire.frames import STREAM, Kind
from tests.world import World

GENEROUS = 60.0  # seconds for what takes milliseconds: the machine may be busy with everything else
SHELL = {"kind": "session", "argv": ["/bin/sh"]}


class Fixed:
    """A bearer that shows one credential, whatever becomes of it."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Show it."""
        return Shown(Secret(self._text), None)


def stream(world: World, credential: str, **opening: object) -> Stream:
    """Return a stream, not yet open."""
    return Stream(Dialer(Target(world.server.url), Fixed(credential)), opening)


async def read_until(opened: Stream, wanted: bytes) -> bytes:
    """Read until ``wanted`` was seen and return everything read."""
    seen = b""
    async with asyncio.timeout(10):
        while wanted not in seen:
            piece = await opened.read()
            assert piece is not None, seen
            seen += piece.data
    return seen


@dataclass(eq=False)
class Seat:
    """Someone at a stream, what they saw, and how and when it ended for them."""

    name: str
    stream: Stream
    right: str
    seen: bytearray = field(default_factory=bytearray)
    reason: str = ""
    ended_at: float | None = None  # monotonic
    _watching: "asyncio.Task[None] | None" = None

    def watch(self) -> None:
        """Write down what comes, until it ends."""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            while (piece := await self.stream.read()) is not None:
                self.seen += piece.data
            self.reason = "ended"
        except CMDOPError as closed:
            self.reason = str(closed.details.get("reason", closed.code))
        self.ended_at = time.monotonic()

    async def end(self) -> None:
        """Wait until it ended."""
        assert self._watching is not None
        async with asyncio.timeout(GENEROUS):
            await asyncio.shield(self._watching)

    async def sees(self, wanted: bytes) -> None:
        """Wait until ``wanted`` was seen."""
        async with asyncio.timeout(GENEROUS):
            while wanted not in self.seen:
                assert self.ended_at is None, (self.name, self.reason, bytes(self.seen))
                await asyncio.sleep(0.01)

    async def show(self, credential: str) -> None:
        """Show a credential for the stream, as a client does before its token ends."""
        await self.stream._put(frames.encode_json(Kind.REAUTH, STREAM, token=credential))

    async def leave(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])


Seats = dict[str, Seat]


@asynccontextmanager
async def seated(world: World, credential: str, bystander: str) -> AsyncIterator[Seats]:
    """Open the table: on web-1 the credential operates, watched by the bystander, and runs a command; on web-2 the
    bystander operates, watched by the credential.
    """  # fmt: skip
    table = (
        ("operator", credential, "session.operate", {**SHELL, "machine": "web-1"}),
        ("watcher", bystander, "session.observe", {"kind": "observe", "machine": "web-1"}),
        ("command", credential, "command.execute", {"kind": "command", "machine": "web-1", "argv": ["cat"],
                                                    "timeout": 300}),
        ("bystander", bystander, "session.operate", {**SHELL, "machine": "web-2"}),
        ("observer", credential, "session.observe", {"kind": "observe", "machine": "web-2"}),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        seats = {}
        for name, text, right, opening in table:
            opened = await stack.enter_async_context(stream(world, text, **opening))
            seat = seats[name] = Seat(name, opened, right)
            stack.push_async_callback(seat.leave)
            seat.watch()
        yield seats


async def is_alive(seats: Seats, name: str) -> None:
    """Show that a seat goes on: what is typed there is answered, and an observer sees what is answered elsewhere."""
    seat, said = seats[name], f"{name} {time.monotonic_ns()}"
    if name == "command":
        await seat.stream.send(f"{said}\n".encode())
        await seat.sees(said.encode())
        return
    hand = seats[{"observer": "bystander", "watcher": "operator"}.get(name, name)]
    await hand.stream.send(f"echo '{said}' | tr a-z A-Z\n".encode())
    await seat.sees(said.upper().encode())


class Typist:
    """Types numbered lines at a shell for as long as it is allowed to; each that arrives leaves its number in a file.

    So the file tells what reached the shell, and ``begun`` when each of it was typed.
    """

    def __init__(self, seat: Seat, file: Path) -> None:
        self.begun: list[float] = []  # monotonic, by number
        self._seat = seat
        self._file = file
        self._typing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to type; returns when the first line has arrived."""
        self._typing = asyncio.create_task(self._type())
        await self.reaches(0)

    async def _type(self) -> None:
        while self._seat.ended_at is None:
            number = len(self.begun)
            self.begun.append(time.monotonic())
            try:
                await self._seat.stream.send(f"echo {number} >> {self._file}\n".encode())
            except CMDOPError:
                return
            await asyncio.sleep(0.01)

    @property
    def last(self) -> int:
        """Return the number of the last line that arrived, -1 before the first."""
        whole = self._file.read_text().rpartition("\n")[0] if self._file.exists() else ""
        return int(whole.split()[-1]) if whole else -1

    async def reaches(self, number: int) -> None:
        """Wait until the line with this number has arrived."""
        async with asyncio.timeout(GENEROUS):
            while self.last < number:
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Stop typing."""
        if self._typing is not None:
            self._typing.cancel()
            await asyncio.wait([self._typing])
