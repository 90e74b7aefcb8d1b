"""What the demo happens on: a folder, a control plane in it, and people and machines with a terminal each."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from cmdop_cli.demo.browser import Browser
from cmdop_cli.demo.terminal import COLUMNS, Ended, Terminal, settled

PASSWORD = "correct horse battery staple"  # noqa: S105 - of a person who exists for a minute
CODE = re.compile(r"https?://\S+user_code=\S+")


def say(text: str = "") -> None:
    """Show a line or several."""
    sys.stdout.write(settled(text) + "\n")
    sys.stdout.flush()


def fail(command: str, happened: str, shown: str) -> NoReturn:
    """Show what a command said and end the demo: it went otherwise than told."""
    say(shown)
    say(f"demo: `{command}` {happened}")
    raise SystemExit(1)


class Run:
    """One command on a terminal of its own, begun; it goes on by itself until ``shows`` is called."""

    def __init__(self, prompt: str, line: str, argv: list[str], environment: dict[str, str]) -> None:
        self.terminal = Terminal(argv, environment)
        self._prompt = prompt
        self._line = line
        self._shown = 0
        self._is_introduced = False

    def _introduce(self) -> None:
        if not self._is_introduced:
            self._is_introduced = True
            say(f"\n{self._prompt}")

    def _show(self, end: int | None = None) -> None:
        text = self.terminal.text[self._shown : end].strip("\n")
        self._shown = len(self.terminal.text) if end is None else end
        if text.strip():
            say(text.rstrip())

    def shows(self, expect: int = 0) -> str:
        """Show the command as typed and its output to the end; return what it printed."""
        self._introduce()
        try:
            status = self.terminal.finish()
        except Ended as ended:
            fail(self._line, str(ended), self.terminal.text)
        if status != expect:
            fail(self._line, f"ended with {status} where {expect} was expected", self.terminal.text)
        self._show()
        self.terminal.close()
        return self.terminal.text

    def shows_until(self, pattern: str, end: str = "\n") -> str:
        """Show the command and its output up to the line that has ``pattern``; it runs on. Return the match."""
        self._introduce()
        try:
            found = self.terminal.read_until(re.compile(pattern), self._shown, end)
        except Ended as ended:
            fail(self._line, f"{ended} without printing {pattern}", self.terminal.text)
        self._show()
        return found

    def shows_no_further(self, pattern: str) -> None:
        """Show the command and what it printed up to ``pattern``, which is there already."""
        self._introduce()
        found = re.compile(pattern).search(self.terminal.text)
        self._show(found.end() if found else None)

    def until(self, pattern: str, end: str = "\n") -> str:
        """Wait, without showing anything, for a line that has ``pattern``; return the match."""
        try:
            return self.terminal.read_until(re.compile(pattern), 0, end)
        except Ended as ended:
            fail(self._line, f"{ended} without printing {pattern}", self.terminal.text)

    def ended(self) -> None:
        """Wait, without showing anything, for the end."""
        with contextlib.suppress(Ended):  # which ``shows`` tells
            self.terminal.finish()

    def types(self, keys: str) -> None:
        """Type at the command while it runs."""
        self.terminal.write(keys)


class Capture:
    """One command whose standard output becomes a variable; it goes on by itself until ``shows`` is called."""

    def __init__(self, prompt: str, line: str, environment: dict[str, str]) -> None:
        self._prompt = prompt
        self._line = line
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            argv(line), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @cached_property
    def value(self) -> str:
        """What it prints, when it has ended."""
        out, self._said = self._process.communicate()
        if self._process.returncode:
            fail(self._line, f"ended with {self._process.returncode}", self._said)
        return out.strip()

    def shows(self) -> str:
        """Show the command and what it said on standard error; return what it printed."""
        value = self.value
        say(f"\n{self._prompt}")
        if self._said.strip():
            say(self._said.rstrip())
        return value


class Person:
    """Someone at a terminal: a private configuration directory and an environment without surprises."""

    def __init__(self, stage: "Stage", name: str) -> None:
        self.stage = stage
        self.name = name
        self.home = stage.folder / name
        self.home.mkdir(mode=0o700)

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of this person's shell: nothing of the caller's ``CMDOP_*`` reaches it."""
        return {
            **ours(),
            "HOME": str(self.home),  # where a shell leaves its history
            "CMDOP_CONFIG_DIR": str(self.home),
            "CMDOP_SERVER_URL": self.stage.url,
            "CMDOP_CREDENTIAL_STORE": "file",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **extra,
        }

    def begins(self, line: str, *, shown: str = "", **environment: str) -> Run:
        """Start ``line`` on a terminal of its own. ``shown`` replaces it where a variable stands for a secret."""
        run = Run(f"{self.name}$ {shown or line}", line, argv(line), self.environment(**environment))
        return self.stage.started(run)

    def types(self, line: str) -> str:
        """Run ``line``, show it and its output as they are, and return the output."""
        return self.begins(line).shows()

    def captures(self, line: str, variable: str) -> "Capture":
        """Begin ``variable=$(line)``: standard output is kept, standard error is shown, as a shell does it."""
        return Capture(f"{self.name}$ {variable}=$({line})", line, self.environment())

    def asks_to_sign_in(self) -> Run:
        """Begin the device flow: ``cmdop login`` on this terminal."""
        return self.begins("cmdop login --no-browser")

    def approves(self, login: Run, email: str, *, after: Run) -> "Aside":
        """Begin to approve ``login`` in a browser over there; the account is there ``after`` that has ended."""

        def approve() -> None:
            browser = Browser()
            browser.open(login.until(CODE.pattern))
            after.ended()
            browser.submit(browser.form("login"), login=email, password=PASSWORD)
            browser.submit(browser.form("user_code"))  # look who asks; nothing is approved by opening an address
            browser.submit(browser.form("reach"), decision="approve", reach="all")

        return Aside(approve, login, f"\n  (in a browser: {email} signs in and approves all my workspaces)\n")


