"""Our own stdin, stdout and stderr as bytes, at the pace of whoever is at their other end.

Nothing here holds up the event loop, so that a pager that nobody scrolls does not cost the connection; and nothing is
made non-blocking, because these descriptors are shared with other programs.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import stat
import sys
import termios
from collections.abc import AsyncIterator

from cmdop_cli.failures import Code, Failure
from cmdop_cli.readiness import READING, WRITING, ready

PIECE = min(4096, select.PIPE_BUF)  # bytes that a pipe which is ready takes at once, whatever else is in it
PIPE_SIZE = 256 * 1024
READ = 65536


class Sink:
    """Writes to one descriptor; ``BrokenPipeError`` and ``Failure`` when it cannot be delivered."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._writing = asyncio.Lock()
        try:
            kind = os.fstat(descriptor).st_mode
        except OSError as error:
            raise _undelivered(error) from error
        self._takes_all = stat.S_ISREG(kind) or (stat.S_ISCHR(kind) and not os.isatty(descriptor))  # /dev/null
        self._capacity = _widened(descriptor) if stat.S_ISFIFO(kind) else 0
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    async def write(self, data: bytes | memoryview) -> None:
        """Write all of ``data``, never in the middle of somebody else's."""
        left = memoryview(data)
        async with self._writing:
            while left:
                room = self._room(len(left)) or await self._until_ready()
                try:
                    left = left[os.write(self._descriptor, left[:room]) :]
                except BlockingIOError:  # somebody else has made it so
                    await self._until_ready()
                except BrokenPipeError:
                    raise
                except OSError as error:
                    raise _undelivered(error) from error

    def _room(self, wanted: int) -> int:
        """Return how much can be written now without waiting for anybody."""
        if self._takes_all:
            return wanted
        if self._capacity and not _unread(self._descriptor):
            return self._capacity
        return PIECE if self._poll.poll(0) else 0

    async def _until_ready(self) -> int:
        """Wait until something can be written; return how much."""
        await ready(self._descriptor, WRITING)
        return PIECE


async def pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Yield what can be read from ``descriptor`` until its end, as it is asked for; ``Failure`` when it cannot be."""
    while True:
        try:
            await ready(descriptor, READING)
            data = os.read(descriptor, READ)
        except BlockingIOError:  # somebody else has made it so, and taken it
            continue
        except OSError as error:  # closed, a folder, a terminal that is not ours
            raise Failure(Code.USAGE, f"cannot read standard input: {_reason(error)}") from error
        if not data:
            return
        yield data


def _widened(pipe: int) -> int:
    """Let a pipe hold more, where the system does that, so that a frame is one write; return how much it holds."""
    set_size, get_size = getattr(fcntl, "F_SETPIPE_SZ", None), getattr(fcntl, "F_GETPIPE_SZ", None)
    if set_size is None or get_size is None:
        return 0
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, set_size, PIPE_SIZE)
    return fcntl.fcntl(pipe, get_size)


def _unread(pipe: int) -> int:
    """Return how many bytes in a pipe nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _undelivered(error: OSError) -> Failure:
    return Failure(Code.OUTPUT, f"cannot write: {_reason(error)}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
