"""Commands without a stream: the relay is its own client for somebody who asks by plain HTTP.

The same door, gate, windows, events and cuts as for every stream: a websocket that no network lies between, with
``Client`` at one end and ``Errand`` at the other.
"""

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import Any

from cmdop_server.access.errors import Refused
from cmdop_server.orders import OUTPUT_LIMIT, Left, Order
from cmdop_server.relay import authority
from cmdop_server.relay.authority import ask
from cmdop_server.relay.clients import Client
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.serving import run
from cmdop_server.relay.socket import Socket
from cmdop_server.relay.turns import LANE, lane_of
from cmdop_wire import frames
from cmdop_wire.exits import exit_of
from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Frame, Kind, Malformed
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)

# Commands that run at the same time; each holds up to two outputs. However many workspaces somebody is in or owns,
# half of the places is the most that they can take.
OF_EVERYBODY = 64
OF_ONE_ACCOUNT = 16  # whatever credential of theirs asks, in whichever workspace
OF_ONE_OWNER = 16  # of the shared keys of all workspaces that somebody owns: no account stands behind such a key, and
# whoever made it may be gone, whose own places it must not take (D-17)
OF_ONE_WORKSPACE = 8
PATIENCE = LIMITS.grace + 15.0  # seconds beyond the time-out for the machine to end everything, and for a lost link
# What a machine may say of itself; any other word of it is a detail of «invalid».
_MACHINE_SAYS = {
    code: code for code in ("gate_denied", "approval_unavailable", "limit_reached", "malformed", "invalid")
}
_CLOSED = {
    CloseCode.AUTH: ErrorCode.UNAUTHENTICATED,
    CloseCode.FORBIDDEN: ErrorCode.FORBIDDEN,
    CloseCode.POLICY: ErrorCode.FORBIDDEN,
    CloseCode.GONE: ErrorCode.GONE,
}
_LOST = ("machine_lost", "machine_stopped")


