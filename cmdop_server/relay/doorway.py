"""The private socket through which other processes of this server reach the relay: workers, and commands on the host.

One line of JSON is a cut, one line answers it. Mode 0600 in the private data directory; nothing else goes through.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from cmdop_server.relay.cuts import Cut, cut_from

NAME = "relay.sock"
LONGEST_LINE = 4096
LONGEST_PATH = 100  # of a socket's address; the kernel takes 108 bytes


@contextlib.contextmanager
def short_path(directory: Path) -> Iterator[str]:
    """Yield an address of the socket in ``directory`` that the kernel takes, however long the directory's path is."""
    path = str(directory / NAME)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}/{NAME}"
    finally:
        os.close(opened)


class Doorway:
    """The relay's end of the socket; ``apply`` makes a cut that came through it."""

    def __init__(self, directory: Path, apply: Callable[[Cut], Awaitable[object]]) -> None:
        self._directory = directory
        self._apply = apply
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; the data directory's lock says that no other relay does."""
        (self._directory / NAME).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self._directory) as path:
            before = os.umask(0o177)  # 0600 from birth
            try:
                listening.bind(path)
            finally:
                os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_LINE)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        (self._directory / NAME).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError, ConnectionError):
            while line := await reader.readline():
                await self._apply(cut_from(json.loads(line)))
                writer.write(b'{"ok": true}\n')
                await writer.drain()
        writer.close()


def knock(directory: Path, cut: Cut, patience: float) -> bool:
    """Hand a cut to the relay and wait for its word; tell ``False`` when it does not come in time.

    No socket, or nobody behind it, means that no relay runs: then there are no streams, and nothing to wait for.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            with short_path(directory) as path:
                connection.connect(path)
            connection.sendall(json.dumps(asdict(cut)).encode() + b"\n")
            return b"ok" in connection.recv(LONGEST_LINE)
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
