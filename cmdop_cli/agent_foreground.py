"""The agent inside this process: in front of a person, who is asked what the gate asks, or under a supervisor."""

import asyncio
import contextlib
import logging
import os
import signal
import stat
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from cmdop_agent.control import AlreadyRunning, until
from cmdop_agent.daemon import Agent, facts, serve
from cmdop_cli import agent as here
from cmdop_cli import loops
from cmdop_cli.approving import Asked, approve
from cmdop_cli.failures import Failure
from cmdop_cli.safe_text import safe
from cmdop_cli.version import version
from cmdop_wire.ids import mask
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_agent.admission import Admission
    from cmdop_agent.environment import Account
    from cmdop_agent.registration import Registration
    from cmdop_cli.context import Call

LOG_SIZE, LOG_COUNT = 4 * 1024 * 1024, 3
LOOK = 5.0  # seconds after which waiting requests are looked at again in any case
log = logging.getLogger("cmdop_agent")


class _PrivateLog(RotatingFileHandler):
    """A log that only its owner reads, turned over by size; secrets in it are masked."""

    def _open(self):  # type: ignore[no-untyped-def] # whatever the library's is
        return open(self.baseFilename, "a", encoding="utf-8", opener=_private)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the secrets in it masked."""
        return mask(super().format(record))


class _OneLine(logging.Formatter):
    """A line for each message: who is spoken of chose some of its words, and cannot begin another line with them."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what follows it of a traceback is our own."""
        record.message = safe(record.message)
        return super().formatMessage(record)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def keep_log(path: Path) -> None:
    """Write what the agent does to ``path``."""
    kept = _PrivateLog(path, maxBytes=LOG_SIZE, backupCount=LOG_COUNT)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)  # noqa: PTH101 - also one that was there before
    kept.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log.addHandler(kept)
    log.setLevel(logging.INFO)


def run(
    call: "Call",
    known: "Registration",
    *,
    asks: bool = False,
    is_silent: bool = False,
    is_service: bool = False,
    account: "Account | None" = None,
) -> None:
    """Run the agent until it is told or signalled to stop.

    With ``asks`` the person at this terminal is its approver; ``is_silent``: only the log is told what happens.
    """
    keep_log(here.log_path(call))

    def say(line: str) -> None:
        log.info("%s", line)
        if not is_silent and call.output.form != "quiet":
            call.note(line, now=True)

    async def whole() -> signal.Signals | None:
        agent = Agent(
            here.folder(call),
            known,
            facts(version(), known.hostname),
            tls=here.tls_of(known),
            say=say,
            account=account,
            active_workspace=here.active_workspace(call),
            is_service=is_service,
        )
        serving = asyncio.create_task(serve(agent))
        asking = asyncio.create_task(_approving(call, agent.admission)) if asks else None
        try:
            await serving
        finally:
            if asking is not None:
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asking
        return agent.ended_by

    try:
        with asyncio.Runner(loop_factory=loops.fast()) as runner:
            if runner.run(whole()) is signal.SIGINT:
                call.output.interrupted()
    except AlreadyRunning as wrong:
        raise Failure(ErrorCode.CONFLICT, str(wrong), hint="cmdop connect status") from None
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several
    say("stopped; this machine is offline")


class _OwnDesk:
    """The requests of an agent in this process."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission

    async def waiting(self, known: Sequence[int]) -> list[Asked]:
        """Return what waits, once it is something else than ``known``."""
        while sorted(self._admission.waiting) == sorted(known):
            await until(self._admission.changed(), LOOK)
        return [Asked(each.number, each.actor, str(each.request)) for each in self._admission.waiting.values()]

    async def answer(self, number: int, *, approved: bool) -> bool:
        """Give an answer."""
        return self._admission.answer(number, approved=approved)


async def _approving(call: "Call", admission: "Admission") -> None:
    admission.approvers += 1
    try:
        await approve(_OwnDesk(admission), lambda line: call.note(line, now=True), call.output.ask)
    finally:
        admission.approvers -= 1
