"""A person's or program's stream: one websocket, one session, command or transfer; or somebody who watches."""

import asyncio
import logging
import secrets
import shlex
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError

from cmdop_server.access.errors import Refused
from cmdop_server.relay import authority, clock
from cmdop_server.relay.admitting import let_in, still_open
from cmdop_server.relay.authority import Admitted, Caller, ask
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.links import AgentLink
from cmdop_server.relay.pacing import Pace
from cmdop_server.relay.resuming import to_resume
from cmdop_server.relay.socket import Gone, Socket
from cmdop_server.relay.streams import Holder, Observer, Stream
from cmdop_server.relay.turns import refuse_more_than_half
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Frame, Kind, Malformed, Side, State
from cmdop_wire.ids import make_id
from cmdop_wire.vocab import STREAM_RIGHTS, Action, ErrorCode

log = logging.getLogger(__name__)

CLOSE_CODES = {
    ErrorCode.UNAUTHENTICATED: CloseCode.AUTH,
    ErrorCode.FORBIDDEN: CloseCode.FORBIDDEN,
    ErrorCode.NOT_FOUND: CloseCode.GONE,
    ErrorCode.GONE: CloseCode.GONE,
    ErrorCode.UNAVAILABLE: CloseCode.UNAVAILABLE,
}


