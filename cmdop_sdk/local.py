"""This machine's own agent, asked over its local socket: one JSON line each way, for its own user only.

``AsyncCMDOPClient.local()`` gives it. No server and no HTTP client are involved.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Struct, field

from cmdop_sdk.agent_socket import short_path, socket_path
from cmdop_sdk.errors import AgentNotRunning, LocalStateError, TimedOut, UnexpectedAnswer, Unreachable, error_from_code
from cmdop_sdk.store import config_dir as usual_config_dir

ANSWER_TIME = 5.0  # seconds (D-20)
LONGEST_LINE = 1024 * 1024

T = TypeVar("T")


class MachineHere(Struct, frozen=True):
    """What this machine is registered as."""

    id: str
    hostname: str
    name: str = ""


class WorkspaceHere(Struct, frozen=True):
    """A workspace as it was last called."""

    id: str = ""
    slug: str = ""


class LinkStatus(Struct, frozen=True, kw_only=True):
    """The agent's link to the relay: ``seconds`` since it came or went, ``next_attempt`` in seconds from now.

    ``problem_code`` is ``problem`` for programs: the relay's reason (``duplicate_credential``, ``machine_removed`` …),
    ``unauthenticated``, ``unavailable``, ``malformed``, ``unreachable``, ``time_out`` or ``lost``.
    """

    up: bool
    refused: bool = False
    seconds: float = 0.0
    node: str | None = None
    problem: str | None = None
    problem_code: str | None = None
    next_attempt: float | None = None


class GateStatus(Struct, frozen=True, kw_only=True):
    """The gate in short; ``problem`` tells why strict is in force against the file."""

    mode: str
    seeded: bool = False
    rules: int = 0
    problem: str | None = None
    approvers: int = 0


class Versions(Struct, frozen=True):
    """What speaks to what."""

    agent: str = ""
    server: str | None = None
    protocol: int = 0


class AgentStatus(Struct, frozen=True, kw_only=True):
    """How the agent is: registration, link, gate. ``active_workspace`` is the command line's (D-20)."""

    machine: MachineHere
    workspace: WorkspaceHere
    active_workspace: WorkspaceHere | None = None
    server: str
    link: LinkStatus
    channels: int = 0
    gate: GateStatus
    versions: Versions = field(default_factory=Versions)
    pid: int = 0
    started_at: str = ""
    run_as: str | None = None
    service: bool = False
    directory: str = ""


class GateRule(Struct, frozen=True):
    """One rule: allow, deny or ask about an operation whose words, path or folder match (D-25)."""

    verdict: str
    operation: str
    match: str = ""
    cwd: str = ""


class Permissions(Struct, frozen=True, kw_only=True):
    """The gate of this machine as it is in force; ``problem`` tells why that is not what the file says."""

    mode: str
    seeded: bool = False
    problem: str | None = None
    path: str = ""
    rules: list[GateRule] = field(default_factory=list)


class Approval(Struct, frozen=True):
    """A request that waits for a person at this machine; ``request`` and ``actor`` are somebody else's words."""

    number: int
    actor: str
    request: str
    operation: str = ""
    asked_at: str = ""


class _Approvals(Struct, frozen=True):
    waiting: list[Approval]


class _Reloaded(Struct, frozen=True):
    active_workspace: WorkspaceHere | None = None


