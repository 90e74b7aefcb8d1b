"""Serving as ``start`` and its workers do it: bind, migrate, announce, serve or supervise."""

import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.db import connections

from cmdop_server import data_dir, serve
from cmdop_server.config import Config, load
from cmdop_server.management import opening
from cmdop_server.management.say import answer, note
from cmdop_server.supervisor import READY, Supervisor

if TYPE_CHECKING:
    from cmdop_server.tls import Tls


# Addresses that mean all of this machine's, and where to find us then.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a table, not a bind


@dataclass(frozen=True, slots=True)
class Ready:
    """What ``--ready-json`` prints, in this order, and what running.json keeps."""

    url: str
    host: str
    port: int
    pid: int
    data_dir: str
    database: str
    version: str
    ca_pin: str | None


def serve_here(config: Config, *, ready_json: bool) -> int:
    """Serve with everything checked and the data directory held; return the exit status."""
    _raise_file_limit()
    listener = serve.bind(config.host, config.port)
    port: int = listener.getsockname()[1]
    config = _with_public_url(config, port)
    tls = _tls(config)
    opening.django_ready(config, migrate=False)
    from cmdop_server import health  # noqa: PLC0415 - needs Django
    from cmdop_server.accounts.queries import first_account  # noqa: PLC0415

    ready = Ready(
        url=_origin(config, EVERYWHERE.get(config.host, config.host), port),
        host=config.host,
        port=port,
        pid=os.getpid(),
        data_dir=str(config.data_dir),
        database="postgresql" if config.database else "sqlite",
        version=health.server_version(),
        ca_pin=tls.pin if tls is not None else None,
    )
    is_new = first_account() is None
    connections.close_all()

    def on_ready() -> None:
        data_dir.write_running(config.data_dir, {**asdict(ready), "public_url": config.public_url})
        if ready_json:
            answer(json.dumps(asdict(ready)))
        else:
            _greet(config, ready, is_new)

    if config.workers > 1:
        serve.close_pool()
        return _supervise(config, listener, port, on_ready)
    serve.run(serve.make_server(config, tls, on_ready), listener)
    return 0


def _supervise(config: Config, listener: socket.socket, port: int, on_ready: Callable[[], None]) -> int:
    """Run the workers on one socket and the relay, which there is one of, on a port of its own."""
    wanted = config.relay_port or (port + 1 if config.port else 0)
    relay = serve.bind(config.host, wanted)
    if config.relay_url is None:
        host = urlsplit(config.public_url or "").hostname or config.host
        os.environ["CMDOP_RELAY_URL"] = _origin(config, host, relay.getsockname()[1])
    child = [sys.executable, "-m", "cmdop_server"]
    worker = [*child, opening.WORKER, str(listener.fileno())]
    commands = [[*child, opening.RELAY, str(relay.fileno())], *[worker] * config.workers]
    return Supervisor(commands, [listener, relay], config.drain_seconds, on_ready).run()


def serve_as_worker(descriptor: int, role: str) -> int:
    """Serve on the supervisor's socket until it says so, or is gone: its end of our stdin closes with it."""
    opening.private_process()
    config = opening.configuration()
    os.environ["DJANGO_SETTINGS_MODULE"] = "cmdop_server.settings"
    listener = socket.socket(fileno=descriptor)
    server = serve.make_server(config, _tls(config), _say_ready, role)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # the descriptor: a buffered reader would hold its lock at our end
        server.stop()

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
    serve.run(server, listener)
    return 0


def _say_ready() -> None:
    os.write(sys.stdout.fileno(), READY)


def _with_public_url(config: Config, port: int) -> Config:
    """Return the configuration with an address for links; a guess is announced where it may be wrong."""
    if config.public_url is not None:
        return config
    is_everywhere = config.host in EVERYWHERE
    guess = _origin(config, socket.gethostname().lower() if is_everywhere else config.host, port)
    if is_everywhere or config.behind_proxy:
        note(f"warning: CMDOP_PUBLIC_URL is not set, so links will begin with {guess}")
    os.environ["CMDOP_PUBLIC_URL"] = guess
    return load(os.environ)


def _origin(config: Config, host: str, port: int) -> str:
    scheme = "https" if config.serves_tls or (config.behind_proxy and config.public_url is None) else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _tls(config: Config) -> "Tls | None":
    if not config.serves_tls:
        return None
    from cmdop_server import tls  # noqa: PLC0415 - brings cryptography, which plain http can spare

    host = urlsplit(config.public_url or "").hostname or config.host
    return tls.prepare(config, tls.names_for(config, host))


def _raise_file_limit() -> None:
    """Take as many descriptors as we may have: each connection needs one, and the usual 1024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _greet(config: Config, ready: Ready, is_new: bool) -> None:
    database = "PostgreSQL" if config.database else "SQLite"
    answer(f"cmdop {ready.version} serves at {config.public_url}")
    answer(f"state in {ready.data_dir} ({database})")
    login = opening.login_line(config)
    if ready.ca_pin is not None:
        answer(f"its certificate is its own: --ca-pin {ready.ca_pin}")
    if is_new:
        answer("nobody has an account yet; in another terminal:")
        answer("  cmdop server bootstrap --email you@example.com --token-only")
        answer(f"  {login} --token -")
    else:
        answer("to sign in, in another terminal:")
        answer(f"  {login}")
    answer("Ctrl-C stops it")