class Client:
    """One client websocket from its first frame to its end."""

    def __init__(self, hub: Hub, socket: Socket, caller: Caller) -> None:
        self.hub = hub
        self.socket = socket
        self.caller = caller
        self.stream: Stream | None = None
        self.observer: Observer | None = None
        self.was_clean = False
        self._pace = Pace()

    async def serve(self) -> None:
        """Open or resume what the first frame asks for, then take frames until the socket ends."""
        try:
            async with asyncio.timeout(LIMITS.hello):
                first = await self.socket.receive()
                if first.kind is Kind.HELLO:
                    first = await self.socket.receive()
            if first.channel != STREAM:
                raise Malformed("a frame for another channel")
            if first.kind is Kind.OPEN:
                await self._open(frames.body_of(first))
            elif first.kind is Kind.RESUME:
                await self._resume(frames.body_of(first))
            else:
                raise Malformed("a stream begins with OPEN or RESUME")
            while True:
                await self._take(await self.socket.receive())
        except Gone as gone:
            self.was_clean = self.was_clean or gone.code == CloseCode.DONE
        except TimeoutError:
            self.socket.close(CloseCode.MALFORMED, "nothing was asked for")
        except Refused as refusal:
            self._refuse(refusal)
        except DatabaseError:
            log.exception("a stream was refused: the database cannot be asked or written to")
            self._refuse(Refused(ErrorCode.UNAVAILABLE, "the server cannot decide or write it down now"))
        finally:
            self._end()

    # -- opening --------------------------------------------------------------------------------------------------

    async def _open(self, body: dict[str, Any]) -> None:
        kind, machine = body.get("kind"), body.get("machine")
        if not isinstance(kind, str) or kind not in STREAM_RIGHTS or not isinstance(machine, str):
            raise Malformed("OPEN names a kind and a machine")
        action = STREAM_RIGHTS[kind]
        named: str = machine
        if authority.looks_like_session(named):
            named = await ask(authority.machine_of_session, self.caller, named)
        stream_id, opening = make_id("session"), {name: body[name] for name in _TOLD if name in body}
        before = self.hub.cuts
        if kind == "observe":
            admitted = await let_in(self.hub, self.caller, named, action)
            watched = self._session_on(admitted)
            if watched is None:
                raise await self._nothing_to_watch(admitted)
            self._observe(watched, action)
            return
        if kind == "session":
            admitted = await let_in(self.hub, self.caller, named, action)
            self._link_of(admitted)
        else:
            admitted = await ask(
                authority.begin_execution,
                self.caller,
                named,
                action,
                stream_id=stream_id,
                kind=kind,
                opening=opening,
                link_of=self.hub.link_of,
            )
        holder = Holder(self.caller.actor, action, self.socket)
        stream = Stream(stream_id, kind, admitted.machine_id, admitted.workspace_id, holder)
        stream.opening, stream.resume_secret = opening, secrets.token_urlsafe(32)
        if kind == "session":
            await self._take_lease(admitted, stream, take_over=body.get("take_over") is True)
        try:
            if self.hub.cuts != before:  # recording it took its time, and a cut that was made meanwhile missed it
                if kind == "session":
                    await still_open(self.hub, self.caller, stream_id, stream.resume_secret)
                else:
                    await let_in(self.hub, self.caller, admitted.machine_id, action)
            self._start(admitted, stream)
        except Refused as refusal:
            stream.end_reason = str(refusal.code)
            self.hub.records.ended(stream)
            raise

    async def _take_lease(self, admitted: Admitted, stream: Stream, *, take_over: bool) -> None:
        holder = self.hub.leases.get(admitted.machine_id)
        if holder is not None and not take_over and await self._is_alive(holder):
            label = holder.operator.actor.label
            raise Refused(
                ErrorCode.SESSION_CONFLICT,
                f"{label} has the active session on {admitted.hostname}",
                hint=f"cmdop connect observe {admitted.hostname}",
                holder=label,
                session_id=holder.id,
            )
        if holder is not None and take_over:
            await ask(authority.admit_take_over, self.caller, admitted.machine_id)
        if holder is not None:
            self.hub.finish(holder, "taken_over" if take_over else "lost", CloseCode.CONFLICT)
            await self.hub.records.flush()  # its row must have ended before the next one can begin
        taken_over_from = holder.id if holder is not None and take_over else None

        async def begin() -> None:
            # The row is what competing openers meet: one active session a machine, also across relays (D-26).
            await ask(
                authority.begin_session,
                self.caller,
                admitted.machine_id,
                stream.id,
                resume=stream.resume_secret,
                opening=stream.opening,
                taken_over_from=taken_over_from,
            )

        try:
            await begin()
        except Refused as refusal:
            if refusal.code is not ErrorCode.SESSION_CONFLICT or admitted.machine_id in self.hub.leases:
                raise
            await self.hub.records.flush()  # an end that waits to be written frees the machine already
            await begin()

    async def _is_alive(self, holder: Stream) -> bool:
        """Tell whether both ends of a stream answer: its machine, and whoever operates it (D-26)."""
        if holder.link is None or self.hub.links.get(holder.machine_id) is not holder.link:
            return False
        return all(await asyncio.gather(holder.link.probe(), holder.operator.probe()))

    def _link_of(self, admitted: Admitted) -> AgentLink:
        link = self.hub.link_of(admitted.machine_id, admitted.workspace_id)
        if link is None:
            raise authority.offline(admitted.hostname)
        return link

    def _start(self, admitted: Admitted, stream: Stream) -> None:
        link = self._link_of(admitted)  # again: it may have gone while this was recorded
        if len(link.streams) >= LIMITS.channels:
            raise Refused(ErrorCode.LIMIT_REACHED, f"{admitted.hostname} serves {LIMITS.channels} callers at once")
        taken = (each.operator.actor for each in link.streams.values())
        refuse_more_than_half(self.caller.actor, taken, LIMITS.channels, f"on {admitted.hostname}")
        self.stream = stream
        self.hub.streams[stream.id] = stream
        if stream.kind == "session":
            self.hub.leases[admitted.machine_id] = stream
        number, actor = link.add(stream), self.caller.actor
        link.socket.put(
            frames.encode_json(
                Kind.OPEN,
                number,
                **{**stream.opening, "stream_id": stream.id, "kind": stream.kind},
                actor={"kind": str(actor.kind), "id": actor.id, "label": actor.label},
            )
        )
        self._watch_clock(stream.operator)

    def _session_on(self, admitted: Admitted) -> Stream | None:
        stream = self.hub.leases.get(admitted.machine_id)
        return stream if stream is not None and stream.is_opened else None

    async def _nothing_to_watch(self, admitted: Admitted) -> Refused:
        """Return the refusal to watch a machine without a session; to begin one is a fix for whoever may."""
        actor, fix = self.caller.actor, ""
        if await ask(authority.may_still, actor, admitted.machine_id, Action.SESSION_OPERATE):
            fix = shlex.join(["cmdop", "connect", "to", admitted.hostname])
        elif await ask(authority.may_still, actor, admitted.machine_id, Action.SESSION_LIST):
            fix = "cmdop connect sessions"
        sentence = f"there is no active session on {admitted.hostname}"
        return Refused(ErrorCode.NOT_FOUND, sentence, hint=fix, kind="session")

    def _observe(self, stream: Stream, action: Action) -> None:
        if len(stream.observers) >= LIMITS.observers:
            raise Refused(ErrorCode.LIMIT_REACHED, "this session has as many observers as it may have")
        taken = (each.holder.actor for each in stream.observers)
        refuse_more_than_half(self.caller.actor, taken, LIMITS.observers, "at this session")
        holder = Holder(self.caller.actor, action, self.socket)
        self.observer = Observer(holder, stream)
        offset, recent = stream.context()
        self.socket.put(
            frames.encode_json(
                Kind.OPENED,
                STREAM,
                stream_id=stream.id,
                machine=stream.machine_id,
                observing=stream.operator.actor.label,
                **{"from": {"OUTPUT": offset}},
            )
        )
        self.observer.show(offset, recent)
        stream.observers.add(self.observer)
        self.hub.records.observed(stream, self.caller.actor)
        self._watch_clock(holder)

    async def _resume(self, body: dict[str, Any]) -> None:
        stream, received = await to_resume(self.hub, self.caller, body)
        if stream.operator.socket is not None:  # half open: whoever resumes proved to be the holder
            stream.operator.socket.close(CloseCode.GOING_AWAY, "resumed elsewhere")
        stream.operator.actor, stream.operator.socket, stream.lost_at = self.caller.actor, self.socket, None
        self.stream = stream
        link = self.hub.links.get(stream.machine_id)
        if link is not None:
            if stream.link is not link:
                link.add(stream)
            stream.ask_again(received)
        self._watch_clock(stream.operator)

    # -- frames ---------------------------------------------------------------------------------------------------

    async def _take(self, frame: Frame) -> None:
        if self.observer is not None:
            if not frames.is_legal(Side.OBSERVER, State.OPEN, frame.kind):
                return  # no frame of theirs has any effect (D-26)
        else:
            state = State.OPEN if self.stream is not None and self.stream.is_opened else State.OPENING
            if not frames.is_legal(Side.OPERATOR, state, frame.kind):
                raise Malformed(f"a client does not send {frame.kind.name} on a stream that is {state}")
        if frame.kind in _FOR_THE_RELAY:
            self._pace.take()
        if frame.kind is Kind.REAUTH:
            await self._reauthenticate(frame)
        elif frame.kind is Kind.PROBE:
            self._answer(Kind.PROBED, nonce=frames.body_of(frame).get("nonce"))
        elif frame.kind is Kind.PROBED:
            if (holder := self._holder()) is not None:
                holder.answered.set()
        elif frame.kind is Kind.CLOSE:
            self.was_clean = True
            raise Gone(CloseCode.DONE)
        elif self.observer is None and frame.channel == STREAM and self.stream is not None:
            await self.stream.from_operator(frame)
        elif self.observer is None:
            raise Malformed("a frame for another channel")

    async def _reauthenticate(self, frame: Frame) -> None:
        holder = self._holder()
        token = str(frames.body_of(frame).get("token", ""))
        self.caller = await ask(authority.reauthenticate, self.caller.actor, token)
        if holder is not None:
            self._watch_clock(holder)
        self._answer(Kind.REAUTHED, expires_at=_text(self.caller.expires_at))

    def _answer(self, kind: Kind, **fields: Any) -> None:
        """Answer a frame; who asks without ever reading the answers is cut, so that they do not pile up."""
        if not self.socket.put(frames.encode_json(kind, STREAM, **fields)):
            self.socket.close(CloseCode.SLOW, "slow")

    def _watch_clock(self, holder: Holder) -> None:
        stream = self.observer.stream if self.observer is not None else self.stream
        if stream is not None:
            clock.watch(self.hub, stream, holder, self.caller)

    def _holder(self) -> Holder | None:
        if self.observer is not None:
            return self.observer.holder
        return self.stream.operator if self.stream is not None else None

    def _refuse(self, refusal: Refused) -> None:
        self.socket.put(
            frames.encode_json(
                Kind.REFUSED,
                STREAM,
                code=str(refusal.code),
                message=refusal.message,
                hint=refusal.hint,
                details=refusal.details,
            )
        )
        self.socket.close(CLOSE_CODES.get(refusal.code, CloseCode.CONFLICT), str(refusal.code))

    def _end(self) -> None:
        if self.observer is not None:
            self.observer.stream.observers.discard(self.observer)
            if self.observer.holder.expiry is not None:
                self.observer.holder.expiry.cancel()
        elif self.stream is not None and self.stream.operator.socket is self.socket:
            self.hub.closed_by_operator(self.stream, was_clean=self.was_clean)


_FOR_THE_RELAY = frozenset({Kind.REAUTH, Kind.PROBE, Kind.PROBED})  # each costs an answer, or a look into the database
_TOLD = ("argv", "shell", "cwd", "cols", "rows", "term", "timeout", "path", "size", "mode")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
