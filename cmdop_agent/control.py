"""The agent's local socket: one JSON line asks, one answers; a map from name to handler.

Mode 0600 in a private directory, and every caller's user is checked. Verbs that move the gate are refused to the
agent's own descendants: what runs here for somebody far away may not let itself in (D-25).
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cmdop_agent.children import IS_LINUX, is_descendant
from cmdop_sdk.agent_socket import short_path
from cmdop_sdk.errors import LocalStateError

LONGEST_LINE = 256 * 1024
MOST_CALLERS, MOST_OF_OURS = 64, 16  # at once; what we run for others leaves places for people
LOCK_FILE = "pid"


class Refused(Exception):
    """The agent does not do it; ``code`` is of the vocabulary of the socket."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Caller:
    """Who is at the other end of one connection, and what is to be undone when it closes.

    ``is_ours`` tells whether the agent's own descendant made the connection: later its number may be anybody's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.is_ours = is_descendant(pid, os.getpid())
        self.leaving: dict[str, Callable[[], None]] = {}


Handler = Callable[[dict[str, Any], Caller], Awaitable[dict[str, Any]]]


class AlreadyRunning(Exception):
    """Another agent uses this directory."""


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the user and process id at the other end of a local socket; process 0 where it cannot be told."""
    if IS_LINUX:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid, pid
    # macOS: LOCAL_PEERCRED is version, uid, ngroups, groups; LOCAL_PEERPID is the process.
    uid = struct.unpack("=II", connection.getsockopt(0, 1, 8))[1]
    pid = struct.unpack("=i", connection.getsockopt(0, 2, 4))[0]
    return uid, pid


class Control:
    """The server half of the socket, and the lock that makes this the only agent of its directory."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], own_handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._own_handlers = dict(own_handlers)  # for people at the machine, not for what the agent started
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], Caller] = {}
        self._lock: int | None = None

    async def start(self) -> None:
        """Listen; ``AlreadyRunning`` when a living agent has this directory. What a killed one left is replaced."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _locked(self._path.with_name(LOCK_FILE))
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # 0600 from birth
        try:
            with short_path(self._path) as address:
                listening.bind(address)
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_LINE)

    async def stop(self) -> None:
        """Stop listening, remove the socket, let go of the lock."""
        if self._server is not None:
            self._server.close()
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running))
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        caller = None
        try:
            uid, pid = peer_of(writer.get_extra_info("socket"))
            if uid not in (os.geteuid(), 0) or len(self._running) >= MOST_CALLERS:
                return
            caller = Caller(pid)
            if caller.is_ours and sum(each.is_ours for each in self._running.values()) >= MOST_OF_OURS:
                return
            self._running[task] = caller
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line, caller)) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError, asyncio.CancelledError):  # a line beyond the limit, a caller who left
            return
        finally:
            self._running.pop(task, None)
            for leave in caller.leaving.values() if caller is not None else ():
                leave()
            writer.close()

    async def _answer(self, line: bytes, caller: Caller) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(line)
            verb = asked["verb"]
            handler = self._handlers.get(verb)
            if handler is None and verb in self._own_handlers:
                if caller.is_ours or is_descendant(caller.pid, os.getpid()):
                    raise Refused(
                        "forbidden",
                        "only a person at the machine may do this, not what the agent runs for others",
                        "",
                    )
                handler = self._own_handlers[verb]
            if handler is None:
                raise Refused("unknown_verb", "this agent does not know that verb", "cmdop connect restart")
            return {"ok": True, **await handler(asked, caller)}
        except Refused as refusal:
            return {"ok": False, "code": refusal.code, "message": str(refusal), "hint": refusal.hint}
        except LocalStateError as error:
            return {"ok": False, "code": error.code, "message": error.message, "hint": error.hint}
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            return {"ok": False, "code": "malformed", "message": f"not understood: {error}", "hint": ""}


def _locked(path: Path) -> int:
    """Return the descriptor that holds the lock; the file tells the number of the process, for people."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise AlreadyRunning("an agent runs already on this machine, for this configuration directory") from None
    os.ftruncate(opened, 0)
    os.write(opened, f"{os.getpid()}\n".encode())
    return opened


def is_running(path: Path) -> bool:
    """Tell whether an agent holds the lock beside the socket at ``path``."""
    try:
        opened = os.open(path.with_name(LOCK_FILE), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(opened)
    return False


async def until(event: Awaitable[object], seconds: float) -> bool:
    """Wait for ``event``, at most ``seconds``; tell whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event
            return True
    return False
