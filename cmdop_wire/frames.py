"""Frames of the relay protocol: what the bytes of one websocket message mean, and who may send which when.

One binary message is one frame: a type (1 byte), a channel (4 bytes, big-endian), a body. Data frames carry their
offset and raw bytes, END and WINDOW small fixed bodies, all others one JSON object. No I/O; docs/protocol.md explains
the words. Every data byte has an offset, so that one which comes twice after a resume is known for what it is.
"""

import struct
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

PROTOCOL = "cmdop.v1"  # the websocket subprotocol
AGENT_PATH, CLIENT_PATH = "/relay/agent", "/relay/client"
VERSION = 1
LINK = 0  # channel 0 speaks of the link or stream itself
STREAM = 1  # the one channel of a client stream

_HEADER = struct.Struct("!BI")
_DATA = struct.Struct("!BIQ")
_OFFSET = struct.Struct("!Q")
_MARK = struct.Struct("!BQ")  # a data type and an offset
HEADER_SIZE = _HEADER.size
LARGEST_OFFSET = 2**63 - 1


class Kind(IntEnum):
    """Frame types. The numbers are on the wire and never change."""

    HELLO = 0x01
    WELCOME = 0x02
    OPEN = 0x03
    OPENED = 0x04
    REFUSED = 0x05
    CLOSE = 0x06
    EXIT = 0x07
    RESIZE = 0x08
    SIGNAL = 0x09
    NOTICE = 0x0A
    RESUME = 0x0B
    RESUMED = 0x0C
    REAUTH = 0x0D
    REAUTHED = 0x0E
    PROBE = 0x0F
    PROBED = 0x10
    HEARTBEAT = 0x11
    EVENT = 0x12
    SEED = 0x13
    INPUT = 0x20
    OUTPUT = 0x21
    ERROR = 0x22
    END = 0x23
    WINDOW = 0x24


DATA = frozenset({Kind.INPUT, Kind.OUTPUT, Kind.ERROR})


class Limits(NamedTuple):
    """Every limit of the protocol, in one place; sizes in bytes, times in seconds."""

    frame: int = 256 * 1024  # a whole frame
    chunk: int = 128 * 1024  # data in one frame, as we send it
    control: int = 64 * 1024  # a JSON body
    window: int = 1024 * 1024  # OUTPUT, ERROR: sent and not yet consumed
    input_window: int = 256 * 1024
    channels: int = 256  # on one link
    observers: int = 16  # of one session
    screen: int = 1000  # columns or rows
    timeout: float = 7 * 24 * 3600.0  # that a command may be given
    hello: float = 10.0
    probe: float = 3.0
    holder: float = 10.0  # a person's network may be away for a moment (D-26: a dead one's lease is free within 15 s)
    ping: float = 20.0
    dead: float = 45.0
    grace: float = 30.0  # a lost link keeps lease and shell so long (D-26)
    approval: float = 60.0
    reauth: float = 60.0  # after expiry of the access token (D-14)


LIMITS = Limits()


class CloseCode(IntEnum):
    """Websocket close codes, and what a client should do about each."""

    DONE = 1000
    GOING_AWAY = 1001  # the relay restarts: reconnect and resume
    MALFORMED = 4400  # a frame that is none, or not legal here: do not retry
    AUTH = 4401  # credential refused, revoked, expired: sign in
    FORBIDDEN = 4403  # the right is gone: do not retry
    GONE = 4404  # machine, session or workspace is no more
    CONFLICT = 4409  # somebody else holds it
    SLOW = 4429  # read too slowly
    POLICY = 4430  # an administrator or policy ended it
    UNAVAILABLE = 4503  # the relay cannot decide now: retry later


class Malformed(ValueError):
    """The bytes are no frame, or a frame that this side must not get; ends the connection with 4400."""


class Frame(NamedTuple):
    """One frame; ``body`` is the raw bytes after the header."""

    kind: Kind
    channel: int
    body: bytes | memoryview = b""

    def __repr__(self) -> str:
        return f"Frame({self.kind.name} on {self.channel}, {len(self.body)} bytes)"


def head_of(kind: Kind, channel: int) -> bytes:
    """Return what stands before the body of a frame, for whoever hands on a body without a copy of it."""
    return _HEADER.pack(kind, channel)


def encode(kind: Kind, channel: int, body: bytes | memoryview = b"") -> bytes:
    """Return the message for one frame."""
    return b"".join((_HEADER.pack(kind, channel), body))


def encode_data(kind: Kind, channel: int, offset: int, data: bytes | memoryview) -> bytes:
    """Return the message for a data frame; ``offset`` is that of its first byte since the channel opened."""
    return b"".join((data_head_of(kind, channel, offset), data))


def data_head_of(kind: Kind, channel: int, offset: int) -> bytes:
    """Return what stands before the data of a data frame, for whoever sends the two without joining them."""
    return _DATA.pack(kind, channel, offset)


def encode_json(kind: Kind, channel: int, /, **fields: Any) -> bytes:
    """Return the message for a frame whose body is one JSON object."""
    import msgspec.json  # noqa: PLC0415 - data frames need none of it

    return _HEADER.pack(kind, channel) + msgspec.json.encode(fields)


