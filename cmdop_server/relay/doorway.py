"""The private socket through which other processes of this server reach the relay: workers, and commands on the host.

One line of JSON is a cut or an order, one line answers it. Mode 0600 in the private data directory; nothing else goes
through.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from cmdop_server.access.errors import Refused
from cmdop_server.later import unless
from cmdop_server.orders import OUTPUT_LIMIT, Declined, Left, Order
from cmdop_server.relay.cuts import Cut, cut_from
from cmdop_wire.vocab import ErrorCode

NAME = "relay.sock"
LONGEST_LINE = 512 * 1024  # an order with its input
LONGEST_ANSWER = 4 * OUTPUT_LIMIT  # two outputs in base64, and what is around them
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
    """The relay's end of the socket; ``apply`` makes a cut, ``run`` carries out an order that came through it."""

    def __init__(
        self,
        directory: Path,
        apply: Callable[[Cut], Awaitable[object]],
        run: Callable[[Order], Coroutine[Any, Any, Left]],
    ) -> None:
        self._directory = directory
        self._apply = apply
        self._run = run
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
        try:
            while line := await reader.readline():
                told = json.loads(line)
                if isinstance(told, dict) and "order" in told:
                    await self._carry_out(told["order"], reader, writer)
                    break
                await self._apply(cut_from(told))
                writer.write(b'{"ok": true}\n')
                await writer.drain()
        except (ValueError, ConnectionError):
            pass
        finally:  # whatever failed: who waits for an answer must not wait for ever
            writer.close()

    async def _carry_out(self, told: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run a command for a worker, which hangs up when nobody wants it any more."""
        try:
            done = await unless(reader.read(1), self._run(msgspec.convert(told, Order)))
        except Refused as refused:
            writer.write(msgspec.json.encode({"declined": Declined.by(refused)}) + b"\n")
        else:
            if done is None:
                return
            writer.write(msgspec.json.encode({"left": done}) + b"\n")
        await writer.drain()


class _Answer(msgspec.Struct):
    """How the relay answers an order."""

    left: Left | None = None
    declined: Declined | None = None


async def hand_over(directory: Path, order: Order) -> Left:
    """Have the relay in another process carry out an order; cancelled, it is told that nobody wants it any more."""
    try:
        with short_path(directory) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_ANSWER)
    except OSError:
        raise _no_relay() from None
    try:
        writer.write(msgspec.json.encode({"order": order}) + b"\n")
        await writer.drain()
        line = await reader.readline()
    except (OSError, ValueError):
        raise _no_relay() from None
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise _no_relay()
    answer = msgspec.json.decode(line, type=_Answer)
    if answer.declined is not None:
        raise answer.declined.as_refused()
    assert answer.left is not None, "the relay answers one or the other"
    return answer.left


def _no_relay() -> Refused:
    return Refused(ErrorCode.UNAVAILABLE, "the relay does not answer", retry_after=2)


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
