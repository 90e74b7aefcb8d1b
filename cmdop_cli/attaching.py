"""The person's terminal joined to a session: as its operator, or watching it (D-26).

The terminal is put back however it ends, and nothing that is typed waits for the connection: ``~.`` always works.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from cmdop_cli import terminal
from cmdop_cli.descriptors import Sink
from cmdop_cli.safe_text import safe
from cmdop_cli.screen import Screen
from cmdop_cli.terminal import Escape, Escapes
from cmdop_sdk.attached import Terminal
from cmdop_sdk.dialing import Dialer
from cmdop_sdk.stream_state import Notice
from cmdop_wire.exits import Exit
from cmdop_wire.frames import LIMITS

Opened = Callable[[Terminal], None]
"""Called once the far side runs, before the terminal is touched."""

_LEAVE_WATCHING = frozenset(b"\x03q")  # Ctrl-C and q, beside ``~.``


def is_possible() -> bool:
    """Tell whether there is a terminal to type at and to look at."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def operate(dialer: Dialer, machine: str, *, take_over: bool, opened: Opened) -> Exit | None:
    """Be the operator of a session on ``machine``; return how the shell ended, ``None`` if the person left before."""
    cols, rows = size()
    term = os.environ.get("TERM", "")
    session = Terminal(dialer, machine, cols=cols, rows=rows, term=term, take_over=take_over, on_notice=_say)
    async with session:
        opened(session)
        with _borrowed() as screen:
            await _first_of(_show(session, screen), _type(session), _follow_size(session, (cols, rows)))
        return session.exit


async def observe(dialer: Dialer, machine: str, *, opened: Opened) -> bool:
    """Show the session on ``machine`` until it ends or the person leaves; tell whether it ended. Sends nothing."""
    async with Terminal(dialer, machine, mode="observer", on_notice=_say) as session:
        opened(session)
        if not is_possible():
            await _show(session, Screen())
            return True
        with _borrowed() as screen:
            return await _first_of(_show(session, screen), _watch()) == 0


def size() -> tuple[int, int]:
    """Return columns and rows of our terminal, as far as a far one can have them."""
    cols, rows = terminal.size()
    return min(cols, LIMITS.screen), min(rows, LIMITS.screen)


async def _show(session: Terminal, screen: Screen) -> None:
    """Show what the far side says until it ends."""
    sink = Sink(1)
    async for data in session:
        screen.show(data)
        await sink.write(data)


async def _type(session: Terminal) -> None:
    """Send what is typed until the person disconnects or the terminal is gone."""
    escapes, ready, has_left = Escapes(), asyncio.Queue[bytes](), asyncio.Event()

    def take(data: bytes) -> None:
        out, asked = escapes.feed(data)
        if out:
            ready.put_nowait(out)
        if Escape.HELP in asked:
            _tell(terminal.HELP)
        if not data or Escape.DISCONNECT in asked:
            has_left.set()

    with terminal.keyboard(0, take):
        sending = asyncio.create_task(_send(session, ready))
        try:
            await has_left.wait()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(session: Terminal, ready: asyncio.Queue[bytes]) -> None:
    while True:
        await session.send(await ready.get())


async def _watch() -> None:
    """Wait until a watcher leaves; everything else that they type goes nowhere."""
    escapes, has_left = Escapes(), asyncio.Event()

    def take(data: bytes) -> None:
        if not data or Escape.DISCONNECT in escapes.feed(data)[1] or _LEAVE_WATCHING & set(data):
            has_left.set()

    with terminal.keyboard(0, take):
        await has_left.wait()


async def _follow_size(session: Terminal, told: tuple[int, int]) -> None:
    """Tell the far terminal every new size of ours, also one from before we looked."""
    changed = asyncio.Event()
    with terminal.on_resize(changed.set):
        while True:
            if size() != told:
                told = size()
                await session.resize(*told)
            await changed.wait()
            changed.clear()


async def _first_of(*work: Coroutine[Any, Any, None]) -> int:
    """Run all of ``work`` until one has ended; return which, or raise what it raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = next(place for place, task in enumerate(tasks) if task.done())
        tasks[ended].result()
        return ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _borrowed() -> Iterator[Screen]:
    """Put our terminal in raw mode, and afterwards back, with whatever a far program has switched on."""
    screen = Screen()
    with terminal.raw(0):
        try:
            yield screen
        finally:
            _tell(screen.undo() + (b"" if screen.is_at_line_start else b"\r\n"), 1)


def _say(notice: Notice) -> None:
    _tell(f"\r\n{safe(notice.message)}\r\n".encode())


def _tell(data: bytes, descriptor: int = 2) -> None:
    with contextlib.suppress(OSError):  # nobody is there to read it
        os.write(descriptor, data)
