"""An operator at the server's host: run ``python -m cmdop_server …`` to its end, or start a server and keep it."""

import base64
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import STOP_SECONDS, bare_environment, read_line, stop

SCHEMA = "cmdop.server-"
PASSWORD = "correct horse battery staple"


class Host:
    """One machine on which an operator types; its data directory does not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "server"
        self.environ = bare_environment(folder) | {
            "CMDOP_DATA_DIR": str(self.data_dir),
            "CMDOP_LOG_FORMAT": "json",
            "CMDOP_PORT": "0",  # others on this machine may have the usual one
        }

    def run(self, *words: str, stdin: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cmdop_server", *words],
            env=self.environ | settings,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS * 2,
        )

    def json(self, *words: str, stdin: str = "", **settings: str) -> dict[str, Any]:
        """Run one command with ``--json``; return its answer, which must be one line, and its success."""
        done = self.run(*words, "--json", stdin=stdin, **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["schema"].startswith(SCHEMA)
        return answer

    def refusal(self, *words: str, **settings: str) -> str:
        """Run one command that must be refused: exit 78, nothing on stdout, a setting and a fix on stderr."""
        done = self.run(*words, **settings)
        assert (done.returncode, done.stdout) == (78, ""), done.stderr
        assert "refused: " in done.stderr
        assert "\nfix: " in done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    @contextmanager
    def serving(self, *words: str, umask: int = 0o022, **settings: str) -> Iterator["Running"]:
        """Keep a server running for the length of the block."""
        log = self.folder / f"log-{secrets.token_hex(4)}"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "cmdop_server", "start", "--port", "0", "--ready-json", *words],
                env=self.environ | settings,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                umask=umask,
            )
        try:
            assert process.stdout is not None
            try:
                ready = json.loads(read_line(process.stdout, process))
            except (EOFError, TimeoutError) as failure:
                raise AssertionError(f"{failure}\n{log.read_text()[-3000:]}") from None
            yield Running(process, ready, log)
        finally:
            stop(process)


class Running:
    """A server and what it said when it was ready."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, Any], log: Path) -> None:
        self.process = process
        self.ready = ready
        self.url: str = ready["url"]
        self.log = log

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def events(self) -> list[dict[str, Any]]:
        """Return the log, each line of which must be one JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def fresh_secret() -> str:
    """Return what a good secret looks like."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def modes(folder: Path) -> dict[str, str]:
    """Return path → octal permissions of everything in a folder, itself as ``.``."""
    found = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): oct(path.lstat().st_mode & 0o777)[2:] for path in found}


def trusting(certificate: Path) -> ssl.SSLContext:
    """Return a context that believes this certificate and checks the name in it."""
    return ssl.create_default_context(cafile=str(certificate))


def foreign_dir(folder: Path) -> Path:
    """Return a directory that belongs to another user: made so by root, found by anybody else."""
    if os.geteuid() != 0:
        return Path("/usr")
    made = folder / "foreign"
    made.mkdir(mode=0o700)
    os.chown(made, 65_534, 65_534)
    return made


@pytest.fixture(scope="session")
def used_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with secrets and a database, as a server leaves it; for copying only."""
    used = Host(tmp_path_factory.mktemp("used"))
    used.json("migrate")
    return used.data_dir


def redeem(url: str, token: str, **wishes: str) -> dict[str, Any]:
    """Exchange a one-time sign-in token for a pair."""
    form = {"grant_type": "sign_in_token", "token": token, **wishes}
    answer: dict[str, Any] = httpx.post(f"{url}/api/v1/auth/token", json=form).raise_for_status().json()
    return answer


def api(url: str, pair: dict[str, Any]) -> httpx.Client:
    """Return the API as the owner of a token pair sees it."""
    return httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {pair['access_token']}"})


@dataclass(frozen=True, slots=True)
class Place:
    """A host, the server on it, and what ``bootstrap`` said there."""

    host: Host
    server: Running
    bootstrapped: dict[str, Any]

    def sign_in(self, **wishes: str) -> dict[str, Any]:
        """Return a fresh token pair of Alice's."""
        token = self.host.json("bootstrap", "--email", "alice@example.com")["token"]
        return redeem(self.server.url, token, **wishes)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with nothing on it."""
    return Host(tmp_path)


@pytest.fixture
def used_host(host: Host, used_dir: Path) -> Host:
    """A host on which a server has run: secrets and an empty database, so that nothing waits for migrations."""
    shutil.copytree(used_dir, host.data_dir)
    return host


@pytest.fixture(scope="module")
def place(used_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running server that these tests share, with Alice as its first account."""
    host = Host(tmp_path_factory.mktemp("place"))
    shutil.copytree(used_dir, host.data_dir)
    (host.folder / "password").write_text(f"{PASSWORD}\n")
    with host.serving(CMDOP_LOG_LEVEL="debug") as server:
        words = ("bootstrap", "--email", "Alice@Example.com", "--password-file", str(host.folder / "password"))
        yield Place(host, server, host.json(*words))
