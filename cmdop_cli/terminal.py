"""The person's own terminal while a session runs in it: raw mode, escapes, resizes; restored whatever happens.

What comes from the far side is shown as it is: that is what a terminal is for. Nothing else of it is trusted.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto

from cmdop_cli.readiness import READING, noticed

HELP = b"\r\n~.  disconnect    ~~  send ~    ~?  this help    Ctrl-D ends the shell\r\n"


class Escape(Enum):
    """What the person asked of the program rather than of the far side."""

    DISCONNECT = auto()
    HELP = auto()


class Escapes:
    """Finds ``~.`` and its like at the beginning of a line, as ssh does; everything else passes."""

    def __init__(self) -> None:
        self._at_line_start = True
        self._after_tilde = False

    def feed(self, data: bytes) -> tuple[bytes, list[Escape]]:
        """Return what is to be sent on, and what was asked for."""
        out = bytearray()
        asked: list[Escape] = []
        for byte in data:
            if self._after_tilde:
                self._after_tilde = False
                if byte == ord("."):
                    asked.append(Escape.DISCONNECT)
                    break
                if byte == ord("?"):
                    asked.append(Escape.HELP)
                    continue
                if byte != ord("~"):
                    out.append(ord("~"))
                self._at_line_start = False
            elif self._at_line_start and byte == ord("~"):
                self._after_tilde = True
                continue
            out.append(byte)
            self._at_line_start = byte in b"\r\n"
        return bytes(out), asked


def size() -> tuple[int, int]:
    """Return columns and rows of the terminal on standard output, 80 × 24 when it cannot be told."""
    with contextlib.suppress(OSError):
        found = os.get_terminal_size(sys.stdout.fileno())
        if found.columns > 0 and found.lines > 0:
            return found.columns, found.lines
    return 80, 24


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Put the terminal in raw mode for the length of the block, and back exactly as it was after it.

    Also while we are stopped (SIGTSTP from elsewhere: what is typed goes to the far side): the shell has it then.
    """
    before = termios.tcgetattr(descriptor)

    def enter() -> None:
        with contextlib.suppress(termios.error):  # the terminal has gone, and its state with it
            tty.setraw(descriptor, termios.TCSADRAIN)

    def leave() -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def stop() -> None:
        leave()
        signal.raise_signal(signal.SIGSTOP)

    def go_on() -> None:
        enter()
        signal.raise_signal(signal.SIGWINCH)  # who is not in the foreground is not told of a new size

    try:
        enter()
        with _on(signal.SIGTSTP, stop), _on(signal.SIGCONT, go_on):
            yield
    finally:
        leave()


@contextmanager
def _on(number: signal.Signals, act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` in the event loop whenever a signal comes."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


@contextmanager
def keyboard(descriptor: int, take: Callable[[bytes], None]) -> Iterator[None]:
    """Call ``take`` in the event loop with what is typed, with ``b""`` when the terminal is gone. Never blocks it."""

    def readable() -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:  # EIO: hung up
            data = b""
        if not data:
            stop()
        take(data)

    with noticed(descriptor, READING, readable) as stop:
        yield


def on_resize(changed: Callable[[], None]) -> AbstractContextManager[None]:
    """Call ``changed`` in the event loop whenever the terminal's size changes."""
    return _on(signal.SIGWINCH, changed)
