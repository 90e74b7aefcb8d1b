"""A small real HTTP server on loopback that answers as a test says and remembers what it was sent."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = {"id": "usr_00000000000000000001", "email": "ana@example.com", "username": "ana", "name": "Ana"}
WORKSPACE = {
    "id": "ws_00000000000000000001",
    "slug": "acme",
    "name": "Acme",
    "kind": "team",
    "state": "active",
    "plan": "starter",
    "created_at": "2026-01-02T03:04:05Z",
    "role": "owner",
    "a_field_of_next_year": {"ignored": True},
}
ME = {"account": ACCOUNT, "credential": {"kind": "sign_in", "id": "fam_00000000000000000001"}, "workspace": WORKSPACE}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def bearer(self) -> str | None:
        """Return the credential that came with it."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    @property
    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What to send back; ``body`` that is no bytes travels as JSON. ``pieces`` are sent one by one instead of it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


def refusal(status: int, code: str, **more: Any) -> Answer:
    """Return an answer in the error envelope."""
    headers = more.pop("headers", {})
    error = {"code": code, "message": f"it is {code}", "hint": "", "details": {}, "request_id": "req_1", **more}
    return Answer(status, {"error": error}, headers)


class Loopback:
    """The running server: ``origin``, ``seen``, and ``answer``, which may be replaced at any time."""

    def __init__(self, answer: Callable[[Seen], Answer], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Seen(self.command, self.path, headers, self.rfile.read(length))
                outer.seen.append(request)
                self._send(outer.answer(request))

            def _send(self, answer: Answer) -> None:
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                headers = {"Content-Type": "application/json", "X-Request-Id": "req_header", **answer.headers}
                if answer.pieces is None and "Content-Length" not in headers:
                    headers["Content-Length"] = str(len(body))
                for name, value in headers.items():
                    self.send_header(name, value)
                if answer.pieces is not None:
                    self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for piece in answer.pieces or [body]:
                        self.wfile.write(piece)
                        self.wfile.flush()
                except OSError:
                    pass  # the client had enough

            do_GET = do_POST = do_PATCH = do_DELETE = do_CONNECT = _serve

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Keep quiet about clients that hang up."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def loopback(
    answer: Callable[[Seen], Answer] | Answer | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Loopback]:
    """Run a server for a while; by default everything is answered with ``ME``."""
    fixed = answer if isinstance(answer, Answer) else Answer(body=ME)
    server = Loopback(answer if callable(answer) else lambda _: fixed, tls)
    try:
        yield server
    finally:
        server.stop()


def in_turn(*answers: Answer) -> Callable[[Seen], Answer]:
    """Give these answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