def decode(message: bytes | bytearray) -> Frame:
    """Return the frame in one binary message, a view of it; ``Malformed`` when it is none or too large."""
    if not HEADER_SIZE <= len(message) <= LIMITS.frame:
        raise Malformed("a frame has 5 to 262144 bytes")
    number, channel = _HEADER.unpack_from(message)
    try:
        kind = Kind(number)
    except ValueError:
        raise Malformed(f"unknown frame type {number:#04x}") from None
    return Frame(kind, channel, memoryview(message)[HEADER_SIZE:])


def body_of(frame: Frame) -> dict[str, Any]:
    """Return the JSON object of a control frame; ``Malformed`` when it is none."""
    import msgspec.json  # noqa: PLC0415

    if len(frame.body) > LIMITS.control:
        raise Malformed("a control frame has at most 65536 bytes")
    try:
        body = msgspec.json.decode(frame.body)
    except (ValueError, RecursionError):  # what is no UTF-8 is no ``DecodeError`` to msgspec
        raise Malformed(f"the body of {frame.kind.name} is not JSON") from None
    if not isinstance(body, dict):
        raise Malformed(f"the body of {frame.kind.name} is not an object")
    return body


def data_of(frame: Frame) -> tuple[int, memoryview]:
    """Return the offset and the bytes of a data frame; ``Malformed`` when it has no offset or a senseless one."""
    body = memoryview(frame.body)
    if len(body) < _OFFSET.size:
        raise Malformed(f"the body of {frame.kind.name} begins with an offset")
    (offset,) = _OFFSET.unpack_from(body)
    if offset > LARGEST_OFFSET:
        raise Malformed("an offset has 63 bits")
    return offset, body[_OFFSET.size :]


def encode_window(channel: int, of: Kind, offset: int) -> bytes:
    """Return a grant: the peer may send data of type ``of`` up to the absolute ``offset``."""
    return _HEADER.pack(Kind.WINDOW, channel) + _MARK.pack(of, offset)


def window_of(frame: Frame) -> tuple[Kind, int]:
    """Return which data type a WINDOW frame speaks of, and up to which offset; ``Malformed`` when it is none."""
    return _marked(frame)


def encode_end(channel: int, of: Kind, offset: int) -> bytes:
    """Return the mark that data of type ``of`` ends at ``offset``."""
    return _HEADER.pack(Kind.END, channel) + _MARK.pack(of, offset)


def end_of(frame: Frame) -> tuple[Kind, int]:
    """Return which data type an END frame ends, and at which offset; ``Malformed`` when it is none."""
    return _marked(frame)


def _marked(frame: Frame) -> tuple[Kind, int]:
    if len(frame.body) != _MARK.size or frame.body[0] not in DATA:
        raise Malformed(f"the body of {frame.kind.name} is a data type and an offset")
    number, offset = _MARK.unpack(frame.body)
    if offset > LARGEST_OFFSET:
        raise Malformed("an offset has 63 bits")
    return Kind(number), offset


class Side(StrEnum):
    """Who sends a frame."""

    AGENT = "agent"
    OPERATOR = "operator"  # also the caller of a command or of a file transfer
    OBSERVER = "observer"
    RELAY = "relay"


class State(StrEnum):
    """Where a connection or channel stands."""

    NEW = "new"  # nothing but HELLO was said
    GREETED = "greeted"  # WELCOME was said
    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"


_LIVE_INPUT = frozenset({Kind.INPUT, Kind.END, Kind.WINDOW, Kind.RESIZE, Kind.SIGNAL, Kind.CLOSE})
_ALWAYS = frozenset({Kind.PROBE, Kind.PROBED})

# (sender, state) → what it may send then. Anything else closes the connection with MALFORMED, except that an
# observer's frames are dropped without effect while it is open (D-26).
LEGAL: dict[tuple[Side, State], frozenset[Kind]] = {
    (Side.AGENT, State.NEW): frozenset({Kind.HELLO}),
    (Side.AGENT, State.GREETED): _ALWAYS | {Kind.HEARTBEAT, Kind.EVENT, Kind.SEED, Kind.CLOSE},
    (Side.AGENT, State.OPENING): frozenset({Kind.OPENED, Kind.REFUSED, Kind.NOTICE}),
    (Side.AGENT, State.OPEN): frozenset(
        {Kind.OUTPUT, Kind.ERROR, Kind.END, Kind.WINDOW, Kind.EXIT, Kind.NOTICE, Kind.RESUMED, Kind.REFUSED}
    ),
    (Side.OPERATOR, State.NEW): frozenset({Kind.HELLO, Kind.OPEN, Kind.RESUME}),
    (Side.OPERATOR, State.GREETED): _ALWAYS | {Kind.OPEN, Kind.RESUME, Kind.REAUTH, Kind.CLOSE},
    (Side.OPERATOR, State.OPENING): _ALWAYS | {Kind.REAUTH, Kind.CLOSE},
    (Side.OPERATOR, State.OPEN): _ALWAYS | _LIVE_INPUT | {Kind.REAUTH},
    (Side.OBSERVER, State.OPEN): _ALWAYS | {Kind.WINDOW, Kind.REAUTH, Kind.CLOSE},
}


def is_legal(side: Side, state: State, kind: Kind) -> bool:
    """Tell whether ``side`` may send a frame of ``kind`` to a peer in ``state``; default deny."""
    return kind in LEGAL.get((side, state), frozenset())
