"""Terminals and commands on the machines of the client's workspace."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cmdop_sdk.machine_models import Session
from cmdop_sdk.resources.base import Listing, WorkspacePlace
from cmdop_sdk.resources.sessions import SessionsResource

if TYPE_CHECKING:
    from cmdop_sdk.attached import Mode, Terminal
    from cmdop_sdk.dialing import Dialer
    from cmdop_sdk.running import CommandResult, RunningCommand
    from cmdop_sdk.stream import OnNotice


class TerminalResource:
    """``client.terminal``; a machine is named by id (``mch_…``), exact hostname or exact name.

    ``on_notice`` takes words for a person while one waits: that somebody at the machine is asked for approval, that
    the connection is being made again. What opens a stream raises why it does not: ``NotFound``, ``PermissionDenied``,
    ``GateDenied``, ``AgentOffline``, ``SessionConflict``, ``Unreachable``; what ends it before its end is
    ``StreamClosed``.
    """

    def __init__(self, place: WorkspacePlace, dialer: "Callable[[], Dialer]") -> None:
        self._sessions = SessionsResource(place)
        self._dialer = dialer

    async def get_active_session(self, machine: str) -> Session | None:
        """Return the session that runs on a machine, ``None`` when there is none; ``NotFound`` without the machine."""
        found = (await self._sessions.list(machine=machine, active=True).first(1)).items
        return found[0] if found else None

    def list_sessions(self, machine: str | None = None, *, active: bool | None = None) -> Listing[Session]:
        """List sessions, newest first; see ``SessionsResource.list``."""
        return self._sessions.list(machine=machine, active=active)

    async def execute(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        stdin: bytes | None = None,
        shell: bool = False,
        cwd: str = "",
        output_limit: int | None = None,
        on_notice: "OnNotice | None" = None,
    ) -> "CommandResult":
        """Run a command to its end and return exit code, stdout, stderr and how long it took.

        ``argv`` is a list of words that no shell sees; with ``shell=True`` it is one line for ``/bin/sh``. After
        ``timeout`` seconds at the machine everything that it started is ended (``timed_out``, exit code 124). Of
        stdout and stderr ``output_limit`` bytes each are kept (16 MiB), and ``truncated`` tells of more.
        """
        from cmdop_sdk import running
        from cmdop_sdk.stream import ignore

        return await running.execute(
            self._dialer(),
            machine,
            argv,
            timeout=timeout,
            stdin=stdin,
            shell=shell,
            cwd=cwd,
            output_limit=running.OUTPUT_LIMIT if output_limit is None else output_limit,
            on_notice=on_notice or ignore,
        )

    def start(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        shell: bool = False,
        cwd: str = "",
        on_notice: "OnNotice | None" = None,
    ) -> "RunningCommand":
        """Return a command that runs while ``async with`` lasts, for output as it comes and input as one has it::

            async with client.terminal.start("web-1", ["tail", "-f", "log"], timeout=3600) as command:
                async for where, data in command: …
        """  # fmt: skip
        from cmdop_sdk.running import RunningCommand
        from cmdop_sdk.stream import ignore

        return RunningCommand(
            self._dialer(), machine, argv, timeout=timeout, shell=shell, cwd=cwd, on_notice=on_notice or ignore
        )

    def attach(
        self,
        machine: str,
        mode: "Mode" = "operator",
        *,
        cols: int = 80,
        rows: int = 24,
        term: str = "xterm-256color",
        argv: Sequence[str] | None = None,
        take_over: bool = False,
        on_notice: "OnNotice | None" = None,
    ) -> "Terminal":
        """Return a terminal on a machine, open while ``async with`` lasts; its output is an async iterator::

            async with client.terminal.attach("web-1") as term:
                await term.send("uptime; exit\\n")
                async for data in term: …

        ``mode`` ``"observer"`` watches the active session, which ``machine`` may also name by its id. ``argv`` runs
        in place of the login shell. ``take_over`` ends somebody else's session first (owners and admins, D-26).
        """  # fmt: skip
        from cmdop_sdk.attached import Terminal
        from cmdop_sdk.stream import ignore

        return Terminal(
            self._dialer(),
            machine,
            mode=mode,
            cols=cols,
            rows=rows,
            term=term,
            argv=argv,
            take_over=take_over,
            on_notice=on_notice or ignore,
        )
