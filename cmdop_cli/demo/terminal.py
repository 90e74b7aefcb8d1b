"""A process on a pseudo-terminal of 80 columns, and what it has printed so far."""

import os
import re
import subprocess
import threading
import time

COLUMNS, LINES = 80, 50
PATIENCE = 60.0  # seconds


class Ended(Exception):
    """The process ended, or stayed silent, before it printed what was waited for."""


def settled(text: str) -> str:
    """Return what stays on a screen of a text that rewrites its lines, as a spinner does."""
    return "\n".join(line.rpartition("\r")[2].replace("\x1b[K", "") for line in text.split("\n"))


class Terminal:
    """Starts ``argv`` on a new terminal; ``close`` must follow."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            argv, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.text = ""
        self._finishing = threading.Lock()
        self._status: int | None = None

    def _read(self, deadline: float) -> bool:
        import select

        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise Ended(f"silent for {PATIENCE:.0f} s")
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # EIO: the last holder of the terminal has gone
            return False
        self.text += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)

    def read_until(self, pattern: re.Pattern[str], since: int = 0, end: str = "\n") -> str:
        """Read until a line that holds ``pattern``, and ``end`` behind it, was printed after ``since``; return both."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = pattern.search(self.text, since)
            if found and end in self.text[found.end() :]:
                return found.group()
            if not self._read(deadline):
                raise Ended(f"ended with {self._process.wait()}")

    def write(self, text: str) -> None:
        """Type ``text``."""
        os.write(self._master, text.encode())

    def finish(self) -> int:
        """Read to the end and return the exit status; more than one may wait for it."""
        with self._finishing:
            if self._status is None:
                deadline = time.monotonic() + PATIENCE
                while self._read(deadline):
                    pass
                self._status = self._process.wait(timeout=PATIENCE)
            return self._status

    def close(self) -> None:
        """Let go of the terminal; a process that still runs is ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
