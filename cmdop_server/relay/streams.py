"""One stream as the relay sees it: who holds it, which channel it is, and how far each direction has come.

Decides what happens to each frame; the sockets move them. Output is forwarded to the operator and copied to the
observers; an operator's frames go to the machine, an observer's nowhere (D-26).
"""

import asyncio
import hmac
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cmdop_server.relay.socket import Socket
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Frame, Kind, Malformed
from cmdop_wire.vocab import Action

if TYPE_CHECKING:
    from cmdop_server.access.actor import Actor
    from cmdop_server.relay.links import AgentLink

CONTEXT = 64 * 1024  # bytes of output that a new observer sees first
OUTPUTS = (Kind.OUTPUT, Kind.ERROR)


@dataclass(slots=True)
class Holder:
    """Someone at a stream: who, with which right, on which socket (``None`` while it is lost)."""

    actor: "Actor"
    action: Action
    socket: Socket | None
    is_fenced: bool = False  # for good: nothing of theirs passes any more
    question: asyncio.Event | None = None  # while it is decided whether the right still holds, input waits
    expiry: asyncio.TimerHandle | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)  # a PROBE of ours

    async def probe(self) -> bool:
        """Ask whether the peer is there, and tell whether it answered in time."""
        if self.socket is None:
            return False
        self.answered.clear()
        self.socket.put(frames.encode_json(Kind.PROBE, STREAM, nonce="holder"))
        try:
            async with asyncio.timeout(LIMITS.holder):
                await self.answered.wait()
        except TimeoutError:
            return False
        return True

    def cut(self) -> None:
        """Show nothing more, not even what waits for the peer already: it is no longer theirs to see (D-14)."""
        if self.socket is not None:
            self.socket.cut()

    def end(self, reason: str, code: CloseCode) -> None:
        """Tell the peer why it ends, and close."""
        self.is_fenced = True
        if self.expiry is not None:
            self.expiry.cancel()
        if self.socket is not None:
            self.socket.put(frames.encode_json(Kind.CLOSE, STREAM, reason=reason))
            self.socket.close(code, reason)


