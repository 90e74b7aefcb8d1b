"""One command on one machine: over a websocket of its own, with stdin, separate stdout and stderr, and a time-out.

Loads no HTTP client; ``client.terminal`` and the command line both stand on it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import CMDOPError, InvalidRequest, TimedOut
from cmdop_sdk.stream import OnNotice, Stream, ignore
from cmdop_wire.exits import Exit, exit_of
from cmdop_wire.frames import LIMITS, Kind

DEFAULT_TIMEOUT = 30.0  # seconds at the machine (D-27)
PATIENCE = LIMITS.grace + 15.0  # seconds beyond the time-out for the machine to end everything, and for a resume
OUTPUT_LIMIT = 16 * 1024 * 1024  # bytes kept of each of stdout and stderr
LONGEST_ARGV = 48 * 1024  # bytes; all of it must fit into one control frame

Where = Literal["stdout", "stderr"]
_WHERE: dict[Kind, Where] = {Kind.OUTPUT: "stdout", Kind.ERROR: "stderr"}


class CommandResult(Struct, frozen=True, kw_only=True):
    """What a command left: ``exit_code`` is its own, 128 + n after a signal, 124 after a time-out.

    ``duration`` is in seconds at the machine. ``truncated`` tells that more was written than ``output_limit``.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration: float
    signal: str | None = None
    timed_out: bool = False
    truncated: bool = False

    @property
    def text(self) -> str:
        """Return stdout as text; what is no UTF-8 in it is replaced."""
        return self.stdout.decode(errors="replace")


class RunningCommand:
    """A command that runs while ``async with`` lasts; leaving earlier ends it and everything it started.

    Iterate over what it writes, as pairs of ``"stdout"`` or ``"stderr"`` and bytes; a reader who is slow pauses it.
    """

    def __init__(
        self,
        dialer: Dialer,
        machine: str,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        shell: bool = False,
        cwd: str = "",
        on_notice: OnNotice = ignore,
    ) -> None:
        words = checked_argv(argv, shell=shell)
        if not 0 < timeout <= LIMITS.timeout:
            raise InvalidRequest("a time-out is more than nothing and at most a week", details={"field": "timeout"})
        self._timeout = timeout
        opening = {"kind": "command", "machine": machine, "argv": words, "shell": shell, "timeout": timeout}
        self._stream = Stream(dialer, opening | ({"cwd": cwd} if cwd else {}), on_notice=on_notice)

    @property
    def exit(self) -> Exit:
        """Return how it ended; for after the iteration."""
        if self._stream.exit is None:
            raise InvalidRequest("the command has not ended yet")
        return exit_of(self._stream.exit)

    async def __aenter__(self) -> Self:
        """Start it; returns when it runs, raises why it does not."""
        await self._stream.__aenter__()
        self._deadline = asyncio.get_running_loop().time() + self._timeout + PATIENCE
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.close()

    async def __aiter__(self) -> AsyncIterator[tuple[Where, memoryview]]:
        while True:
            try:
                if self._stream.has_output:  # a timer for each piece would cost a tenth of a transfer
                    piece = await self._stream.read()
                else:
                    async with asyncio.timeout_at(self._deadline):
                        piece = await self._stream.read()
            except TimeoutError:
                raise TimedOut("the machine did not end the command in time", hint="cmdop connect list") from None
            if piece is None:
                return
            yield _WHERE[piece.kind], piece.data

    async def send(self, data: bytes) -> None:
        """Write to its stdin, at its pace; what it does not read any more is dropped."""
        await self._stream.send(data)

    async def end_input(self) -> None:
        """Close its stdin."""
        await self._stream.end_input()

    async def signal(self, name: str) -> None:
        """Send it and its group a signal, such as ``INT``."""
        await self._stream.signal(name)


async def execute(
    dialer: Dialer,
    machine: str,
    argv: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    stdin: bytes | None = None,
    shell: bool = False,
    cwd: str = "",
    output_limit: int = OUTPUT_LIMIT,
    on_notice: OnNotice = ignore,
) -> CommandResult:
    """Run a command to its end and return what it left; see ``TerminalResource.execute``."""
    kept: dict[Where, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    truncated = False
    async with RunningCommand(
        dialer, machine, argv, timeout=timeout, shell=shell, cwd=cwd, on_notice=on_notice
    ) as command:
        feeding = asyncio.create_task(_feed(command, stdin or b""), name="stdin of a command")
        try:
            async for where, data in command:
                room = output_limit - len(kept[where])
                kept[where] += data[: max(0, room)]
                truncated = truncated or len(data) > room
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        ended = command.exit
    return CommandResult(
        exit_code=ended.exit_code,
        stdout=bytes(kept["stdout"]),
        stderr=bytes(kept["stderr"]),
        duration=ended.duration,
        signal=ended.signal,
        timed_out=ended.timed_out,
        truncated=truncated,
    )


async def _feed(command: RunningCommand, stdin: bytes) -> None:
    try:
        await command.send(stdin)
        await command.end_input()
    except CMDOPError:
        return  # whoever reads is told the same


def checked_argv(argv: Sequence[str], *, shell: bool) -> list[str]:
    """Return the words of a command; a lone text is a shell's line, and refused where no shell is asked for."""
    if isinstance(argv, str):
        if not shell:
            raise InvalidRequest("argv is a list of words; shell=True takes one line", details={"field": "argv"})
        argv = [argv]
    words = list(argv)
    if not words or not all(isinstance(word, str) for word in words) or not words[0]:
        raise InvalidRequest("a command has at least one word, and words are texts", details={"field": "argv"})
    if any("\0" in word for word in words):
        raise InvalidRequest("a word of a command cannot hold a NUL", details={"field": "argv"})
    try:
        size = sum(len(word.encode()) + 1 for word in words)
    except UnicodeEncodeError:
        raise InvalidRequest("a word of a command is not Unicode text", details={"field": "argv"}) from None
    if size > LONGEST_ARGV:
        raise InvalidRequest(f"a command has at most {LONGEST_ARGV} bytes; send more through stdin")
    return words
