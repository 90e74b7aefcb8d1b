"""A machine's link: one websocket, many channels, each a stream of somebody. No decisions about people here."""

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmdop_server.relay.pacing import Pace
from cmdop_server.relay.socket import Gone, Socket
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, LINK, CloseCode, Frame, Kind, Malformed, Side, State

DECISIONS = 2  # of a machine's gate on one opening, at most: a session, and what it runs instead of the shell

if TYPE_CHECKING:
    from cmdop_server.relay.hub import Hub
    from cmdop_server.relay.streams import Stream


@dataclass(frozen=True, slots=True)
class Machine:
    """What the relay knows of a machine, as read from the database when its link came up."""

    id: str
    workspace_id: str
    workspace_slug: str
    hostname: str
    name: str
    credential_hash: str


class AgentLink:
    """One link, from HELLO to its end."""

    def __init__(self, hub: "Hub", socket: Socket, machine: Machine) -> None:
        self.hub = hub
        self.socket = socket
        self.machine = machine
        self.streams: dict[int, Stream] = {}
        self.surviving: set[str] = set()  # streams that the machine kept across its links
        self._next_number = 1
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._pace = Pace()
        self._telling = hub.telling.of(machine.id)

    def add(self, stream: "Stream") -> int:
        """Give ``stream`` a channel of its own on this link and return its number."""
        if len(self.streams) >= LIMITS.channels:
            raise Malformed("too many channels on one link")
        number = self._next_number
        self._next_number += 1
        self.streams[number] = stream
        self._telling.grant(DECISIONS)
        stream.join(self, number)
        return number

    def discard(self, stream_id: str, reason: str) -> None:
        """End a stream that the machine kept and nobody wants any more; what it still says of it is dropped."""
        number = self._next_number
        self._next_number += 1
        self.socket.put(frames.encode_json(Kind.RESUME, number, stream_id=stream_id, received={}))
        self.socket.put(frames.encode_json(Kind.CLOSE, number, reason=reason))

    def release(self, number: int) -> None:
        """Forget a channel; what the machine still sends on it is dropped."""
        self.streams.pop(number, None)

    async def probe(self) -> bool:
        """Ask whether the machine is there, and tell whether it answered within three seconds (D-5)."""
        nonce = secrets.token_hex(8)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probes[nonce] = answer
        self.socket.put(frames.encode_json(Kind.PROBE, LINK, nonce=nonce))
        try:
            async with asyncio.timeout(LIMITS.probe):
                await answer
        except TimeoutError:
            return False
        finally:
            self._probes.pop(nonce, None)
        return True

    def close(self, code: CloseCode, reason: str) -> None:
        """End the link; the machine learns why."""
        self.socket.put(frames.encode_json(Kind.CLOSE, LINK, reason=reason))
        self.socket.close(code, reason)

    async def serve(self) -> None:
        """Take the machine's frames until it goes; ``Malformed`` when it sends what it may not."""
        with contextlib.suppress(Gone):
            while True:
                frame = await self.socket.receive()
                if frame.channel == LINK:
                    if frame.kind is Kind.CLOSE:
                        await self.hub.stopped(self)
                        return
                    self._take(frame)
                else:
                    self._take_for(frame)

    def _take_for(self, frame: Frame) -> None:
        stream = self.streams.get(frame.channel)
        if stream is None:
            if frame.channel >= self._next_number:
                # A label that is not this machine's: a hostile agent, or a broken one.
                raise Malformed("a frame for a channel that this link does not have")
            return
        state = State.OPEN if stream.is_opened else State.OPENING
        if not frames.is_legal(Side.AGENT, state, frame.kind):
            raise Malformed(f"a machine does not send {frame.kind.name} on a channel that is {state}")
        if frame.kind is Kind.OPENED:
            self.hub.opened(stream, frame)
            return
        stream.from_machine(frame)
        if stream.is_overrun:
            self.hub.finish(stream, "slow", CloseCode.SLOW)
        elif frame.kind is Kind.REFUSED:
            self.hub.refused(stream, frame)
        elif frame.kind is Kind.EXIT and stream.is_over:
            self.hub.exited(stream)

    def _take(self, frame: Frame) -> None:
        if not frames.is_legal(Side.AGENT, State.GREETED, frame.kind):
            raise Malformed(f"a machine does not send {frame.kind.name} on its link")
        if frame.kind is Kind.PROBED:
            answer = self._probes.get(str(frames.body_of(frame).get("nonce")))
            if answer is not None and not answer.done():
                answer.set_result(None)
        elif frame.kind is Kind.PROBE:
            self._pace.take()
            nonce = frames.body_of(frame).get("nonce")
            if not self.socket.put(frames.encode_json(Kind.PROBED, LINK, nonce=nonce)):
                self.socket.close(CloseCode.SLOW, "slow")
        elif frame.kind is Kind.HEARTBEAT:
            self._pace.take()
            self.hub.records.heartbeat(self.machine.id, frames.body_of(frame))
        elif frame.kind is Kind.EVENT:
            self._telling.take()
            self.hub.records.gate_event(self.machine, frames.body_of(frame))
        elif frame.kind is Kind.SEED:
            self._pace.take()
            self.hub.records.seeded(self.machine.id)