class Errands:
    """The commands that run for requests, counted: for the workspace, a person or an owner of it, and everybody."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._running: Counter[str] = Counter()  # by the id that each counts for

    async def run(self, order: Order) -> Left:
        """Run a command to its end; ``Refused`` when it does not run, or nobody knows how it ended.

        Cancelled, it ends the command and everything that it started: whoever asked is gone (D-27).
        """
        limits = self._limits_of(order)
        for whose, most, busy in limits:
            if self._running[whose] >= most:
                raise Refused(ErrorCode.RATE_LIMITED, busy, hint="wait and try again", retry_after=1, limit=most)
        counted = Counter(whose for whose, *_ in limits)
        self._running += counted
        try:
            return await self._run(order)
        finally:
            self._running -= counted  # keeps none of those that have come to nothing

    async def _run(self, order: Order) -> Left:
        LANE.set(lane_of(order.account_id, order.workspace_id))
        caller = await ask(
            authority.caller_by_id, order.credential_id, address=order.address, request_id=order.request_id
        )
        line = Line()
        socket = Socket({}, line.receive, line.send)
        client = Client(self._hub, socket, caller)
        note_cut = partial(self._hub.records.client_cut, caller.actor)
        serving = asyncio.create_task(run(socket, client.serve, note_cut), name="errand")
        try:
            return await Errand(line, order, client).run()
        except Malformed:
            log.warning("a machine does not keep to the protocol", extra={"machine": order.machine_id})
            raise Refused(ErrorCode.UNAVAILABLE, "the machine does not keep to the protocol") from None
        finally:
            line.hang_up()
            await asyncio.shield(serving)

    def _limits_of(self, order: Order) -> list[tuple[str, int, str]]:
        """Return what an order counts for: whose limit, how many, and what to say when there are as many."""
        busy = f"this workspace runs {OF_ONE_WORKSPACE} commands without a stream already"
        limits = [
            (order.workspace_id, OF_ONE_WORKSPACE, busy),
            ("everybody", OF_EVERYBODY, "the server runs as many commands without a stream as it can"),
        ]
        if order.account_id:
            busy = f"your account runs {OF_ONE_ACCOUNT} commands without a stream already, in all of its workspaces"
            limits.append((order.account_id, OF_ONE_ACCOUNT, busy))
        elif order.owner_ids:
            busy = (
                f"the shared keys of its owner run {OF_ONE_OWNER} commands without a stream already, here and elsewhere"
            )
            owners = [f"owner {account_id}" for account_id in order.owner_ids]
            # Of several owners it is the one with the most room: what one of them does elsewhere holds up nobody here.
            limits.append((min(owners, key=self._running.__getitem__), OF_ONE_OWNER, busy))
        return limits


def _count(told: object) -> int:
    return told if type(told) is int else 0


class Line:
    """A websocket without a network: what ASGI calls ``receive`` and ``send``, and the other end of it."""

    def __init__(self) -> None:
        self._to_relay: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_relay: asyncio.Queue[dict[str, Any]] = asyncio.Queue(4)  # the relay waits, as for a slow network
        self._is_hung_up = False

    async def receive(self) -> dict[str, Any]:
        """Return what the relay hears next."""
        return await self._to_relay.get()

    async def send(self, message: dict[str, Any]) -> None:
        """Take what the relay says."""
        if not self._is_hung_up:
            await self._from_relay.put(message)

    def say(self, message: bytes) -> None:
        """Say one frame to the relay."""
        self._to_relay.put_nowait({"type": "websocket.receive", "bytes": message})

    async def hear(self) -> Frame | int:
        """Return the next frame of the relay, or the code with which it closed."""
        while True:
            message = await self._from_relay.get()
            if message["type"] == "websocket.send":
                return frames.decode(message["bytes"])
            if message["type"] == "websocket.close":
                return int(message["code"])

    def hang_up(self) -> None:
        """End the connection, cleanly: what still runs is ended with it."""
        self._is_hung_up = True
        while not self._from_relay.empty():
            self._from_relay.get_nowait()
        self._to_relay.put_nowait({"type": "websocket.disconnect", "code": int(CloseCode.DONE)})


class Errand:
    """One command seen from its caller's end."""

    def __init__(self, line: Line, order: Order, client: Client) -> None:
        self._line = line
        self._order = order
        self._client = client
        self._input = Sender(LIMITS.input_window)
        self._received = {Kind.OUTPUT: Receiver(), Kind.ERROR: Receiver()}
        self._kept = {Kind.OUTPUT: bytearray(), Kind.ERROR: bytearray()}
        self._exit: dict[str, Any] | None = None
        self._reason = ""
        self._is_lost = False

    async def run(self) -> Left:
        """Ask for the command, give it its input, take what it writes, and return what it left."""
        order, loop = self._order, asyncio.get_running_loop()
        asked = {"machine": order.machine_id, "argv": order.argv, "timeout": order.timeout}
        if order.cwd:
            asked["cwd"] = order.cwd
        self._line.say(frames.encode_json(Kind.OPEN, STREAM, kind="command", **asked))
        longest = loop.time() + LIMITS.approval + order.timeout + PATIENCE
        until = longest
        while not self._is_complete():
            try:
                async with asyncio.timeout_at(until):
                    said = await self._line.hear()
            except TimeoutError:
                raise self._given_up() from None
            if not isinstance(said, Frame):
                raise self._closed(said)
            was_lost = self._is_lost
            self._take(said)
            if self._is_lost != was_lost:
                until = min(longest, loop.time() + LIMITS.grace) if self._is_lost else longest
        return self._left()

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind in self._received:
            self._output(kind, *frames.data_of(frame))
        elif kind is Kind.OPENED:
            self._feed()
        elif kind is Kind.REFUSED:
            raise self._refused(frames.body_of(frame))
        elif kind is Kind.NOTICE:
            self._is_lost = self._is_lost or frames.body_of(frame).get("code") == "machine_lost"
        elif kind is Kind.RESUMED:
            self._is_lost = False
            self._resend(frames.body_of(frame).get("received"))
        elif kind is Kind.EXIT:
            self._exit = frames.body_of(frame)
        elif kind is Kind.CLOSE:
            self._reason = str(frames.body_of(frame).get("reason", ""))

    def _output(self, kind: Kind, offset: int, data: memoryview) -> None:
        receiver, kept = self._received[kind], self._kept[kind]
        new = receiver.take(offset, data)
        kept += new[: max(0, OUTPUT_LIMIT - len(kept))]
        grant = receiver.consume(len(new))
        if grant is not None:
            self._line.say(frames.encode_window(STREAM, kind, grant))

    def _feed(self) -> None:
        stdin = self._order.stdin
        for start in range(0, len(stdin), LIMITS.chunk):
            piece = stdin[start : start + LIMITS.chunk]
            self._line.say(frames.encode_data(Kind.INPUT, STREAM, self._input.send(piece), piece))
        self._line.say(frames.encode_end(STREAM, Kind.INPUT, self._input.sent))

    def _resend(self, received: object) -> None:
        for offset, piece in self._input.again(_count(received.get("INPUT") if isinstance(received, dict) else None)):
            self._line.say(frames.encode_data(Kind.INPUT, STREAM, offset, piece))
        self._line.say(frames.encode_end(STREAM, Kind.INPUT, self._input.sent))
        for kind, receiver in self._received.items():
            self._line.say(frames.encode_window(STREAM, kind, receiver.limit))

    # -- how it ends ----------------------------------------------------------------------------------------------

    def _is_complete(self) -> bool:
        """Tell whether it ended and everything that it wrote is here."""
        if self._exit is None:
            return False
        sent = self._exit.get("sent")
        counts = sent if isinstance(sent, dict) else {}
        return all(receiver.received >= _count(counts.get(kind.name)) for kind, receiver in self._received.items())

    def _left(self) -> Left:
        assert self._exit is not None, "it has ended"
        if "code" in self._exit:
            raise self._refused(self._exit)
        ended = exit_of(self._exit)
        stdout, stderr = (bytes(self._kept[kind]) for kind in (Kind.OUTPUT, Kind.ERROR))
        is_more = any(receiver.received > OUTPUT_LIMIT for receiver in self._received.values())
        return Left(ended.exit_code, ended.signal, ended.timed_out, ended.duration, stdout, stderr, is_more)

    def _refused(self, body: dict[str, Any]) -> Refused:
        code, message = str(body.get("code", "")), str(body.get("message", ""))
        hint, details = str(body.get("hint") or ""), body.get("details")
        if self._client.stream is not None:  # else it is the relay's own word
            known = _MACHINE_SAYS.get(code, ErrorCode.INVALID)
            return Refused(ErrorCode(known), message, hint=hint, reason=code)
        return Refused(ErrorCode(code), message, hint=hint, **(details if isinstance(details, dict) else {}))

    def _closed(self, code: int) -> Refused:
        if self._reason in _LOST:
            return self._machine_lost()
        known = _CLOSED.get(CloseCode(code)) if code in list(CloseCode) else None
        why = self._reason.replace("_", " ") or "the relay ended"
        return Refused(
            known or ErrorCode.UNAVAILABLE,
            f"the command was ended before its end: {why}",
            reason=self._reason or "unavailable",
        )

    def _given_up(self) -> Refused:
        if self._is_lost:
            return self._machine_lost()
        return Refused(ErrorCode.UNAVAILABLE, "the machine did not end the command in time", reason="time_out")

    def _machine_lost(self) -> Refused:
        return Refused(
            ErrorCode.AGENT_OFFLINE,
            "the machine's link was lost, and nobody knows how the command ended",
            hint="cmdop connect list",
            reason=self._reason or "machine_lost",
        )
