"""The channels of one agent: opens what the relay asks for, through the gate, and keeps them across lost links.

One task a channel; leaving the daemon's task group ends every process. Frames go out through an ``Outbox`` that is
bounded: when it is full, every process pauses.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from time import monotonic

from cmdop_agent.admission import Admission
from cmdop_agent.commands import spawn_on_pipes
from cmdop_agent.environment import child_environment, login_shell, words_of
from cmdop_agent.files import serve_file
from cmdop_agent.processes import Process
from cmdop_agent.pty import spawn_on_terminal
from cmdop_agent.refusals import Refusal
from cmdop_agent.session import Channel, Close, EndInput, Granted, Opening, Resize, Signal, Write, opening_of
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, Frame, Kind, Malformed


class Outbox:
    """Frames on their way to the link; ``room`` is what may still be queued, in bytes."""

    def __init__(self, size: int = 2 * LIMITS.window) -> None:
        self._size = size
        self._queued = 0
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.on_room: Callable[[], None] = lambda: None

    @property
    def room(self) -> int:
        """Return how many more bytes of output may be queued; control frames always may."""
        return self._size - self._queued

    def put(self, frame: bytes | None) -> None:
        """Queue a frame; ``None`` (no link) is dropped, the channel keeps what must not be lost."""
        if frame is not None:
            self._queued += len(frame)
            self._frames.put_nowait(frame)

    def clear(self) -> None:
        """Forget everything: the link it was meant for is gone."""
        while not self._frames.empty():
            self._frames.get_nowait()
        self._queued = 0

    async def drain(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send for ever, one frame after the other, at the pace of the link."""
        while True:
            frame = await self._frames.get()
            await send(frame)
            was_full = self.room <= 0
            self._queued -= len(frame)
            if was_full and self.room > 0:
                self.on_room()


