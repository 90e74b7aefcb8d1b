"""A terminal on a machine, operated or watched, over a websocket of its own that survives a lost connection.

Loads no HTTP client; ``client.terminal`` and the command line both stand on it.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import InvalidRequest
from cmdop_sdk.running import checked_argv
from cmdop_sdk.stream import OnNotice, Stream, ignore
from cmdop_wire.exits import Exit, exit_of
from cmdop_wire.frames import LIMITS

Mode = Literal["operator", "observer"]


class Terminal:
    """A terminal while ``async with`` lasts; iterate over what it shows, as bytes.

    An operator's leaving ends the shell; an observer's ends nothing. Iteration ends when the shell does;
    ``StreamClosed`` tells any other end.
    """

    def __init__(
        self,
        dialer: Dialer,
        machine: str,
        *,
        mode: Mode = "operator",
        cols: int = 80,
        rows: int = 24,
        term: str = "xterm-256color",
        argv: Sequence[str] | None = None,
        take_over: bool = False,
        on_notice: OnNotice = ignore,
    ) -> None:
        if mode not in ("operator", "observer"):
            raise InvalidRequest("a terminal is attached to as operator or observer", details={"field": "mode"})
        opening: dict[str, Any] = {"kind": "observe", "machine": machine}
        if mode == "operator":
            check_screen(cols, rows)
            opening = {"kind": "session", "machine": machine, "cols": cols, "rows": rows, "term": term}
            if argv is not None:
                opening["argv"] = checked_argv(argv, shell=False)
            if take_over:
                opening["take_over"] = True
        self.mode = mode
        self._stream = Stream(dialer, opening, on_notice=on_notice)

    @property
    def session_id(self) -> str:
        """Return the session's id (``ses_…``)."""
        return str(self._stream.opened.get("stream_id", ""))

    @property
    def machine_id(self) -> str:
        """Return the machine's id (``mch_…``)."""
        return str(self._stream.opened.get("machine", ""))

    @property
    def operator(self) -> str | None:
        """Return who operates the session that is watched; ``None`` for one's own."""
        label = self._stream.opened.get("observing")
        return None if label is None else str(label)

    @property
    def exit(self) -> Exit | None:
        """Return how the shell ended; ``None`` before that, and for an observer."""
        return None if self._stream.exit is None else exit_of(self._stream.exit)

    async def __aenter__(self) -> Self:
        """Attach; returns when the shell runs, raises why it does not (``SessionConflict``, ``GateDenied`` …)."""
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._stream.read()
        if piece is None:
            raise StopAsyncIteration
        return bytes(piece.data)

    async def send(self, data: bytes | str) -> None:
        """Type; texts travel as UTF-8. What is typed while the connection is away arrives once it is back."""
        await self._stream.send(data.encode() if isinstance(data, str) else data)

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the terminal its new size."""
        check_screen(cols, rows)
        await self._stream.resize(cols, rows)

    async def signal(self, name: str) -> None:
        """Send the foreground processes a signal, such as ``INT``; typing Ctrl-C does the same."""
        await self._stream.signal(name)


def check_screen(cols: int, rows: int) -> None:
    """Refuse a size that no terminal has."""
    if not (1 <= cols <= LIMITS.screen and 1 <= rows <= LIMITS.screen):
        raise InvalidRequest(f"a terminal has 1 to {LIMITS.screen} columns and rows", details={"field": "cols"})