class Stream:
    """A session, command or transfer between its operator and one channel of a machine's link."""

    def __init__(self, stream_id: str, kind: str, machine_id: str, workspace_id: str, operator: Holder) -> None:
        self.id = stream_id
        self.kind = kind
        self.machine_id = machine_id
        self.workspace_id = workspace_id
        self.operator = operator
        self.observers: set[Observer] = set()
        self.resume_secret = ""
        self.link: AgentLink | None = None
        self.number: int | None = None
        self.is_opened = False
        self.is_over = False
        self.is_overrun = False  # the operator grants more than they read
        self.lost_at: float | None = None  # loop time when the operator's socket went without a close
        self.end_reason = ""
        self.exit: dict[str, object] = {}
        self.opening: dict[str, object] = {}  # what was asked for, for the record
        self.is_recorded = False  # its end is on its way to the database
        self._forwarded = dict.fromkeys(OUTPUTS, 0)
        self._granted = dict.fromkeys(OUTPUTS, LIMITS.window)
        self._context: deque[bytes] = deque()
        self._context_size = 0

    # -- from the machine -----------------------------------------------------------------------------------------

    def from_machine(self, frame: Frame) -> None:
        """Forward one frame that a machine may send now (``LEGAL``); ``Malformed`` when what it says is wrong."""
        kind = frame.kind
        if kind in (Kind.OUTPUT, Kind.ERROR):
            self._output(kind, frame)
        elif kind is Kind.EXIT:
            self._exit(frame)
        elif kind is Kind.WINDOW:
            if frames.window_of(frame)[0] is not Kind.INPUT:
                raise Malformed("a machine grants input only")
            self._to_operator(kind, frame.body)
        else:
            self._to_operator(kind, frame.body)

    def _output(self, kind: Kind, frame: Frame) -> None:
        # Bytes may come twice after a resume, and the operator drops those; observers must see each once.
        offset, data = frames.data_of(frame)
        seen, end = self._forwarded[kind], offset + len(data)
        if end > self._granted[kind]:
            raise Malformed("output beyond the granted window")
        if offset > seen:
            raise Malformed("output is missing")
        if self.kind == "session" and end > seen:
            new = bytes(data[seen - offset :])
            self._remember(new)
            for observer in list(self.observers):
                observer.show(seen, new)
        self._forwarded[kind] = max(seen, end)
        self._to_operator(kind, frame.body)

    def _exit(self, frame: Frame) -> None:
        self.exit = frames.body_of(frame)
        self.is_over = True
        self._to_operator(Kind.EXIT, frame.body)
        for observer in list(self.observers):
            observer.holder.end("ended", CloseCode.DONE)

    def _to_operator(self, kind: Kind, body: bytes | memoryview) -> None:
        socket = self.operator.socket
        if socket is not None and not self.operator.is_fenced and not socket.put(frames.head_of(kind, STREAM), body):
            self.is_overrun = True

    def _remember(self, data: bytes) -> None:
        self._context.append(data)
        self._context_size += len(data)
        while self._context_size - len(self._context[0]) >= CONTEXT:
            self._context_size -= len(self._context.popleft())

    # -- from the operator ----------------------------------------------------------------------------------------

    async def from_operator(self, frame: Frame) -> None:
        """Forward one frame that an operator may send now (``LEGAL``); ``Malformed`` when it grants too much."""
        if self.operator.is_fenced:
            return
        kind = frame.kind
        if kind is Kind.WINDOW:
            of, limit = frames.window_of(frame)
            if of not in self._granted or limit > self._forwarded[of] + LIMITS.window:
                raise Malformed("a grant beyond the window")
            self._granted[of] = max(self._granted[of], limit)
        link = self.link
        if link is None or self.number is None:
            return  # the operator keeps it, and sends it again after the machine has come back
        await link.socket.room()
        while self.operator.question is not None:
            await self.operator.question.wait()
        # The fence may have fallen, or the machine gone, while we waited (D-14).
        if not self.operator.is_fenced and self.link is link and self.number is not None:
            link.socket.put(frames.head_of(kind, self.number), frame.body)

    # -- joining and parting --------------------------------------------------------------------------------------

    def join(self, link: "AgentLink", number: int) -> None:
        """Ride on channel ``number`` of ``link`` from now on."""
        self.link, self.number = link, number

    def part(self) -> None:
        """Remember that the machine's link is away; the operator is told, and waits."""
        self.link, self.number = None, None
        self._to_operator(
            Kind.NOTICE, b'{"code":"machine_lost","message":"the machine\'s link was lost; waiting for it"}'
        )

    def ask_again(self, received: dict[str, int] | None = None) -> None:
        """Ask the machine to go on from what the operator ``received``; default: from what was forwarded."""
        assert self.link is not None, "there is nobody to ask"
        assert self.number is not None, "there is nobody to ask"
        if received is None:
            received = {kind.name: count for kind, count in self._forwarded.items()}
        for kind in OUTPUTS:
            count = received.get(kind.name, 0)
            if count > self._forwarded[kind]:
                raise Malformed("nobody can have received more than was forwarded")
            self._granted[kind] = max(self._granted[kind], count + LIMITS.window)
        self.link.socket.put(frames.encode_json(Kind.RESUME, self.number, stream_id=self.id, received=received))

    def lose_operator(self, now: float) -> None:
        """Keep lease and shell: the operator's socket went without a close (D-26)."""
        self.operator.socket = None
        self.lost_at = now

    def is_resumed_by(self, actor: "Actor", secret: str) -> bool:
        """Tell whether this is who was lost: same person or key, same sign-in, and the secret of OPENED."""
        held = self.operator.actor
        return (
            not self.operator.is_fenced
            and (held.account_id, held.sign_in_id) == (actor.account_id, actor.sign_in_id)
            and (held.credential_id == actor.credential_id or actor.sign_in_id is not None)
            and hmac.compare_digest(self.resume_secret.encode(), secret.encode())
        )

    def restore(self, received: dict[str, int]) -> None:
        """Take up, after a restart of the relay, a stream of which the operator has ``received`` so much."""
        self.is_opened = True
        for kind in OUTPUTS:
            self._forwarded[kind] = received.get(kind.name, 0)

    def context(self) -> tuple[int, bytes]:
        """Return the last output, for an observer who just came, and the offset of its first byte."""
        recent = b"".join(self._context)[-CONTEXT:]
        return self._forwarded[Kind.OUTPUT] - len(recent), recent

    def close_channel(self, reason: str) -> None:
        """Tell the machine that the channel is done with: it ends the process group, or forgets what it kept."""
        if self.link is not None and self.number is not None:
            self.link.socket.put(frames.encode_json(Kind.CLOSE, self.number, reason=reason))
            self.link.release(self.number)
        self.link, self.number = None, None


@dataclass(eq=False, slots=True)
class Observer:
    """Someone who watches a session: sees output, and has no effect whatever they send (D-26)."""

    holder: Holder
    stream: Stream
    _shown: int = 0
    _limit: int = field(default=LIMITS.window)

    def show(self, offset: int, data: bytes) -> None:
        """Copy output to the observer; one who does not keep up is cut, so that nobody waits for them."""
        socket = self.holder.socket
        if socket is None or self.holder.is_fenced:
            return
        if socket.queued > LIMITS.window:
            self.holder.end("slow", CloseCode.SLOW)
            return
        for start in range(0, len(data), LIMITS.chunk):
            socket.put(frames.encode_data(Kind.OUTPUT, STREAM, offset + start, data[start : start + LIMITS.chunk]))
