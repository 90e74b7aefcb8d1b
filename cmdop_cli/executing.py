"""One command on one machine (D-27): through our own stdin, stdout and stderr, or collected for a record."""

import asyncio
import contextlib
import sys
from base64 import b64encode
from typing import Any, NamedTuple

from cmdop_cli.descriptors import Sink, pieces
from cmdop_cli.failures import Failure, document
from cmdop_sdk import running
from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import CMDOPError
from cmdop_sdk.running import CommandResult, RunningCommand
from cmdop_sdk.stream import OnNotice
from cmdop_wire.exits import Exit

CAPTURED = 8 * 1024 * 1024  # bytes of each stream that a record holds; the rest is read and left out


class Work(NamedTuple):
    """What is to be run. ``timeout`` is in seconds; ``is_shell`` hands the words to a shell as one text."""

    argv: tuple[str, ...]
    timeout: float
    is_shell: bool = False

    def on(self, dialer: Dialer, machine: str, on_notice: OnNotice) -> RunningCommand:
        """Return it as a command on ``machine``, not yet begun; ``InvalidRequest`` when it cannot be one."""
        return RunningCommand(
            dialer, machine, self.argv, timeout=self.timeout, shell=self.is_shell, on_notice=on_notice
        )


async def piped(dialer: Dialer, work: Work, machine: str, *, on_notice: OnNotice) -> Exit:
    """Run ``work`` on ``machine`` with our stdin, stdout and stderr, byte for byte; return how it ended.

    Leaving early, also by an interrupt, ends everything that it has started there.
    """
    sinks = {"stdout": Sink(1), "stderr": Sink(2)}
    async with work.on(dialer, machine, on_notice) as command:
        feeding = asyncio.create_task(_feed(command))
        try:
            async for where, data in command:
                await sinks[where].write(data)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        return command.exit


async def _feed(command: RunningCommand) -> None:
    """Send what is on our stdin, and its end; a terminal is left alone, since it may be somebody's shell."""
    with contextlib.suppress(CMDOPError):  # whoever reads the command is told
        if sys.stdin is not None and not sys.stdin.isatty():
            with contextlib.suppress(Failure):  # what cannot be read has nothing in it
                async for data in pieces(0):
                    await command.send(data)
        await command.end_input()


async def collected(dialer: Dialer, work: Work, machine: str, *, on_notice: OnNotice) -> CommandResult:
    """Run ``work`` on ``machine`` without input; return how it ended, and as much of its output as a record holds."""
    return await running.execute(
        dialer,
        machine,
        work.argv,
        timeout=work.timeout,
        shell=work.is_shell,
        output_limit=CAPTURED,
        on_notice=on_notice,
    )


def record(machine: str, work: Work, result: CommandResult | None, failure: Failure | None = None) -> dict[str, Any]:
    """Return what ``--json`` tells of one machine: how it ended there, or why it did not begin.

    Output is text where it is UTF-8, and base64 where it is not; ``encoding`` says which.
    """
    output = (b"", b"") if result is None else (result.stdout, result.stderr)
    is_text = all(_is_text(data) for data in output)
    stdout, stderr = (data.decode() if is_text else b64encode(data).decode() for data in output)
    return {
        "machine": machine,
        "argv": list(work.argv),
        "shell": work.is_shell,
        "exit_code": None if result is None else result.exit_code,
        "signal": None if result is None else result.signal,
        "timed_out": None if result is None else result.timed_out,
        "duration": None if result is None else result.duration,
        "stdout": stdout,
        "stderr": stderr,
        "encoding": "utf-8" if is_text else "base64",
        "truncated": result is not None and result.truncated,
        "error": None if failure is None else document(failure),
    }


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
