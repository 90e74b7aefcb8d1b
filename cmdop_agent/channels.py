"""The channels of one agent: opens what the relay asks for, through the gate, and keeps them across lost links.

One task for each. Whatever goes wrong in one, or is wrong with the frames that somebody far away sent for it, ends that
one: never the link, never another.
"""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from cmdop_agent.admission import Admission
from cmdop_agent.files import serve_file
from cmdop_agent.outbox import Outbox
from cmdop_agent.processes import Process
from cmdop_agent.refusals import Refusal
from cmdop_agent.running import start
from cmdop_agent.session import Channel, Close, EndInput, Granted, Opening, Resize, Signal, Step, Write, opening_of
from cmdop_agent.work import Work
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, Frame, Kind, Malformed
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)


class Open:
    """One open channel with its process or transfer, and the steps that wait for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.process: Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_room: Callable[[], None] = lambda: None
        self.on_input: Callable[[bytes], None] = lambda _: None
        self.on_input_end: Callable[[], None] = lambda: None
        self.is_closed = False  # nobody wants it any more
        self.problem = ""  # what was wrong with a frame for it

    def end(self) -> None:
        """End what runs here: nobody wants it any more."""
        self.is_closed = True
        if self.task is not None:
            self.task.cancel()


class Channels:
    """All channels of this agent, by their stream's ids; numbers belong to one link only."""

    def __init__(self, admission: Admission, on_admitted: Callable[[Opening], None] = lambda _: None) -> None:
        self.outbox = Outbox(self._room_again)
        self._admission = admission
        self._on_admitted = on_admitted
        self._open: dict[str, Open] = {}
        self._numbers: dict[int, str] = {}
        self._grace: dict[str, asyncio.TimerHandle] = {}
        self._lost_at: dict[str, float] = {}
        self._burials: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def offsets(self) -> list[dict[str, object]]:
        """Return what HELLO says of the channels that survived."""
        return [each.channel.offsets() for each in self._open.values() if each.channel.is_open and not each.is_closed]

    # -- the link comes and goes -----------------------------------------------------------------------------------

    def link_lost(self) -> None:
        """Keep what was open for the grace, then end what nobody came back for; withdraw what was not (D-26)."""
        self.outbox.clear()
        self._numbers.clear()
        for stream_id, each in list(self._open.items()):
            each.channel.lost()
            if not each.channel.is_open:
                each.end()
            elif stream_id not in self._lost_at:
                self._lost_at[stream_id] = monotonic()
                self._wait_for(stream_id, LIMITS.grace)

    def link_found(self) -> None:
        """Give the callers of what survived the grace anew, once: they may be on their way back, too."""
        for stream_id, lost_at in self._lost_at.items():
            self._wait_for(stream_id, min(LIMITS.grace, lost_at + 2 * LIMITS.grace - monotonic()))

    def _wait_for(self, stream_id: str, seconds: float) -> None:
        self._stop_waiting(stream_id)
        self._grace[stream_id] = asyncio.get_running_loop().call_later(max(0.0, seconds), self._give_up, stream_id)

    def _stop_waiting(self, stream_id: str) -> None:
        timer = self._grace.pop(stream_id, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, stream_id: str) -> None:
        each = self._open.get(stream_id)
        if each is not None:
            self._close(each)

    async def end_all(self) -> None:
        """End every process, and return when they are gone: the agent stops."""
        for each in list(self._open.values()):
            self._close(each)
        while waiting := [each.task for each in self._open.values() if each.task is not None]:
            await asyncio.wait(waiting)
        while self._burials:
            await asyncio.wait(self._burials)

    # -- frames ----------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Act on one frame of the relay; ``Malformed`` only for what a caller has no say in: it ends the link."""
        if frame.kind is Kind.OPEN:
            self._start(frame)
        elif frame.kind is Kind.RESUME:
            self._resume(frame)
        else:
            each = self._open.get(self._numbers.get(frame.channel, ""))
            if each is not None:  # else: it ended while the frame was on its way
                self._take_for(each, frame)

    def _take_for(self, each: Open, frame: Frame) -> None:
        if each.channel.is_over and frame.kind not in (Kind.CLOSE, Kind.WINDOW):
            return
        try:
            for step in each.channel.take(frame):
                self._do(each, step)
        except Malformed as problem:
            log.warning("a caller sent what it may not: %s (%s)", problem, each.channel.stream_id)
            each.problem = str(problem)
            if each.task is not None:
                each.task.cancel()

    def _start(self, frame: Frame) -> None:
        if frame.channel in self._numbers:
            raise Malformed("a channel number is used once")
        try:
            opening = opening_of(frame)
        except Malformed as problem:
            self._refuse(frame, ErrorCode.MALFORMED, str(problem))
            return
        if opening.stream_id in self._open:
            raise Malformed("a stream is opened once")
        if len(self._open) >= LIMITS.channels:
            self._refuse(frame, ErrorCode.LIMIT_REACHED, f"this machine serves {LIMITS.channels} callers at once")
            return
        each = Open(Channel(frame.channel, opening))
        self._open[opening.stream_id] = each
        self._numbers[frame.channel] = opening.stream_id
        each.task = asyncio.create_task(self._run(each), name=f"channel {opening.stream_id}")
        each.task.add_done_callback(lambda _: self._ran(each))  # also of one that was cancelled before it began

    def _resume(self, frame: Frame) -> None:
        body = frames.body_of(frame)
        stream_id = str(body.get("stream_id", ""))
        each = self._open.get(stream_id)
        if each is None or each.is_closed or not each.channel.is_open:
            self._refuse(frame, ErrorCode.GONE, "this stream has ended at the machine")
            return
        if self._numbers.get(frame.channel, stream_id) != stream_id:
            raise Malformed("a channel number is used once")
        self._stop_waiting(stream_id)
        self._lost_at.pop(stream_id, None)
        if each.channel.number is not None:
            self.outbox.drop(each.channel.number)  # all of it is said again
        self._unnumber(stream_id)
        try:
            answers = each.channel.resume(frame.channel, body.get("received"))
        except Malformed as problem:  # the caller's word is wrong, not the link's
            self._refuse(frame, ErrorCode.GONE, str(problem))
            self._close(each)
            return
        self._numbers[frame.channel] = stream_id
        for answer in answers:
            self.outbox.put(*answer)
        each.on_room()

    def _refuse(self, frame: Frame, code: str, message: str) -> None:
        self.outbox.put(frames.encode_json(Kind.REFUSED, frame.channel, code=str(code), message=message[:500], hint=""))

    def _do(self, each: Open, step: Step) -> None:
        if isinstance(step, Close):
            self._close(each)
        elif isinstance(step, Granted):
            each.on_room()
        elif isinstance(step, Write):
            each.on_input(step.data)
        elif isinstance(step, EndInput):
            each.on_input_end()
        elif each.process is not None and isinstance(step, Resize):
            each.process.resize(step.cols, step.rows)
        elif each.process is not None and isinstance(step, Signal):
            each.process.send_signal(step.name)

    def _close(self, each: Open) -> None:
        """End what runs on a channel; if it is over already, let go of what was kept for a resume."""
        self._unnumber(each.channel.stream_id)
        each.channel.lost()
        each.end()
        if each.task is None or each.task.done():
            self._forget(each)

    # -- running ---------------------------------------------------------------------------------------------------

    def _room_again(self, number: int) -> None:
        each = self._open.get(self._numbers.get(number, ""))
        if each is not None:
            each.on_room()

    def room(self, each: Open, kind: Kind) -> int:
        """Return how much of ``kind`` this channel may send now; while the link is away, what its window holds."""
        if not each.channel.is_open:
            return 0  # nothing may be said before OPENED
        left = each.channel.room(kind)
        return left if each.channel.number is None else min(left, max(0, self.outbox.room(each.channel.number)))

    async def _run(self, each: Open) -> None:
        channel, opening = each.channel, each.channel.opening
        put = self.outbox.put
        try:
            work = await self._admission.admit(opening, lambda code, message: put(channel.notice(code, message)))
            self._on_admitted(opening)
            if opening.kind in ("read_file", "write_file"):
                await serve_file(self, each, self._admission.root, self._admission.account)
            else:
                await self._run_process(each, work)
        except Refusal as refusal:
            self._say_no(each, refusal.code, str(refusal), refusal.hint)
        except asyncio.CancelledError:
            if each.problem and not each.is_closed:
                self._say_no(each, ErrorCode.MALFORMED, each.problem)
        except Exception:
            log.exception("a channel failed")
            self._say_no(each, ErrorCode.INTERNAL, "the agent failed; its log says how")

    def _ran(self, each: Open) -> None:
        if each.is_closed or not each.channel.is_over:
            self._forget(each)  # else it is kept until the relay says CLOSE, in case a resume asks again

    def _say_no(self, each: Open, code: str, message: str, hint: str = "") -> None:
        """Say why it does not run; once it was open that is an end, with the reason in it."""
        if each.channel.is_over:
            return
        if each.channel.is_open:
            self.outbox.put(each.channel.exit(status=None, signal="KILL", code=str(code), message=message[:500]))
        else:
            self.outbox.put(each.channel.refused(str(code), message, hint))

    async def _run_process(self, each: Open, work: Work) -> None:
        channel, opening = each.channel, each.channel.opening
        started = monotonic()

        def deliver(kind: Kind, data: bytes) -> None:
            self.outbox.put(channel.output(kind, data), data)

        process = start(
            opening,
            work,
            room=lambda kind: self.room(each, kind),
            deliver=deliver,
            taken=lambda size: self.outbox.put(channel.consumed(size)),
            account=self._admission.account,
        )
        each.process, each.on_room = process, process.resume
        assert process.inlet is not None, "what was just started takes input"
        each.on_input, each.on_input_end = process.inlet.write, process.inlet.end
        timed_out = False
        try:
            self.outbox.put(channel.opened())
            process.resume()
            try:
                async with asyncio.timeout(opening.timeout if opening.kind == "command" else None):
                    await process.child.ended.wait()
            except TimeoutError:
                timed_out = True
                await process.end()
            duration = round(monotonic() - started, 6)
            ended = await process.wait()
            fields = {"status": ended.status, "signal": ended.signal, "timed_out": timed_out, "duration": duration}
            self.outbox.put(channel.exit(**fields))
        finally:
            self._bury(process, was_wanted=channel.is_over)

    def _bury(self, process: Process, *, was_wanted: bool) -> None:
        """Let a process go: what ended by itself at once, anything else after its group was ended."""

        async def end() -> None:
            try:
                for outlet in process.outlets:
                    outlet.close()
                await process.end()
            finally:
                process.release()

        if was_wanted and process.child.ended.is_set():
            process.release()
            return
        burial = asyncio.create_task(end())
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    def _unnumber(self, stream_id: str) -> None:
        self._numbers = {number: other for number, other in self._numbers.items() if other != stream_id}

    def _forget(self, each: Open) -> None:
        stream_id = each.channel.stream_id
        self._open.pop(stream_id, None)
        self._lost_at.pop(stream_id, None)
        self._stop_waiting(stream_id)
        self._unnumber(stream_id)
