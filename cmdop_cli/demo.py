"""The demo's stage: a throw-away control plane, two people's machines, and every command run for real.

Each command runs as its own process on its own terminal (80 columns), so what is shown is what a person gets.
The script that is played lives in ``play``; nothing in it is pre-recorded.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cmdop_cli.browser import Browser

COLUMNS, LINES = 80, 50
PASSWORD = "correct horse battery staple"  # noqa: S105 - of a person who exists for a minute
_CODE = re.compile(r"https?://\S+user_code=\S+")


def run_demo(*, keep: bool) -> None:
    """Play the demo; exits 1 with the failing command's own words if anything goes otherwise than told."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="cmdop-demo-"))
    try:
        with contextlib.closing(Stage(folder)) as stage:
            play(stage)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    rest = f"Kept in {folder}." if keep else "Nothing is left behind."
    _say(f"\nDone in {time.monotonic() - started:.0f} s. {rest}")
    _say("\nTo keep a control plane running:")
    _say("  cmdop server start")
    _say("  cmdop server bootstrap --email you@example.com --token-only")
    _say("  cmdop login --token -")


def settled(text: str) -> str:
    """Return what stays on a screen of a text that rewrites its lines, as a spinner does."""
    return "\n".join(line.rpartition("\r")[2].replace("\x1b[K", "") for line in text.split("\n"))


def _say(text: str = "") -> None:
    sys.stdout.write(settled(text) + "\n")
    sys.stdout.flush()


def _fail(command: str, status: int, expected: int, shown: str) -> NoReturn:
    _say(shown)
    _say(f"demo: `{command}` ended with {status} where {expected} was expected")
    raise SystemExit(1)