class LocalAgent:
    """The agent of this machine and user; use it in ``async with``. Without one running: ``AgentNotRunning``.

    The socket and its folder must be this user's and closed to everybody else.
    """

    def __init__(self, config_dir: Path | None = None, *, timeout: float = ANSWER_TIME) -> None:
        self.path = socket_path(config_dir or usual_config_dir())
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        """Connect; raises ``AgentNotRunning`` when nobody is there."""
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; whoever attended to approvals over it does so no longer."""
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None

    async def status(self) -> AgentStatus:
        """Return registration, link, gate and versions."""
        return await self._ask(AgentStatus, "status")

    async def reload(self, *, workspace_id: str | None = None, slug: str = "") -> WorkspaceHere | None:
        """Make the agent dial again, without ending a stream, and tell it which workspace is active now (D-20)."""
        active = None if workspace_id is None else {"id": workspace_id, "slug": slug}
        return (await self._ask(_Reloaded, "reload", active_workspace=active)).active_workspace

    async def stop(self) -> None:
        """End the agent; its machine is offline at once."""
        await self._ask(dict, "stop")

    async def permissions(self) -> Permissions:
        """Return the gate's mode and rules."""
        return await self._ask(Permissions, "permissions")

    async def add_rule(self, verdict: str, operation: str, match: str = "", *, cwd: str = "") -> Permissions:
        """Add a rule: ``verdict`` is allow, deny or ask, ``operation`` one of ``vocab.GateOperation``."""
        return await self._ask(
            Permissions, "add_rule", verdict=verdict, operation=operation, match=match, cwd=cwd or None
        )

    async def revoke_rule(self, verdict: str, operation: str, match: str = "", *, cwd: str = "") -> Permissions:
        """Take a rule away; ``NotFound`` when there is none like it."""
        return await self._ask(
            Permissions, "revoke_rule", verdict=verdict, operation=operation, match=match, cwd=cwd or None
        )

    async def set_mode(self, mode: str) -> Permissions:
        """Put the gate into another mode: default, strict or bypass."""
        return await self._ask(Permissions, "set_mode", mode=mode)

    async def approvals(self, *, wait: float = 0.0, known: Iterable[int] = ()) -> list[Approval]:
        """Return the requests that wait; with ``wait`` (seconds, at most 30) once they differ from ``known``."""
        asked = await self._ask(_Approvals, "approvals", patience=wait, wait=wait, known=list(known))
        return asked.waiting

    async def attend(self) -> None:
        """Be the person that is asked: requests wait for an answer for as long as this connection stays (D-25)."""
        await self._ask(dict, "attend")

    async def answer(self, number: int, *, approved: bool) -> None:
        """Approve or refuse a waiting request; ``NotFound`` when it waits no more."""
        await self._ask(dict, "answer", number=number, approved=approved)

    async def _ask(self, kind: type[T], verb: str, *, patience: float = 0.0, **fields: Any) -> T:
        line = msgspec.json.encode({"verb": verb, **fields}) + b"\n"
        async with self._turn:
            reader, writer = await self._connected()
            try:
                async with asyncio.timeout(self._timeout + patience):
                    writer.write(line)
                    await writer.drain()
                    said = await reader.readline()
            except BaseException as failure:
                self.close()  # the answer may still come, and is not that to the next question
                raise self._broken(failure) from failure
        if not said.endswith(b"\n"):
            self.close()
            raise Unreachable("the agent closed the connection", hint="cmdop connect status")
        return _understood(said, kind)

    def _broken(self, failure: BaseException) -> BaseException:
        if isinstance(failure, TimeoutError):
            return TimedOut("the agent on this machine did not answer in time", hint="cmdop connect restart")
        if isinstance(failure, OSError):
            return Unreachable("the agent closed the connection", hint="cmdop connect status")
        if isinstance(failure, ValueError):
            return UnexpectedAnswer("the agent's answer is too long")
        return failure

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is None:
            try:
                self._check()
                with short_path(self.path) as address:
                    connection = await asyncio.open_unix_connection(address, limit=LONGEST_LINE)
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                raise AgentNotRunning("no agent of yours runs on this machine", hint="cmdop connect --detach") from None
            except OSError as failure:
                raise self._unusable((failure.strerror or str(failure)).lower()) from failure
            self._connection = connection
        return self._connection

    def _check(self) -> None:
        """Refuse a socket that somebody else could have put there, or could listen in on."""
        for path, is_kind, kind in ((self.path.parent, stat.S_ISDIR, "folder"), (self.path, stat.S_ISSOCK, "socket")):
            found = path.lstat()
            if not is_kind(found.st_mode):
                raise self._unusable(f"{path.name} is no {kind}")
            if found.st_uid != os.geteuid():
                raise self._unusable(f"the {kind} belongs to another user")
            if found.st_mode & 0o077:
                raise self._unusable(f"the {kind} is open to other users")

    def _unusable(self, reason: str) -> LocalStateError:
        return LocalStateError(f"cannot use the agent's socket {self.path}: {reason}", path=self.path)


def _understood(line: bytes, kind: type[T]) -> T:
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        said = msgspec.json.decode(line)
        if isinstance(said, dict) and said.get("ok") is True:
            return msgspec.convert(said, kind)
        if isinstance(said, dict) and said.get("ok") is False:
            code, hint = str(said.get("code", "")), str(said.get("hint", ""))
            raise error_from_code(code, str(said.get("message", "")), hint=hint)
    raise UnexpectedAnswer("the agent's answer is none that this version knows", hint="cmdop connect restart")