class Open:
    """One open channel with its process or transfer, and the steps that wait for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.process: Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.early: list[bytes] = []  # input that came while the process was being started
        self.is_input_ended = False
        self.on_room: Callable[[], None] = lambda: None
        self.on_input: Callable[[bytes], None] | None = None  # a file transfer takes its input here
        self.on_input_end: Callable[[], None] | None = None


class Channels:
    """All channels of this agent, by their ids; numbers belong to one link only."""

    def __init__(self, tasks: asyncio.TaskGroup, admission: Admission) -> None:
        self.outbox = Outbox()
        self.outbox.on_room = self._room_again
        self._tasks = tasks
        self._admission = admission
        self._open: dict[str, Open] = {}
        self._numbers: dict[int, str] = {}
        self._grace: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._open)

    def offsets(self) -> list[dict[str, object]]:
        """Return what HELLO says of the channels that survived."""
        return [each.channel.offsets() for each in self._open.values()]

    def link_lost(self) -> None:
        """Keep everything for the grace, then end what nobody came back for (D-26)."""
        self.outbox.clear()
        self._numbers.clear()
        loop = asyncio.get_running_loop()
        for stream_id, each in self._open.items():
            each.channel.lost()
            self._grace[stream_id] = loop.call_later(LIMITS.grace, self._give_up, stream_id)

    def end_all(self) -> None:
        """End every process: the agent stops."""
        for each in list(self._open.values()):
            if each.task is not None:
                each.task.cancel()

    def _give_up(self, stream_id: str) -> None:
        self._grace.pop(stream_id, None)
        each = self._open.get(stream_id)
        if each is not None and each.channel.exit_frame is not None:
            self._forget(each)
        elif each is not None and each.task is not None:
            each.task.cancel()

    def take(self, frame: Frame) -> None:
        """Act on one frame of the relay; ``Malformed`` ends the link."""
        if frame.kind is Kind.OPEN:
            self._start(frame)
        elif frame.kind is Kind.RESUME:
            self._resume(frame)
        else:
            each = self._open.get(self._numbers.get(frame.channel, ""))
            if each is not None:  # else: it ended while the frame was on its way
                for step in each.channel.take(frame):
                    self._do(each, step)

    def _start(self, frame: Frame) -> None:
        if frame.channel in self._numbers or len(self._open) >= LIMITS.channels:
            raise Malformed("a channel number is used once, and there are not more than 256")
        opening = opening_of(frame)
        if opening.stream_id in self._open:
            raise Malformed("a stream is opened once")
        each = Open(Channel(frame.channel, opening))
        self._open[opening.stream_id] = each
        self._numbers[frame.channel] = opening.stream_id
        each.task = self._tasks.create_task(self._run(each), name=f"channel {opening.stream_id}")

    def _resume(self, frame: Frame) -> None:

        body = frames.body_of(frame)
        stream_id, received = str(body.get("stream_id", "")), body.get("received", {})
        each = self._open.get(stream_id)
        if each is None or not isinstance(received, dict):
            self.outbox.put(frames.encode_json(Kind.REFUSED, frame.channel, code="gone", message="no such stream here"))
            return
        timer = self._grace.pop(stream_id, None)
        if timer is not None:
            timer.cancel()
        self._numbers = {number: other for number, other in self._numbers.items() if other != stream_id}
        self._numbers[frame.channel] = stream_id
        try:
            answers = each.channel.resume(frame.channel, received)
        except Malformed as problem:  # the caller's word is wrong, not the link's
            self.outbox.put(frames.encode_json(Kind.REFUSED, frame.channel, code="gone", message=str(problem)))
            self._give_up(stream_id)
            return
        for answer in answers:
            self.outbox.put(answer)
        each.on_room()

    def _do(self, each: Open, step: object) -> None:
        match step:
            case Write(data) if each.on_input is not None:
                each.on_input(data)
            case Write(data) if each.process is not None and each.process.inlet is not None:
                each.process.inlet.write(data)
            case Write(data):
                each.early.append(data)
            case EndInput():
                each.is_input_ended = True
                if each.on_input_end is not None:
                    each.on_input_end()
                elif each.process is not None and each.process.inlet is not None:
                    each.process.inlet.end()
            case Granted():
                each.on_room()
            case Resize(cols, rows) if each.process is not None:
                each.process.resize(cols, rows)
            case Signal(name) if each.process is not None:
                each.process.send_signal(name)
            case Close() if each.channel.exit_frame is not None:
                self._forget(each)
            case Close() if each.task is not None:
                each.task.cancel()

    def _room_again(self) -> None:
        for each in list(self._open.values()):
            each.on_room()

    def room(self, each: Open, kind: Kind) -> int:
        """Return how much of ``kind`` this channel may send now."""
        return min(each.channel.room(kind), max(0, self.outbox.room))

    async def _run(self, each: Open) -> None:
        channel, opening = each.channel, each.channel.opening
        try:
            await self._admission.admit(opening, lambda code, message: self._tell(channel, code, message))
            if opening.kind in ("read_file", "write_file"):
                await serve_file(self, each, self._admission.root)
            else:
                await self._run_process(each)
        except Refusal as refusal:
            if channel.number is not None:
                self.outbox.put(channel.refused(refusal.code, str(refusal), refusal.hint))
        except asyncio.CancelledError:
            if not asyncio.current_task().cancelling() or each.task is None:  # type: ignore[union-attr]
                raise
        finally:
            if channel.exit_frame is None:
                self._forget(each)
            elif channel.number is not None:
                # The relay says CLOSE once the caller has the end; until then a resume may ask for it again.
                self._grace[channel.stream_id] = asyncio.get_running_loop().call_later(LIMITS.grace, self._forget, each)

    def _tell(self, channel: Channel, code: str, message: str) -> None:
        if channel.number is not None:
            self.outbox.put(channel.notice(code, message))

    async def _run_process(self, each: Open) -> None:
        channel, opening = each.channel, each.channel.opening
        started = monotonic()
        process = await self._spawn(each, opening)
        each.process = process
        each.on_room = process.resume
        try:
            self.outbox.put(channel.opened(pid=process.child.pid))
            for data in each.early:
                assert process.inlet is not None
                process.inlet.write(data)
            each.early.clear()
            if each.is_input_ended and process.inlet is not None:
                process.inlet.end()
            process.resume()
            timed_out = False
            try:
                async with asyncio.timeout(opening.timeout if opening.kind == "command" else None):
                    ended = await process.wait()
            except TimeoutError:
                timed_out = True
                await process.end()
                ended = await process.wait()
            self.outbox.put(
                channel.exit(
                    status=ended.status,
                    signal=ended.signal,
                    timed_out=timed_out,
                    duration_ms=int((monotonic() - started) * 1000),
                )
            )
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(process.end())
            process.release()

    async def _spawn(self, each: Open, opening: Opening) -> Process:
        channel = each.channel
        is_session = opening.kind == "session"
        environment = child_environment(term=opening.term if is_session else None)
        cwd = opening.cwd or environment["HOME"]

        def deliver(kind: Kind) -> Callable[[bytes], None]:
            return lambda data: self.outbox.put(channel.output(kind, data))

        def taken(size: int) -> None:
            self.outbox.put(channel.consumed(size))

        # Nothing may be read before OPENED was said: until then there is no room.
        def room(kind: Kind) -> Callable[[], int]:
            return lambda: self.room(each, kind) if channel.is_open else 0

        try:
            if is_session:
                return await spawn_on_terminal(
                    opening.argv or login_shell(),
                    environment,
                    cwd=cwd,
                    cols=opening.cols,
                    rows=opening.rows,
                    room=room(Kind.OUTPUT),
                    deliver=deliver(Kind.OUTPUT),
                    taken=taken,
                )
            return await spawn_on_pipes(
                words_of(opening),
                environment,
                cwd=cwd,
                rooms=(room(Kind.OUTPUT), room(Kind.ERROR)),
                deliver=(deliver(Kind.OUTPUT), deliver(Kind.ERROR)),
                taken=taken,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refusal("command_not_found", f"no such command or folder on the machine: {error.filename}") from None
        except (PermissionError, OSError, ValueError) as error:
            raise Refusal("cannot_start", f"the machine cannot start it: {error}") from None

    def _forget(self, each: Open) -> None:
        self._open.pop(each.channel.stream_id, None)
        timer = self._grace.pop(each.channel.stream_id, None)
        if timer is not None:
            timer.cancel()
        self._numbers = {
            number: stream_id for number, stream_id in self._numbers.items() if stream_id != each.channel.stream_id
        }