class Person:
    """Someone at a terminal of their own: a private configuration directory and an environment without surprises."""

    def __init__(self, stage: "Stage", name: str) -> None:
        self.stage = stage
        self.name = name
        self.home = stage.folder / name
        self.home.mkdir(mode=0o700)

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of this person's shell: nothing of the caller's ``CMDOP_*`` reaches it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CMDOP_") and key != "CI"}
        return {
            **kept,
            "CMDOP_CONFIG_DIR": str(self.home),
            "CMDOP_SERVER_URL": self.stage.url,
            "CMDOP_CREDENTIAL_STORE": "file",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **extra,
        }

    def types(self, line: str, *, expect: int = 0, shown: str = "", **environment: str) -> str:
        """Run ``line`` on a terminal, show it and its output as they are, and return the output.

        ``shown`` replaces the line on the screen where a variable stands for a secret.
        """
        self.prompt(shown or line)
        status, output = run_on_terminal(self.stage.argv(line), self.environment(**environment))
        if status != expect:
            _fail(line, status, expected=expect, shown=output)
        _say(output.rstrip())
        return output

    def captures(self, line: str, variable: str) -> str:
        """Run ``variable=$(line)``: standard output is kept, standard error is shown, as a shell does it."""
        self.prompt(f"{variable}=$({line})")
        done = subprocess.run(  # noqa: S603 - our own command line
            self.stage.argv(line), env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            _fail(line, done.returncode, expected=0, shown=done.stderr)
        if done.stderr.strip():
            _say(done.stderr.rstrip())
        return done.stdout.strip()

    def prompt(self, line: str) -> None:
        """Show a prompt and what is typed at it."""
        _say(f"\n{self.name}$ {line}")

    def signs_in(self, email: str, *, everywhere: bool) -> None:
        """Run the device flow: ``cmdop login`` on the terminal here, approval in a browser over there."""
        line = "cmdop login --no-browser"
        self.prompt(line)
        with open_terminal(self.stage.argv(line), self.environment()) as terminal:
            address = terminal.read_until(_CODE)
            _say(terminal.text.rstrip())
            _say(f"\n  (in a browser: {approve(address, email, everywhere=everywhere)})\n")
            before = len(terminal.text)
            status = terminal.finish()
        if status:
            _fail(line, status, expected=0, shown=terminal.text)
        _say(terminal.text[before:].strip())


def approve(address: str, email: str, *, everywhere: bool) -> str:
    """Open the address that ``cmdop login`` printed, sign in, approve, and return what was done in words."""
    browser = Browser()
    browser.open(address)
    browser.submit(browser.form("login"), login=email, password=PASSWORD)
    browser.submit(browser.form("user_code"))  # look who asks; nothing is approved by opening an address
    form = browser.form("reach")
    answers = {"reach": "all"} if everywhere else {}
    browser.submit(form, decision="approve", **answers)
    return f"{email} signs in and approves {'all my workspaces' if everywhere else 'this workspace only'}"


class Stage:
    """The folder, the server and the people; closing it ends everything that was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self.password_file.chmod(0o600)
        self.url = ""
        _say("$ cmdop server start --port 0        # a control plane of our own, on a free port")
        self._server_environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CMDOP_")},
            "CMDOP_DATA_DIR": str(folder / "server"),
            "CMDOP_DEVICE_INTERVAL": "1",  # nobody watches a demo wait
        }
        self._log = (folder / "server.log").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "cmdop_server", "start", "--port", "0", "--ready-json"],
            env=self._server_environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._server.stdout is not None
        ready = self._server.stdout.readline()
        if not ready:
            self._server.wait()
            _fail("cmdop server start", self._server.returncode, 0, (folder / "server.log").read_text())
        self.url = json.loads(ready)["url"]
        _say(f"ready at {self.url}")

    def argv(self, line: str) -> list[str]:
        """Return the words of ``line`` with ``cmdop`` replaced by this very installation."""
        import shlex

        words = shlex.split(line)
        return [sys.executable, "-m", "cmdop_cli", *words[1:]]

    def on_the_host(self, line: str) -> None:
        """Run an operator's command where the server runs, and show it."""
        _say(f"\noperator$ {line.replace(str(self.folder), '.')}")
        status, output = run_on_terminal(self.argv(line), {**self._server_environment, "COLUMNS": str(COLUMNS)})
        if status:
            _fail(line, status, expected=0, shown=output)
        _say(output.rstrip())

    def close(self) -> None:
        """End the server as an operator would, and wait for it."""
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()


class Terminal:
    """A process on a pseudo-terminal of 80 columns, and what it has printed so far."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._argv = argv
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            argv, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def _read(self) -> bool:
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # EIO: the last holder of the terminal has gone
            return False
        self.text += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)

    def read_until(self, pattern: re.Pattern[str], since: int = 0) -> str:
        """Read until a whole line that holds ``pattern`` was printed at or after ``since``; return the match."""
        while True:
            found = pattern.search(self.text, since)
            if found and "\n" in self.text[found.end() :]:
                return found.group()
            if not self._read():
                _fail(" ".join(self._argv), self._process.wait(), 0, self.text)

    def write(self, text: str) -> None:
        """Type ``text``."""
        os.write(self._master, text.encode())

    def finish(self) -> int:
        """Read to the end and return the exit status."""
        while self._read():
            pass
        return self._process.wait(timeout=60)

    def close(self) -> None:
        """Let go of the terminal; a process that still runs is ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


@contextlib.contextmanager
def open_terminal(argv: list[str], environment: dict[str, str]) -> Iterator[Terminal]:
    """Run ``argv`` on a new terminal for the length of the block."""
    with contextlib.closing(Terminal(argv, environment)) as terminal:
        yield terminal


def run_on_terminal(argv: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run ``argv`` on a new terminal and return its exit status and everything it printed."""
    with open_terminal(argv, environment) as terminal:
        return terminal.finish(), terminal.text


def play(stage: Stage) -> None:
    """The play: two tenants, a switch, keys, a pipeline, a refusal, the trail."""
    password = f"--password-file {stage.password_file}"
    stage.on_the_host(f"cmdop server bootstrap --email alice@example.com {password}")
    alice = Person(stage, "alice")
    alice.signs_in("alice@example.com", everywhere=True)

    _say("\n# Two tenants. Nothing crosses from one to the other.")
    alice.types('cmdop workspace create "Acme Corp" --slug acme')
    alice.types('cmdop workspace create "Globex" --slug globex')
    alice.types("cmdop workspace use acme")
    alice.types("cmdop workspace list")
    alice.types("cmdop workspace switch globex")
    alice.types("cmdop workspace use -")
    alice.types("cmdop workspace current --why")

    _say("\n# A key for a laptop, and one for the pipeline that outlives whoever made it.")
    alice.types('cmdop auth create-key --name "my-laptop"')
    scopes = "--scope machines:read --scope members:read"
    key = alice.captures(f"cmdop auth create-key --workspace --name ci-cd {scopes}", "KEY")
    alice.types("cmdop auth list-keys")

    _say("\n# The pipeline: no sign-in, no prompt, the key decides the workspace.")
    pipeline = Person(stage, "ci")
    pipeline.types("cmdop workspace members", shown="CMDOP_API_KEY=$KEY cmdop workspace members", CMDOP_API_KEY=key)
    pipeline.types(
        "cmdop workspace members --workspace=globex",
        shown="CMDOP_API_KEY=$KEY cmdop workspace members --workspace=globex",
        expect=2,
        CMDOP_API_KEY=key,
    )

    _say("\n# A guest may look, and is told why not more.")
    stage.on_the_host(f"cmdop server user create bob@example.com --workspace acme --role guest {password}")
    bob = Person(stage, "bob")
    bob.signs_in("bob@example.com", everywhere=True)
    bob.types("cmdop workspace members --workspace acme")
    bob.types("cmdop auth create-key --name mine --workspace acme", expect=5)

    _say("\n# Everything was written down, also what was refused.")
    alice.types("cmdop audit list --days 30")
    alice.types("cmdop audit head")
