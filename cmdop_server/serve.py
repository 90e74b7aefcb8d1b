"""One serving process: uvicorn on a socket that is already bound, ready when it says so, drained when told to stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from django.db import connection

from cmdop_server.asgi import application, django_application, relay_application, worker_application
from cmdop_server.config import Config
from cmdop_server.limits import BACKLOG, KEEP_ALIVE_SECONDS
from cmdop_server.protocol import BoundedHttpProtocol, BoundedWebSocketProtocol
from cmdop_server.refusal import Refusal
from cmdop_wire.frames import LIMITS

if TYPE_CHECKING:
    from cmdop_server.tls import Tls


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the first address that ``host`` means, listening; connections wait until we serve."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError:
        raise Refusal("CMDOP_HOST", "is no address of this machine", "export CMDOP_HOST=127.0.0.1") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        message = f"cannot listen on {host} port {port}: {reason}"
        raise Refusal("CMDOP_PORT", message, "cmdop server start --port 0") from None
    listener.set_inheritable(True)
    return listener


class DrainingServer(uvicorn.Server):
    """uvicorn, except that a signal which asked for an orderly end leads to exit status 0."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, then say so."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT; the original raises them again when it is done, which would be our status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    def stop(self) -> None:
        """Drain and end; may be called from any thread."""
        self.should_exit = True


ROLES = {"all": application, "worker": worker_application, "relay": relay_application}


def make_server(config: Config, tls: "Tls | None", on_ready: Callable[[], None], role: str = "all") -> DrainingServer:
    """Return a server with our limits for one of ``ROLES``."""
    django_application()  # now, so that the first request does not pay for it
    options: dict[str, Any] = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key} if tls is not None else {}
    return DrainingServer(
        uvicorn.Config(
            ROLES[role],
            loop="uvloop",
            http=BoundedHttpProtocol,
            ws=BoundedWebSocketProtocol,
            ws_max_size=LIMITS.frame,
            ws_per_message_deflate=False,
            lifespan="off" if role == "worker" else "on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # address.py decides whom to believe
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=config.drain_seconds,
            backlog=BACKLOG,
            **options,
        ),
        on_ready,
    )


def run(server: DrainingServer, listener: socket.socket) -> None:
    """Serve until told to stop; requests in flight are answered first."""
    # What is loaded now stays: the collector need not look at it again (see __main__, which paused it).
    gc.freeze()
    gc.enable()
    from cmdop_server import purging  # noqa: PLC0415 - needs Django, which make_server has set up

    loop_factory = server.config.get_loop_factory()
    with purging.in_background(), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(server.serve(sockets=[listener]))
    django_application().close()
    close_pool()


def close_pool() -> None:
    """Give PostgreSQL its connections back; the embedded database has no pool."""
    close = getattr(connection, "close_pool", None)
    if close is not None:
        close()
