"""One channel of the agent's link, sans I/O: what each frame means for the process at its end, and what to answer.

Sessions, commands and files all ride on a ``Channel``. It knows bytes, offsets and legal frames; ``pty.py`` and
``commands.py`` move the bytes, ``link.py`` the frames. A channel outlives its link for the grace of D-26.
"""

import msgspec

from cmdop_wire import frames
from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import LIMITS, Frame, Kind, Malformed

SIGNALS = frozenset({"INT", "TERM", "HUP", "QUIT", "KILL", "TSTP", "CONT", "USR1", "USR2"})
LONGEST_NAME = 100  # characters of a stream's id
LONGEST_TEXT = 2000  # characters of a message or hint: what was asked for may be as long as a frame


class Opening(msgspec.Struct, frozen=True):
    """The body of OPEN, as the relay hands it on: who asks for what. Unknown fields are ignored."""

    stream_id: str
    kind: str  # session | command | read_file | write_file
    actor: dict[str, str]
    argv: list[str] = []
    shell: bool = False
    cwd: str = ""
    cols: int = 80
    rows: int = 24
    term: str = "xterm-256color"
    timeout: float = 30.0
    path: str = ""
    mode: int = 0o644


class Write(msgspec.Struct, frozen=True):
    """Bytes for the process."""

    data: bytes


class EndInput(msgspec.Struct, frozen=True):
    """No more bytes for the process."""


class Resize(msgspec.Struct, frozen=True):
    """The person's terminal has another size now; both sides within 1…1000."""

    cols: int
    rows: int


class Signal(msgspec.Struct, frozen=True):
    """A signal for the foreground process group, named as in ``SIGNALS``."""

    name: str


class Granted(msgspec.Struct, frozen=True):
    """There may be room again for output that was waiting."""


class Close(msgspec.Struct, frozen=True):
    """The relay ended the channel: the whole process group goes."""

    reason: str


Step = Write | EndInput | Resize | Signal | Granted | Close


def opening_of(frame: Frame) -> Opening:
    """Return the body of an OPEN frame; ``Malformed`` when it is not one."""
    try:
        opening = msgspec.json.decode(frame.body, type=Opening)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body of OPEN is not as agreed: {error}") from None
    if len(opening.stream_id) > LONGEST_NAME or sum(map(len, (*opening.actor, *opening.actor.values()))) > LONGEST_TEXT:
        raise Malformed("the names of a stream and of who asks are short")  # they come back in HELLO and in EVENT
    if not 0 < opening.timeout <= LIMITS.timeout:
        raise Malformed("a time-out is more than nothing and at most a week")
    return opening


