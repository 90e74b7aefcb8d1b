"""Processes on the machine, with or without a terminal: feed, drain, signal, end. No protocol here.

``pty.py`` and ``commands.py`` start them. A process reads and writes through callbacks; whoever owns it says how much
may be read, so a slow reader far away pauses the process here and nothing grows.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from cmdop_agent.children import Child, Ended, members_of

LADDER = ((signal.SIGHUP, 0.5), (signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0))  # signal, seconds before the next
LINGER = 0.5  # seconds that output is waited for after the end, when somebody else still holds its other end
_LOOK = 0.02
LATE, _LATE_PAUSE = 10, 0.1  # times and seconds that jobs of a shell's last moment are hung up on
_END_OF_INPUT = b"\x04"


class Outlet:
    """Reads one descriptor into ``deliver`` as long as ``room`` says there is some, and pauses otherwise."""

    def __init__(self, fd: int, room: Callable[[], int], deliver: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._room = room
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._is_reading = False
        self._count = 0  # pieces delivered
        self._is_finished = asyncio.Event()
        self._may_read = asyncio.Event()
        os.set_blocking(fd, False)

    def resume(self) -> None:
        """Read again, if there is room; to be called whenever room may have grown."""
        if not self._is_reading and not self._is_finished.is_set() and self._room() > 0:
            self._is_reading = True
            self._may_read.set()
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        room = self._room()
        if room <= 0:
            self._pause()
            return
        try:
            data = os.read(self._fd, room)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process has let go of the terminal
            data = b""
        if data:
            self._count += 1
            self._deliver(data)
        else:
            self.close()

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._may_read.clear()
            self._loop.remove_reader(self._fd)

    async def drained(self) -> None:
        """Wait for the end of what can be read; not for ever for somebody who holds the other end and is silent.

        As long as there is no room, it waits: what the process wrote before its end is not given up.
        """
        while not self._is_finished.is_set():
            await self._may_read.wait()
            seen = self._count
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._is_finished.wait()
            if self._is_reading and self._count == seen:
                return

    def close(self) -> None:
        """Stop reading; whoever waits for the end goes on."""
        self._pause()
        self._is_finished.set()
        self._may_read.set()


class Inlet:
    """Writes to one descriptor without ever blocking; tells how much was taken, so that more can be granted.

    A terminal (``is_terminal``) is not closed at the end of input: the end is typed, as a person would.
    """

    def __init__(self, fd: int, taken: Callable[[int], None], *, is_terminal: bool = False) -> None:
        self._fd = fd
        self._taken = taken
        self._is_terminal = is_terminal
        self._waiting = bytearray()
        self._granting = 0  # how many of the first waiting bytes came from the peer
        self._ended_a_line = True
        self._loop = asyncio.get_running_loop()
        self._is_writing = False
        self._is_ending = False
        self.is_closed = False
        os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        """Queue ``data``; bounded, because the peer sends only what was granted."""
        if self.is_closed:
            self._taken(len(data))  # nobody reads any more: it counts as used up
            return
        self._waiting += data
        self._granting += len(data)
        self._ended_a_line = data.endswith((b"\n", b"\r"))
        self._write()

    def end(self) -> None:
        """Let the reader see the end of input, once everything queued was written."""
        self._is_ending = True
        if self._is_terminal and not self.is_closed:
            # In the middle of a line the first one only sends the line.
            self._waiting += _END_OF_INPUT * (1 if self._ended_a_line else 2)
        if self._waiting:
            self._write()
        elif not self._is_terminal:
            self.close()

    def _write(self) -> None:
        try:
            while self._waiting:
                count = os.write(self._fd, self._waiting)
                del self._waiting[:count]
                self._tell(count)
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._fd, self._write)
            return
        except OSError:  # EPIPE, EIO: the reader has gone
            self._waiting.clear()
            self._tell(self._granting)
            self.close()
            return
        self._stop_waiting()
        if self._is_ending and not self._is_terminal:
            self.close()

    def _tell(self, count: int) -> None:
        taken = min(count, self._granting)
        self._granting -= taken
        if taken:
            self._taken(taken)

    def _stop_waiting(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Let go of the descriptor without waiting."""
        if not self.is_closed:
            self._stop_waiting()
            self.is_closed = True
            with contextlib.suppress(OSError):
                os.close(self._fd)


def set_size(terminal: int, cols: int, rows: int) -> None:
    """Tell a terminal its size; the kernel tells the processes on it."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


@dataclass(slots=True)
class Process:
    """A running child, the leader of a session of its own; with a terminal or with pipes."""

    child: Child
    terminal: int | None = None  # the master side
    outlets: list[Outlet] = field(default_factory=list)
    inlet: Inlet | None = None
    descriptors: list[int] = field(default_factory=list)  # closed by ``release``

    def resume(self) -> None:
        """Read output again where there is room."""
        for outlet in self.outlets:
            outlet.resume()

    def resize(self, cols: int, rows: int) -> None:
        """Tell the terminal its size, if there is one."""
        if self.terminal is not None:
            set_size(self.terminal, cols, rows)

    def send_signal(self, name: str) -> None:
        """Signal the terminal's foreground group, or the child's own group when there is no terminal."""
        self._signal(self._foreground(), getattr(signal, f"SIG{name}"))

    def _foreground(self) -> int:
        if self.terminal is not None:
            with contextlib.suppress(OSError):
                return os.tcgetpgrp(self.terminal) or self.child.pid
        return self.child.pid

    def _signal(self, group: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    async def wait(self) -> Ended:
        """Wait for the child and for its last output, and return how it ended."""
        await self.child.ended.wait()
        for outlet in self.outlets:
            await outlet.drained()
        assert self.child.end is not None, "an ended child has an end"
        return self.child.end

    async def end(self) -> None:
        """End the whole group, politely first: HUP, TERM, KILL; returns when nothing of it is left.

        Of a session with a terminal that is the shell and what is in its foreground; jobs in the background are only
        hung up on, as when a terminal closes. Of a command it is everything that did not leave its session.
        """
        groups = {self.child.pid, self._foreground()}
        known = groups | self._hang_up_on_jobs(groups, set(groups))
        for number, patience in LADDER:
            self._hang_up_on_jobs(groups, known)
            for group in groups:
                self._signal(group, number)
            if await self._is_gone(groups, patience):
                break
        for _ in range(LATE):
            if not self._hang_up_on_jobs(groups, known):
                break
            await asyncio.sleep(_LATE_PAUSE)

    def _hang_up_on_jobs(self, groups: set[int], known: set[int]) -> set[int]:
        """Hang up on the jobs that are not ``known`` and return them.

        What the shell began in its last moment is told several times: until it has become its program, the shell's trap
        takes the signal.
        """
        found = {job.group for job in members_of(self.child.pid) or ()} - known
        for group in found:
            self._signal(group, signal.SIGHUP)
        if self.terminal is None:
            groups |= found
        return found

    async def _is_gone(self, groups: set[int], patience: float) -> bool:
        deadline = monotonic() + patience
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.child.ended.wait()
        while self.child.ended.is_set():
            left = members_of(self.child.pid)
            if left is not None and not any(self.terminal is None or member.group in groups for member in left):
                return True
            if left is None or monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK)
        return False

    def release(self) -> None:
        """Close every descriptor and let the child go; it must have ended."""
        for outlet in self.outlets:
            outlet.close()
        if self.inlet is not None:
            self.inlet.close()
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.descriptors.clear()
        self.child.release()
