"""Processes on the machine, with or without a terminal: feed, drain, signal, end. No protocol here.

``pty.py`` and ``commands.py`` start them.

A process reads and writes through callbacks; whoever owns it says how much may be read, so a slow reader far away
pauses the process here and nothing grows.
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

LADDER = ((signal.SIGHUP, 0.5), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))  # signal, seconds before the next


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: an exit status, or the signal that ended it."""

    status: int | None
    signal: str | None


class Outlet:
    """Reads one descriptor into ``deliver`` as long as ``room`` says there is some, and pauses otherwise."""

    def __init__(self, fd: int, room: Callable[[], int], deliver: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._room = room
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._is_reading = False
        self.is_finished = asyncio.Event()
        os.set_blocking(fd, False)
        self.resume()

    def resume(self) -> None:
        """Read again, if there is room; to be called whenever room may have grown."""
        if not self._is_reading and not self.is_finished.is_set() and self._room() > 0:
            self._is_reading = True
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
            self._deliver(data)
        else:
            self.close()

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def close(self) -> None:
        """Stop reading; whoever waits for the end goes on."""
        self._pause()
        self.is_finished.set()


class Inlet:
    """Writes to one descriptor without ever blocking; tells how much was taken, so that more can be granted."""

    def __init__(self, fd: int, taken: Callable[[int], None]) -> None:
        self._fd = fd
        self._taken = taken
        self._waiting = bytearray()
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
        self._write()

    def end(self) -> None:
        """Close the descriptor once everything queued was written."""
        self._is_ending = True
        if not self._waiting:
            self.close()

    def _write(self) -> None:
        try:
            while self._waiting:
                count = os.write(self._fd, self._waiting)
                del self._waiting[:count]
                self._taken(count)
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._fd, self._write)
            return
        except OSError:  # EPIPE, EIO: the reader has gone
            self._taken(len(self._waiting))
            self._waiting.clear()
            self.close()
            return
        self._stop_waiting()
        if self._is_ending:
            self.close()

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


@dataclass(slots=True)
class Process:
    """A running child in a process group (with a terminal: a session) of its own."""

    child: asyncio.subprocess.Process
    terminal: int | None = None  # the master side
    outlets: list[Outlet] = field(default_factory=list)
    inlet: Inlet | None = None
    descriptors: list[int] = field(default_factory=list)  # closed by ``release``

    def resume(self) -> None:
        """Read output again where there is room."""
        for outlet in self.outlets:
            outlet.resume()

    def resize(self, cols: int, rows: int) -> None:
        """Tell the terminal its size; the kernel tells the processes."""
        if self.terminal is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send_signal(self, name: str) -> None:
        """Signal the terminal's foreground group, or the child's own group when there is no terminal."""
        number = getattr(signal, f"SIG{name}")
        group = self.child.pid
        if self.terminal is not None:
            with contextlib.suppress(OSError):
                group = os.tcgetpgrp(self.terminal)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    async def wait(self) -> Ended:
        """Wait for the child and for its last output, and return how it ended.

        Output is waited for half a second longer at most: a grandchild in the background may hold the terminal.
        """
        code = await self.child.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._drained()
        if code >= 0:
            return Ended(code, None)
        return Ended(None, signal.Signals(-code).name.removeprefix("SIG"))

    async def _drained(self) -> None:
        for outlet in self.outlets:
            await outlet.is_finished.wait()

    async def end(self) -> None:
        """End the whole group, politely first: HUP, TERM, KILL; returns when the child is gone."""
        for number, patience in LADDER:
            if self.child.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.child.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)  # what the child left behind in its group

    def release(self) -> None:
        """Close every descriptor; the process must have ended."""
        for outlet in self.outlets:
            outlet.close()
        if self.inlet is not None:
            self.inlet.close()
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.descriptors.clear()
