"""The agent's local socket: one JSON line asks, one answers; a map from name to handler.

Mode 0600 in a private directory, and every caller's user is checked. Verbs that move the gate are refused to the
agent's own descendants: what runs here for somebody far away may not let itself in (D-25).
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cmdop_agent.permissions import is_own_process

LONGEST_LINE = 256 * 1024
Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Refused(Exception):
    """The agent does not do it; ``code`` is of the vocabulary of the socket."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the user and process id at the other end of a local socket; process 0 where it cannot be told."""
    if sys.platform == "linux":
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid, pid
    # macOS: LOCAL_PEERCRED is version, uid, ngroups, groups; LOCAL_PEERPID is the process.
    uid = struct.unpack("=II", connection.getsockopt(0, 1, 8))[1]
    pid = struct.unpack("=i", connection.getsockopt(0, 2, 4))[0]
    return uid, pid


class Control:
    """The server half of the socket."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], gate_handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._gate_handlers = dict(gate_handlers)
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket that a killed agent left is replaced, a living one is ``OSError``."""
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            _, writer = await asyncio.open_unix_connection(self._path)
            writer.close()
            raise OSError(f"an agent answers on {self._path}")
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # 0600 from birth
        try:
            listening.bind(str(self._path))
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_LINE)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._running):
            task.cancel()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._running.add(task)
        try:
            uid, pid = peer_of(writer.get_extra_info("socket"))
            if uid not in (os.geteuid(), 0):
                return
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line, pid)) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):  # a line beyond the limit, a caller who went away
            return
        finally:
            self._running.discard(task)
            writer.close()

    async def _answer(self, line: bytes, pid: int) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(line)
            verb = asked["verb"]
            handler = self._handlers.get(verb)
            if handler is None and verb in self._gate_handlers:
                if is_own_process(pid):
                    raise Refused(
                        "forbidden", "the gate is moved by a person at the machine, not by what runs for others"
                    )
                handler = self._gate_handlers[verb]
            if handler is None:
                raise Refused("unknown_verb", "this agent does not know that verb; is it older than the command line?")
            return {"ok": True, **await handler(asked)}
        except Refused as refusal:
            return {"ok": False, "code": refusal.code, "message": str(refusal), "hint": refusal.hint}
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            return {"ok": False, "code": "malformed", "message": f"not understood: {error}", "hint": ""}