class Aside:
    """A sign-in that is approved beside everything else, until ``shows`` is called."""

    def __init__(self, approve: Callable[[], None], login: Run, told: str) -> None:
        self._login = login
        self._told = told
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(approve,), daemon=True)
        self._thread.start()

    def _run(self, approve: Callable[[], None]) -> None:
        try:
            approve()
        except BaseException as problem:
            self._problem = problem

    def ends(self) -> None:
        """Wait until somebody is signed in."""
        self._thread.join()
        if self._problem is not None:
            raise self._problem
        self._login.ended()

    def shows(self) -> None:
        """Show the command, what happened in the browser, and what the terminal says of it."""
        self.ends()
        self._login.shows_no_further(r"within \d+ minutes")
        say(self._told)
        self._login.shows()


def ours() -> dict[str, str]:
    """Return the caller's environment without its ``CMDOP_*``, for a terminal of 80 columns."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CMDOP_") and key != "CI"}
    return {**kept, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}


def free_port() -> int:
    """Return a port of loopback that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def argv(line: str) -> list[str]:
    """Return the words of ``line`` with ``cmdop`` replaced by this very installation."""
    return [sys.executable, "-m", "cmdop_cli", *shlex.split(line)[1:]]


class Stage:
    """The folder, the server and everything that runs; closing it ends all that was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self.password_file.chmod(0o600)
        self._runs: list[Run] = []
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._environment = {
            **ours(),
            "CMDOP_DATA_DIR": str(folder / "server"),
            "CMDOP_DEVICE_INTERVAL": "0",  # nobody watches a demo wait
            "CMDOP_PORT": str(port),  # for what else is typed there, before the server can be asked
        }
        say(f"$ cmdop server start --port {port}        # a control plane of our own, on a free port")
        self._log = (folder / "server.log").open("wb")
        self._server = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-m", "cmdop_server", "start", "--port", str(port), "--ready-json"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def is_ready(self) -> None:
        """Wait until the server serves, and say so."""
        assert self._server.stdout is not None
        if not self._server.stdout.readline():
            log = (self.folder / "server.log").read_text()
            fail("cmdop server start", f"ended with {self._server.wait()}", log)
        say(f"ready at {self.url}")

    def started(self, run: Run) -> Run:
        """Remember what must have ended when the curtain falls."""
        self._runs.append(run)
        return run

    def on_the_host(self, line: str) -> Run:
        """Start an operator's command where the server runs."""
        prompt = f"operator$ {line.replace(str(self.folder), '.')}"
        return self.started(Run(prompt, line, argv(line), self._environment))

    def close(self) -> None:
        """End what still runs, and the server as an operator would, and wait for it."""
        for run in self._runs:
            with contextlib.suppress(OSError):
                run.terminal.close()
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def read(self) -> float:
        """Return how many seconds have passed."""
        return time.monotonic() - self._began
