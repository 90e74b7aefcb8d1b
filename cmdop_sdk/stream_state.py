"""A client stream sans I/O: what each frame of the relay means here, what is kept for a resume, what is said in one.

``stream`` moves the bytes and waits; nothing in here does either.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cmdop_sdk import stream_ends
from cmdop_sdk.errors import CMDOPError, MachineRefused, UnexpectedAnswer, error_from_code, naming_machine
from cmdop_wire import frames
from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import LIMITS, STREAM, Frame, Kind, Malformed
from cmdop_wire.vocab import STREAM_RIGHTS

UNBOUNDED = 1 << 62  # an observer's window is the relay's affair
MOST_NOTICES = 100  # that nobody has looked at yet

# What the relay may say before and after OPENED. Anything else ends the stream: it is not ours that speaks.
_ALWAYS = frozenset({Kind.NOTICE, Kind.REFUSED, Kind.CLOSE, Kind.PROBE, Kind.PROBED, Kind.REAUTHED})
_OPENING = _ALWAYS | {Kind.OPENED}
_OPEN = _ALWAYS | {Kind.OUTPUT, Kind.ERROR, Kind.END, Kind.WINDOW, Kind.EXIT, Kind.RESUMED}
_SESSION_ENDS = frozenset({"ended", "exited", "closed", "ended_by_operator"})  # which is how watching it ends, too


class Output(NamedTuple):
    """Bytes of the far side; ``kind`` is OUTPUT or ERROR. ``data`` is a view: ``bytes(data)`` to keep it."""

    kind: Kind
    data: memoryview


class Notice(NamedTuple):
    """A word on the way, for a person: ``waiting_for_approval``, ``machine_lost``, ``reconnecting``, ``resumed``."""

    code: str
    message: str


class StreamState:
    """Where one stream stands. ``opening`` is the body of OPEN."""

    def __init__(self, opening: Mapping[str, Any]) -> None:
        self.opening = dict(opening)
        self.is_observer = opening.get("kind") == "observe"
        self.opened: dict[str, Any] = {}  # what the far side said when it began
        self.exit: dict[str, Any] | None = None  # and when it ended
        self.is_over = False
        self.failure: BaseException | None = None  # why it is over, when that was not its end
        self.farewell: str | None = None  # the reason in the relay's CLOSE
        self.is_resuming = False  # the connection was lost, and the far side has not said RESUMED yet
        self.screen: tuple[int, int] | None = None  # the last size that was asked for
        self.input = Sender(LIMITS.input_window)
        self.arrived: deque[Output] = deque()
        self.waiting = 0  # bytes in ``arrived``
        self.notices: deque[Notice] = deque(maxlen=MOST_NOTICES)
        self.to_answer: deque[Frame] = deque()  # PROBE and RESUMED, whose answers have to be sent
        self._receivers = {Kind.OUTPUT: Receiver(), Kind.ERROR: Receiver()}

    # -- what arrives ---------------------------------------------------------------------------------------------

    def take(self, message: bytes | bytearray) -> None:
        """Take one message of the relay; ``Malformed`` when it is no frame or none that may come now."""
        if self.is_over:
            return
        frame = frames.decode(message)
        kind = frame.kind
        if frame.channel != STREAM or kind not in (_OPEN if self.opened else _OPENING):
            raise Malformed(f"{kind.name} is not for this stream now")
        if kind is Kind.OUTPUT or kind is Kind.ERROR:
            new = self._receivers[kind].take(*frames.data_of(frame))
            if new:
                self.arrived.append(Output(kind, new))
                self.waiting += len(new)
        elif kind is Kind.WINDOW:
            of, limit = frames.window_of(frame)
            if of is not Kind.INPUT:
                raise Malformed("a grant for what is not sent")
            self.input.granted(limit)
        elif kind is Kind.END:
            of, offset = frames.end_of(frame)
            if of is Kind.INPUT:
                raise Malformed("only the sender ends its data")
            self._receivers[of].end(offset)
        elif kind is Kind.PROBE or kind is Kind.RESUMED:
            self.to_answer.append(frame)
        elif kind is not Kind.REAUTHED and kind is not Kind.PROBED:
            self._take_word(kind, frames.body_of(frame))

    def _take_word(self, kind: Kind, body: dict[str, Any]) -> None:
        if kind is Kind.EXIT:
            self._take_exit(body)
        elif kind is Kind.OPENED:
            self._begin(body)
        elif kind is Kind.NOTICE:
            self.say(str(body.get("code", "")), str(body.get("message", "")))
        elif kind is Kind.REFUSED:
            self._take_refusal(body)
        else:
            self.farewell = str(body.get("reason", ""))
            if self.is_observer and self.farewell in _SESSION_ENDS:
                self.end(None)

    def _begin(self, body: dict[str, Any]) -> None:
        if self.is_observer:
            begins = body.get("from")
            start = begins.get(Kind.OUTPUT.name) if isinstance(begins, dict) else None
            if type(start) is not int or not 0 <= start <= frames.LARGEST_OFFSET:
                raise Malformed("OPENED tells an observer where the output begins")
            self._receivers = {kind: Receiver(UNBOUNDED, start) for kind in self._receivers}
        self.opened = {"kind": self.opening.get("kind"), **body}

    def _take_exit(self, body: dict[str, Any]) -> None:
        sent = body.get("sent")
        is_whole = not isinstance(sent, dict) or all(
            sent.get(kind.name, 0) == receiver.received for kind, receiver in self._receivers.items()
        )
        if is_whole:  # else a resume is under way, and it comes again after what is missing
            self.exit = body
            # With a code it is no end of what ran there, but of the machine's ability to run it.
            self.end(_refusal(body) if body.get("code") else None)

    def _take_refusal(self, body: dict[str, Any]) -> None:
        refusal = naming_machine(_refusal(body), str(self.opening.get("machine", "")))
        if not self.opened or isinstance(refusal, MachineRefused):
            self.end(refusal)
        elif not self.is_resuming:
            self.end(stream_ends.ended_by(refusal))
        elif not refusal.transient:  # else one dials again
            self.end(stream_ends.not_resumed(refusal))

    def end(self, failure: BaseException | None) -> None:
        """Be over, because of ``failure`` or at the end; the first word counts."""
        if not self.is_over:
            self.is_over, self.failure = True, failure

    def broken(self, problem: Malformed) -> None:
        """Be over because the relay does not speak the protocol."""
        self.end(UnexpectedAnswer(f"the relay sent what it may not: {problem}"))

    def say(self, code: str, message: str) -> None:
        """Leave a word for the person."""
        self.notices.append(Notice(code, message))

    # -- what leaves ----------------------------------------------------------------------------------------------

    def first_frame(self) -> bytes:
        """Return what a connection begins with: OPEN, or RESUME once it was open."""
        if not self.opened:
            return frames.encode_json(Kind.OPEN, STREAM, **self.opening)
        return frames.encode_json(
            Kind.RESUME,
            STREAM,
            stream_id=self.opened.get("stream_id"),
            resume=self.opened.get("resume"),
            received={kind.name: receiver.received for kind, receiver in self._receivers.items()},
            sent={Kind.INPUT.name: self.input.sent},
        )

    @property
    def machine(self) -> str:
        """Return the machine by the name that was given, and by its id once that is known."""
        return str(self.opened.get("machine") or self.opening.get("machine", ""))

    @property
    def right(self) -> str:
        """Return the right that this stream needs, such as ``session.operate``."""
        return str(STREAM_RIGHTS.get(str(self.opening.get("kind")), ""))

    @property
    def is_resumable(self) -> bool:
        """Tell whether the relay gave us what RESUME needs; an observer is given nothing."""
        return bool(self.opened.get("resume"))

    def pop(self) -> tuple[Output, bytes | None]:
        """Return the next piece of output, which must be there, and the grant that is due now, if one is."""
        piece = self.arrived.popleft()
        self.waiting -= len(piece.data)
        limit = self._receivers[piece.kind].consume(len(piece.data))
        return piece, None if limit is None else frames.encode_window(STREAM, piece.kind, limit)

    def input_frame(self, data: bytes) -> bytes:
        """Account for input that fits in ``input.room`` and return its frame."""
        return frames.encode_data(Kind.INPUT, STREAM, self.input.send(data), data)

    def end_frame(self) -> bytes:
        """Say that no more input follows."""
        self.input.is_ended = True
        return frames.encode_end(STREAM, Kind.INPUT, self.input.sent)

    def resize_frame(self, cols: int, rows: int) -> bytes:
        """Remember the size of the screen and return its frame."""
        self.screen = (cols, rows)
        return frames.encode_json(Kind.RESIZE, STREAM, cols=cols, rows=rows)

    def again(self, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Return what the far side is missing after its RESUMED: input, its end, grants, the size of the screen.

        Input that is sent while this goes on is in it. ``Malformed`` when RESUMED does not say how much was received.
        """
        received = body.get("received")
        have = received.get(Kind.INPUT.name) if isinstance(received, dict) else None
        if type(have) is not int or not 0 <= have <= self.input.sent:
            raise Malformed("RESUMED tells how much input was received")
        return self._again(have)

    def _again(self, have: int) -> Iterator[bytes]:
        while have < self.input.sent:
            for offset, piece in self.input.again(max(have, self.input.sent - self.input.kept)):
                yield frames.encode_data(Kind.INPUT, STREAM, offset, piece)
                have = offset + len(piece)
        if self.input.is_ended:
            yield self.end_frame()
        for kind, receiver in self._receivers.items():
            yield frames.encode_window(STREAM, kind, receiver.limit)
        if self.screen is not None:
            yield self.resize_frame(*self.screen)


def _refusal(body: Mapping[str, Any]) -> CMDOPError:
    return error_from_code(
        str(body.get("code", "")),
        str(body.get("message", "")),
        hint=str(body.get("hint", "")),
        details=body.get("details"),
    )
