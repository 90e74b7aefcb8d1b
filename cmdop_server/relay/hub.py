"""The relay's memory: links by machine, streams by id, leases. All of it in one event loop; lost at a restart.

What must not be lost (who operates which machine) is in the database; the hub asks ``authority`` at open, resume and
close, never per frame.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cmdop_server.relay.links import AgentLink, Machine
from cmdop_server.relay.pacing import Paces
from cmdop_server.relay.streams import Holder, Stream
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, STREAM, CloseCode, Frame, Kind

if TYPE_CHECKING:
    from cmdop_server.machines.models import Machine as MachineRow
    from cmdop_server.relay.records import Records

WRITTEN = 1.0  # seconds that a machine's goodbye waits for its record


class Hub:
    """Everything that is connected to this relay."""

    def __init__(self, records: "Records") -> None:
        self.records = records
        self.links: dict[str, AgentLink] = {}
        self.streams: dict[str, Stream] = {}
        self.leases: dict[str, Stream] = {}  # machine id → the one active session
        self.telling = Paces()  # how much machines, by id, may tell of their own accord
        self.cuts = 0  # so far; whoever was being let in while one was made is asked anew
        # Why streams ended while their machine had no link: by machine, because any machine may name any stream.
        self._ended_away: dict[tuple[str, str], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    # -- links ----------------------------------------------------------------------------------------------------

    async def attach(self, link: AgentLink) -> bool:
        """Take a link in; tell ``False`` when the same credential is in use by a machine that answers (D-5)."""
        old = self.links.get(link.machine.id)
        if old is not None:
            if await old.probe():
                return False
            self.detach(old)
            old.socket.close(CloseCode.GOING_AWAY, "replaced")
            if link.machine.id in self.links:  # another newcomer was faster
                return False
        self.links[link.machine.id] = link
        self._news.set()
        self._news = asyncio.Event()
        return True

    def link_of(self, machine_id: str, workspace_id: str) -> AgentLink | None:
        """Return the link of a machine of this workspace; one that it has from where it was before is none."""
        link = self.links.get(machine_id)
        return link if link is not None and link.machine.workspace_id == workspace_id else None

    async def news(self) -> None:
        """Wait until another machine's link has come up."""
        await self._news.wait()

    def detach(self, link: AgentLink) -> None:
        """Let a link go; its streams wait for the machine during the grace (D-26)."""
        if self.links.get(link.machine.id) is link:
            del self.links[link.machine.id]
        for stream in list(link.streams.values()):
            stream.part()
            if not stream.is_opened:
                self.finish(stream, "machine_lost", CloseCode.GONE)
        link.streams.clear()

    async def stopped(self, link: AgentLink) -> None:
        """Take a machine's goodbye: it is offline at once, its streams end.

        Returns when that is written, or after a second: the link closes then, and whoever said goodbye knows.
        """
        for stream in list(link.streams.values()):
            self.finish(stream, "machine_stopped", CloseCode.GONE)
        self.detach(link)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN):
                await self.records.stopped(link.machine.id).wait()

    def rejoin(self, link: AgentLink) -> None:
        """Bind the streams that live on at the machine to its new link, and end those that do not, on both sides."""
        for stream_id in link.surviving:
            reason = self._ended_away.pop((link.machine.id, stream_id), None)
            if reason is not None:
                link.discard(stream_id, reason)
        waiting = [stream for stream in self.streams.values() if stream.machine_id == link.machine.id]
        for stream in waiting:
            if stream.link is not None:
                continue
            if stream.id not in link.surviving:
                self.finish(stream, "machine_lost", CloseCode.GONE)
            elif stream.operator.socket is not None:
                link.add(stream)
                stream.ask_again()

    # -- streams --------------------------------------------------------------------------------------------------

    def opened(self, stream: Stream, frame: Frame) -> None:
        """Tell the operator that it runs, with what a resume will need."""
        stream.is_opened = True
        body = frames.body_of(frame)
        socket = stream.operator.socket
        if socket is not None:
            kept = {name: body[name] for name in ("size", "mode") if name in body}
            socket.put(
                frames.encode_json(
                    Kind.OPENED,
                    STREAM,
                    stream_id=stream.id,
                    resume=stream.resume_secret,
                    machine=stream.machine_id,
                    **kept,
                )
            )

    def refused(self, stream: Stream, frame: Frame) -> None:
        """Forget a stream that the machine did not open; it was told why."""
        body = frames.body_of(frame)
        stream.end_reason = str(body.get("code", "refused"))[:40]
        self._forget(stream)
        if stream.operator.socket is not None:
            stream.operator.socket.close(CloseCode.DONE, stream.end_reason)

    def exited(self, stream: Stream) -> None:
        """Free the lease: the process is gone. The stream stays until its operator has taken the rest."""
        stream.end_reason = stream.end_reason or "exited"
        if self.leases.get(stream.machine_id) is stream:
            del self.leases[stream.machine_id]
        self.records.ended(stream)
        if stream.operator.socket is None:
            self.later(LIMITS.grace, stream, "lost")

    def finish(self, stream: Stream, reason: str, code: CloseCode, *, is_personal: bool = False) -> None:
        """End a stream for everyone: operator, observers, machine, lease, record.

        ``is_personal``: the reason is the operator's alone, so to observers the session just ends.
        """
        if stream.id not in self.streams:
            return
        stream.end_reason = stream.end_reason or reason
        stream.operator.end(reason, code)
        for observer in list(stream.observers):
            observer.holder.end(*(("closed", CloseCode.DONE) if is_personal else (reason, code)))
        self._forget(stream)

    def closed_by_operator(self, stream: Stream, *, was_clean: bool) -> None:
        """Take the end of the operator's socket: cleanly, or lost with the grace to come back."""
        if stream.id not in self.streams:
            return
        if was_clean or not stream.is_opened:
            self.finish(stream, "closed", CloseCode.DONE)
            return
        stream.lose_operator(asyncio.get_running_loop().time())
        self.later(LIMITS.grace, stream, "lost")

    def later(self, seconds: float, stream: Stream, reason: str) -> None:
        """End ``stream`` after ``seconds`` unless its operator came back."""
        lost_at = stream.lost_at

        async def give_up() -> None:
            await asyncio.sleep(seconds)
            if stream.operator.socket is None and stream.lost_at == lost_at:
                self.finish(stream, reason, CloseCode.GONE)

        self.start(give_up())

    def start(self, work: "asyncio._CoroutineLike[None]") -> None:
        """Run ``work`` beside everything else, and keep hold of it until it is done."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        if self.leases.get(stream.machine_id) is stream:
            del self.leases[stream.machine_id]
        if stream.link is None and stream.is_opened:  # the machine cannot hear of it now, and keeps it for the grace
            ended = stream.machine_id, stream.id
            self._ended_away[ended] = stream.end_reason
            asyncio.get_running_loop().call_later(LIMITS.grace * 2, self._ended_away.pop, ended, None)
        stream.close_channel(stream.end_reason)
        self.records.ended(stream)

    def holders(self) -> Iterator[tuple[Stream, Holder]]:
        """Return everyone at a stream, operators and observers."""
        for stream in list(self.streams.values()):
            yield stream, stream.operator
            for observer in list(stream.observers):
                yield stream, observer.holder

    def give_up(self) -> None:
        """Write down the end of what no resume brings back: after a restart only sessions are known."""
        for stream in self.streams.values():
            if stream.kind != "session":
                stream.end_reason = stream.end_reason or "relay_restarted"
                self.records.ended(stream)

    async def drain(self) -> None:
        """Tell everyone that the relay restarts: they come back and resume."""
        for _, holder in self.holders():
            if holder.socket is not None:
                holder.socket.close(CloseCode.GOING_AWAY, "restart")
        for link in list(self.links.values()):
            link.socket.close(CloseCode.GOING_AWAY, "restart")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self.links:
                    await asyncio.sleep(0.02)


def machine_of(row: "MachineRow") -> Machine:
    """Return what the relay keeps of a machine's row."""
    return Machine(
        id=row.public_id,
        workspace_id=row.workspace.public_id,
        workspace_slug=row.workspace.slug,
        hostname=row.hostname,
        name=row.name,
        credential_hash=row.credential_hash,
    )