def clamped(number: object) -> int:
    """Return a screen size within 1…1000; ``Malformed`` when it is no whole number."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise Malformed("a screen size is a whole number")
    return max(1, min(LIMITS.screen, number))


class Channel:
    """The state of one channel: what was sent, received, granted and ended in each direction."""

    def __init__(self, number: int | None, opening: Opening) -> None:
        self.number = number  # None while the link is away
        self.opening = opening
        self.is_open = False
        self.exit_body: bytes | None = None  # of the last frame, kept for a resume
        self._input = Receiver(LIMITS.input_window)
        self._output = {Kind.OUTPUT: Sender(), Kind.ERROR: Sender()}

    @property
    def stream_id(self) -> str:
        """Return the id that names this channel across links."""
        return self.opening.stream_id

    @property
    def is_over(self) -> bool:
        """Tell whether the last frame was said: whatever still comes has no effect."""
        return self.exit_body is not None

    def take(self, frame: Frame) -> list[Step]:
        """Return what a frame of the relay means; ``Malformed`` when it may not come now.

        Most of it is the word of somebody far away: the channel pays for what is wrong with it, not the link.
        """
        kind = frame.kind
        if kind is Kind.CLOSE:
            return [Close(str(frames.body_of(frame).get("reason", "")))]
        if not self.is_open:
            raise Malformed(f"{kind.name} before OPENED")
        if kind is Kind.INPUT:
            new = self._input.take(*frames.data_of(frame))
            return [Write(bytes(new))] if new else []
        if kind is Kind.END:
            of, offset = frames.end_of(frame)
            if of is not Kind.INPUT:
                raise Malformed("only INPUT ends towards the agent")
            return [EndInput()] if self._input.end(offset) else []
        if kind is Kind.WINDOW:
            of, limit = frames.window_of(frame)
            if of not in self._output:
                raise Malformed("a grant for what the agent does not send")
            self._output[of].granted(limit)
            return [Granted()]
        body = frames.body_of(frame)
        if kind is Kind.RESIZE:
            return [Resize(clamped(body.get("cols")), clamped(body.get("rows")))]
        if kind is Kind.SIGNAL and isinstance(body.get("name"), str) and body["name"] in SIGNALS:
            return [Signal(body["name"])]
        raise Malformed(f"{kind.name} is not for an open channel")

    def opened(self, **fields: object) -> bytes | None:
        """Return the frame that says it runs."""
        self.is_open = True
        return self._json(Kind.OPENED, stream_id=self.stream_id, **fields)

    def refused(self, code: str, message: str, hint: str = "") -> bytes | None:
        """Return the frame that says it does not and will not."""
        return self._json(Kind.REFUSED, code=code, message=message[:LONGEST_TEXT], hint=hint[:LONGEST_TEXT])

    def notice(self, code: str, message: str) -> bytes | None:
        """Return a word for the caller, such as «waiting for approval at the machine»."""
        return self._json(Kind.NOTICE, code=code, message=message[:LONGEST_TEXT])

    def room(self, kind: Kind) -> int:
        """Return how many bytes of ``kind`` may be sent now; zero pauses the process, nobody else."""
        return min(self._output[kind].room, LIMITS.chunk)

    def output(self, kind: Kind, data: bytes) -> bytes | None:
        """Account for output that fits in ``room``; return what goes before it, or ``None`` while the link is away."""
        offset = self._output[kind].send(data)
        return None if self.number is None else frames.data_head_of(kind, self.number, offset)

    def consumed(self, size: int) -> bytes | None:
        """Account for input that the process took; return a grant when it is time for one."""
        limit = self._input.consume(size)
        if limit is None or self.number is None or self.is_over:
            return None
        return frames.encode_window(self.number, Kind.INPUT, limit)

    def exit(self, **fields: object) -> bytes | None:
        """Return the last frame: status, signal, timed_out …; kept so that a resume can bring it again.

        It tells how much was sent, so that nobody takes it for the end while something is still missing.
        """
        sent = {kind.name: sender.sent for kind, sender in self._output.items()}
        self.exit_body = msgspec.json.encode({**fields, "sent": sent})
        return None if self.number is None else frames.encode(Kind.EXIT, self.number, self.exit_body)

    def lost(self) -> None:
        """Remember that the link is away; output waits in the window."""
        self.number = None

    def resume(self, number: int, received: object) -> list[tuple[bytes, bytes]]:
        """Return what to send on the new link, as frames and the data that follows some of them.

        The peer has ``received`` so many bytes of each kind (by name); ``Malformed`` when that
        is no such thing, or what it misses is no longer kept.
        """
        counts = received if isinstance(received, dict) else {}
        again = [
            (kind, offset, data)
            for kind, sender in self._output.items()
            for offset, data in sender.again(_count(counts.get(kind.name, 0)))
        ]
        self.number = number
        resumed = frames.encode_json(
            Kind.RESUMED, number, stream_id=self.stream_id, received={"INPUT": self._input.received}
        )
        answer = [(resumed, b""), (frames.encode_window(number, Kind.INPUT, self._input.limit), b"")]
        answer += [(frames.data_head_of(kind, number, offset), data) for kind, offset, data in again]
        if self.exit_body is not None:
            answer.append((frames.encode(Kind.EXIT, number, self.exit_body), b""))
        return answer

    def offsets(self) -> dict[str, object]:
        """Return what HELLO says of this channel after a reconnect."""
        return {
            "stream_id": self.stream_id,
            "sent": {kind.name: sender.sent for kind, sender in self._output.items()},
            "received": {"INPUT": self._input.received},
        }

    def _json(self, kind: Kind, **fields: object) -> bytes | None:
        return None if self.number is None else frames.encode_json(kind, self.number, **fields)


def _count(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise Malformed("what was received is a number of bytes")
    return number
