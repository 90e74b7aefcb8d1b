"""Terminals attached to machines, for the tests of sessions: a prompt that can be waited for, typing, resizing."""

import fcntl
import struct
import termios
from pathlib import Path

from tests.terminal import Terminal

PROMPT = "ready> "
SET_PROMPT = f"PS1='{PROMPT}'; clear\r"


def settled(terminal: Terminal) -> Terminal:
    """Wait for the shell, and give it a prompt."""
    terminal.until("Ctrl-D ends the shell")
    terminal.type(SET_PROMPT)
    terminal.until(lambda text: text.strip() == PROMPT.strip())
    return terminal


def run(terminal: Terminal, command: str, shown: str) -> str:
    """Type a command and wait for what it shows, which must not be in the command itself."""
    assert shown not in command
    terminal.type(f"{command}\r")
    return terminal.until(shown)


def resize(terminal: Terminal, cols: int, rows: int) -> None:
    """Make the terminal another size, as dragging its corner does."""
    terminal.screen.resize(rows, cols)
    fcntl.ioctl(terminal._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
