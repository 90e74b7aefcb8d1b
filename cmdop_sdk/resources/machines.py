"""The machines of the client's workspace, and how hosts come in."""

import base64
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING

from cmdop_sdk.auth import Secret
from cmdop_sdk.errors import InvalidRequest, NotFound, UnexpectedAnswer, error_from_code, naming_machine
from cmdop_sdk.machine_models import CommandAnswer, CreatedJoinToken, JoinToken, Machine, RegisteredMachine, Ticket
from cmdop_sdk.models import Page
from cmdop_sdk.resources.base import Listing, WorkspacePlace, new_action
from cmdop_sdk.transport import API_BASE, Query, segment
from cmdop_wire.vocab import MachineCode

if TYPE_CHECKING:
    from cmdop_sdk.running import CommandResult

APPROVAL = 120.0  # seconds: what somebody at the machine may take to approve, and a link to come back


class JoinTokensResource:
    """``client.machines.join_tokens``; a token is named by its id (``jtk_…``)."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(self) -> Listing[JoinToken]:
        """List join tokens, newest first, with what became of them."""

        async def fetch(query: Query) -> Page[JoinToken]:
            return (await self._place.request("GET", "/join-tokens", Page[JoinToken], query=query)).value

        return Listing(fetch)

    async def create(
        self, *, name: str = "", expires_in: int | None = None, idempotency_key: str | None = None
    ) -> CreatedJoinToken:
        """Make a token that registers one machine, and return it with its text, which is told only now.

        ``expires_in`` is in seconds, an hour by default and a day at most.
        """
        body = {"name": name} | ({} if expires_in is None else {"expires_in": expires_in})
        key = idempotency_key or new_action()
        return (
            await self._place.request("POST", "/join-tokens", CreatedJoinToken, body=body, idempotency_key=key)
        ).value

    async def revoke(self, token_id: str) -> JoinToken:
        """Revoke a token; one that was used or has ended stays as it is."""
        return (await self._place.request("DELETE", f"/join-tokens/{segment(token_id)}", JoinToken)).value


class MachinesResource:
    """``client.machines``; a machine is named by id (``mch_…``), exact hostname or exact name."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place
        self.join_tokens = JoinTokensResource(place)

    def list(
        self, *, online: bool | None = None, tags: Mapping[str, str] | None = None, text: str | None = None
    ) -> Listing[Machine]:
        """List machines by name: online or not, with all of ``tags``, with ``text`` in a name or hostname."""
        wanted = [f"{key}:{value}" for key, value in (tags or {}).items()]
        filters: Query = {"online": online, "tag": wanted or None, "q": text}

        async def fetch(query: Query) -> Page[Machine]:
            return (await self._place.request("GET", "/machines", Page[Machine], query={**query, **filters})).value

        return Listing(fetch)

    async def show(self, machine: str) -> Machine:
        """Return one machine; ``NotFound`` when the workspace has none by that name."""
        return (await self._place.request("GET", _path(machine), Machine, machine=machine)).value

    async def update(
        self,
        machine: str,
        *,
        name: str | None = None,
        hostname: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Machine:
        """Change what is given; ``tags`` replace all. ``Conflict`` when a name leads to another machine (D-5)."""
        given = {"name": name, "hostname": hostname, "tags": None if tags is None else dict(tags)}
        body = {field: value for field, value in given.items() if value is not None}
        return (await self._place.request("PATCH", _path(machine), Machine, body=body, machine=machine)).value

    async def rename(self, machine: str, name: str) -> Machine:
        """Give a machine another name; its hostname stays."""
        return await self.update(machine, name=name)

    async def tag(self, machine: str, tags: Mapping[str, str]) -> Machine:
        """Give a machine these tags and no others."""
        return await self.update(machine, tags=tags)

    async def remove(self, machine: str) -> None:
        """Remove a machine for good: its credential and its session end at once."""
        await self._place.request("DELETE", _path(machine), NoneType, machine=machine)

    async def move(self, machine: str, to: str) -> Machine:
        """Move a machine to another workspace (id or slug), where the caller may register machines, too.

        Its session ends. ``Conflict`` when its name or hostname is taken there, and it stays (D-5).
        """
        return (
            await self._place.request("POST", f"{_path(machine)}/move", Machine, body={"to": to}, machine=machine)
        ).value

    async def register(
        self,
        hostname: str,
        *,
        name: str | None = None,
        os: str = "",
        arch: str = "",
        version: str = "",
        boot_id: str = "",
        credential: Secret | None = None,
        join_token: Secret | None = None,
        replace: bool = False,
        accept_bypass: bool = False,
        workspace: str | None = None,
        idempotency_key: str | None = None,
    ) -> RegisteredMachine:
        """Register a host in the workspace of this client's credential, or of ``join_token``, which stands in for it.

        ``credential`` is the machine's own from before; the answer holds the next one. ``replace`` takes the hostname
        of a machine that is offline; ``accept_bypass`` says that somebody at the machine agreed to a gate that lets
        everything through. ``workspace`` is the one that is meant, by id or slug: ``InvalidRequest`` when the
        credential or join token is of another one. ``Conflict`` (``hostname_taken``) when another machine has the
        hostname (D-5).
        """
        given = {
            "hostname": hostname,
            "name": name,
            "os": os,
            "arch": arch,
            "version": version,
            "boot_id": boot_id,
            "credential": None if credential is None else credential.reveal(),
            "join_token": None if join_token is None else join_token.reveal(),
            "replace": replace or None,
            "accept_bypass": accept_bypass or None,
            "workspace": workspace,
        }
        reply = await self._place.transport.request(
            "POST",
            f"{API_BASE}/agent/register",
            RegisteredMachine,
            body={field: value for field, value in given.items() if value is not None},
            idempotency_key=idempotency_key or new_action(),
            is_public=join_token is not None,
        )
        return reply.value

    async def ticket(self, machine: str, right: str) -> Ticket:
        """Make a ticket that opens one stream within 30 seconds with ``right``, such as ``session.operate``."""
        return (
            await self._place.request(
                "POST", f"{_path(machine)}/ticket", Ticket, body={"right": right}, machine=machine
            )
        ).value

    async def run(
        self, machine: str, argv: Sequence[str], *, timeout: float = 30.0, stdin: bytes = b"", cwd: str = ""
    ) -> "CommandResult":
        """Run a command of at most 30 seconds in one HTTP request, where no websocket gets through.

        Like ``terminal.execute``, but smaller: stdin of at most 128 KiB, 1 MiB each of stdout and stderr
        (``truncated`` tells of more), eight at once in a workspace (``RateLimited``). Never tried again by itself.
        """
        from cmdop_sdk.running import checked_argv

        given = {
            "machine": machine,
            "argv": checked_argv(argv, shell=False),
            "timeout": timeout,
            "cwd": cwd,
            "stdin": base64.b64encode(stdin).decode(),
            "stdin_encoding": "base64",
        }
        try:
            reply = await self._place.request(
                "POST", "/commands", CommandAnswer, body=given, patience=APPROVAL, machine=machine
            )
        except InvalidRequest as refused:
            reason = refused.details.get("reason")
            if reason not in list(MachineCode):
                raise
            raise error_from_code(str(reason), refused.message, hint=refused.hint, details=refused.details) from None
        return _result_of(reply.value)


def _result_of(answer: CommandAnswer) -> "CommandResult":
    from cmdop_sdk.running import CommandResult

    return CommandResult(
        exit_code=answer.exit_code,
        stdout=_bytes_of(answer.stdout, answer.stdout_encoding),
        stderr=_bytes_of(answer.stderr, answer.stderr_encoding),
        duration=answer.duration,
        signal=answer.signal,
        timed_out=answer.timed_out,
        truncated=answer.truncated,
    )


def _bytes_of(text: str, encoding: str) -> bytes:
    if encoding not in ("utf-8", "base64"):
        raise UnexpectedAnswer(f"the server spells output as {encoding}")
    return base64.b64decode(text) if encoding == "base64" else text.encode()


def _path(machine: str) -> str:
    if "/" in machine:  # no name has one, and servers take it for a part of the address, however it is written
        raise naming_machine(NotFound("no such machine", details={"kind": "machine"}), machine)
    return f"/machines/{segment(machine)}"
