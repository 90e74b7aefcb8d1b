"""Runs the command line as people and scripts do: as a process with pipes, on a terminal, or inside this process."""

import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pyte

COMMAND = Path(sys.executable).parent / "cmdop"
WIDTH, HEIGHT = 100, 40
SECONDS = 60.0
T = TypeVar("T")


def eventually(read: Callable[[], T], is_so: Callable[[T], object], seconds: float = SECONDS) -> T:
    """Return the first thing read that is so: what is written down a moment after the person was told."""
    deadline = time.monotonic() + seconds
    while not is_so(found := read()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Ran:
    """What a finished command left: exit status and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return stdout as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Return stderr as the one JSON object that ``--json`` promises."""
        return json.loads(self.err)

    def ok(self) -> "Ran":
        """Return this, or fail showing both streams when the status is not 0."""
        assert self.code == 0, f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        return self


class Cmdop:
    """``cmdop("workspace", "list")`` runs the real process in an isolated home; ``.here`` runs it in this process."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ = dict(environ)
        self.folder = folder

    def with_(self, **environ: str) -> "Cmdop":
        """Return one with further environment variables, for example another ``CMDOP_CONFIG_DIR``."""
        return Cmdop(self.environ | environ, self.folder)

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Start it and do not wait; stdout and stderr are pipes, stdin is empty unless given."""
        defaults: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": self.environ,
            "cwd": self.folder,
        }
        return subprocess.Popen([str(COMMAND), *arguments], **(defaults | options))

    def __call__(self, *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ran:
        """Run it to its end."""
        process = self.start(*arguments, stdin=subprocess.PIPE, env=self.environ | dict(environ or {}))
        with process:
            try:
                out, err = process.communicate(stdin, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ran(process.returncode, out, err)

    def here(self, *arguments: str, stdin: str = "") -> Ran:
        """Run it inside this process: ten times as fast, for what needs no process of its own."""
        from cmdop_cli.__main__ import run

        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        code: Any = 0
        before = Path.cwd()
        with (
            mock.patch.dict(os.environ, self.environ, clear=True),
            mock.patch.multiple(
                sys,
                argv=["cmdop", *arguments],
                stdout=out,
                stderr=err,
                stdin=io.TextIOWrapper(io.BytesIO(stdin.encode())),
            ),
        ):
            os.chdir(self.folder)
            try:
                code = run()
            except SystemExit as leaving:
                code = leaving.code
            finally:
                os.chdir(before)
        assert isinstance(out.buffer, io.BytesIO)
        assert isinstance(err.buffer, io.BytesIO)
        return Ran(int(code or 0), out.buffer.getvalue().decode(), err.buffer.getvalue().decode())

    def on_terminal(self, *arguments: str, width: int = WIDTH, height: int = HEIGHT) -> "Terminal":
        """Start it on a terminal of its own."""
        return Terminal([str(COMMAND), *arguments], self.environ, self.folder, width, height)

    def sign_in(self, url: str, token: str, *arguments: str) -> Ran:
        """Run ``cmdop login --token -`` against ``url`` with a one-time token."""
        return self("login", "--server", url, "--token", "-", *arguments, stdin=token + "\n").ok()


class Screen(pyte.Screen):
    """pyte's screen, and the second one that full-screen programs draw on and leave again (DECSET 1049)."""

    def set_mode(self, *modes: int, **how: Any) -> None:
        """Switch modes on; to enter the second screen keeps the first."""
        super().set_mode(*modes, **how)
        if how.get("private") and 1049 in modes:
            self._first = deepcopy((self.buffer, self.cursor))
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **how: Any) -> None:
        """Switch modes off; to leave the second screen shows the first again."""
        super().reset_mode(*modes, **how)
        if how.get("private") and 1049 in modes:
            self.buffer, self.cursor = self._first
            self.dirty.update(range(self.lines))

    def has(self, private_mode: int) -> bool:
        """Tell whether a private mode is on."""
        return private_mode << 5 in self.mode  # how pyte keeps them apart from the others


class Terminal:
    """A process on a pseudo-terminal with a screen that shows what a person would see."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], folder: Path, width: int = WIDTH, height: int = HEIGHT
    ) -> None:
        self.screen = Screen(width, height)
        self.written = b""  # everything it wrote, byte for byte
        self._stream = pyte.ByteStream(self.screen)
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environ, "TERM": "xterm-256color", "COLUMNS": str(width), "LINES": str(height)},
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """Return what the screen shows, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def _read(self, deadline: float) -> bool:
        """Take in what arrives next; return whether the terminal is still open."""
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"nothing more within the time; the screen shows\n{self.text}")
        try:
            chunk = os.read(self._terminal, 65536)
        except OSError:  # Linux answers EIO once the other side is closed
            return False
        self.written += chunk
        self._stream.feed(chunk)
        return bool(chunk)

    def until(self, shown: Callable[[str], bool] | str, seconds: float = SECONDS) -> str:
        """Wait until the screen shows a text, or until ``shown(text)``; return what it shows."""
        wanted = shown if callable(shown) else lambda text: shown in text
        deadline = time.monotonic() + seconds
        while not wanted(self.text):
            if not self._read(deadline):
                raise AssertionError(f"it ended and never showed {shown!r}; the screen shows\n{self.text}")
        return self.text

    def type(self, text: str) -> None:
        """Type ``text``; end a line with ``\\r`` as the Enter key does."""
        os.write(self._terminal, text.encode())

    def end(self, seconds: float = SECONDS) -> int:
        """Wait for the process to end; return its exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        """Kill the process if it still runs and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with suppress(OSError):
            os.close(self._terminal)
