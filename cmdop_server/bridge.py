"""Django behind ASGI on a small pool of threads that live, and keep their database connections, for ever.

Django's own ``ASGIHandler`` starts a thread, and with it a database connection, for every request; measured in
docs/decisions/server-bridge.md. Bodies are received on the event loop, so a slow client holds no thread.
"""

import asyncio
import contextvars
import io
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from cmdop_server.access.errors import Refused
from cmdop_server.later import Fulfil, Later, unless
from cmdop_server.limits import BODY_BYTES, BODY_SECONDS, WAITING_REQUESTS
from cmdop_server.orders import Left
from cmdop_server.requests import HEADER, new_request_id
from cmdop_wire.vocab import ErrorCode

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
SEND_SECONDS = 60  # a client that takes a streamed answer more slowly than one part in this time is cut off
CLIENT_GONE = 499  # in the log only: who asked did not wait for the answer
_log = structlog.stdlib.get_logger("cmdop.bridge")


class _TooLargeError(Exception):
    """The body exceeds ``BODY_BYTES``."""


async def _receive_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the whole body; ``None`` when the client went away."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or len(value) > 15 or int(value) > BODY_BYTES):
            raise _TooLargeError
    parts: list[bytes] = []
    size = 0
    async with asyncio.timeout(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > BODY_BYTES:
                raise _TooLargeError
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


async def refuse(
    scope: Scope, send: Send, status: int, code: ErrorCode, message: str, *headers: tuple[bytes, bytes]
) -> None:
    """Answer, in the API's envelope, a request that Django never sees."""
    identity = new_request_id()
    peer = (scope.get("client") or ("",))[0]
    _log.warning("refused unread", path=scope["path"], status=status, address=peer, request_id=identity)
    body = {"code": code, "message": message, "hint": "", "details": {}, "request_id": identity}
    content = json.dumps({"error": body}).encode()
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"private, no-store"),
        (b"connection", b"close"),
        (HEADER.lower().encode(), identity.encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": content})


def _start(response: HttpResponseBase) -> Message:
    return {"type": "http.response.start", "status": response.status_code, "headers": _headers(response)}


def _whole(response: HttpResponseBase) -> list[Message]:
    content: bytes = response.content  # type: ignore[attr-defined]
    if not response.has_header("Content-Length"):
        response["Content-Length"] = str(len(content))
    return [_start(response), {"type": "http.response.body", "body": content}]


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = ((b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values())
    return [*headers, *cookies]


class ThreadedDjango(BaseHandler):
    """Django as an ASGI application for ``http`` scopes, ``threads`` requests at a time."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._capacity = threads + WAITING_REQUESTS
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, fulfil: Fulfil) -> None:
        """Serve one request; ``fulfil`` carries out what a view ordered in place of an answer."""
        if self._requests >= self._capacity:
            await refuse(scope, send, 503, ErrorCode.UNAVAILABLE, "the server is overloaded", (b"retry-after", b"2"))
            return
        self._requests += 1
        try:
            await self._serve(scope, receive, send, fulfil)
        finally:
            self._requests -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send, fulfil: Fulfil) -> None:
        try:
            body = await _receive_body(scope, receive)
        except _TooLargeError:
            await refuse(scope, send, 413, ErrorCode.TOO_LARGE, f"a request body is at most {BODY_BYTES} bytes")
            return
        except TimeoutError:
            await refuse(scope, send, 408, ErrorCode.MALFORMED, "the request body did not arrive in time")
            return
        if body is None:
            return
        loop = asyncio.get_running_loop()

        def send_now(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(send(message), loop).result(SEND_SECONDS)

        # A context of its own: nothing that one request binds is seen by the next one on the same thread.
        context = contextvars.copy_context()
        answer = await loop.run_in_executor(self._threads, context.run, self._respond, scope, body, send_now)
        if isinstance(answer, Later):
            answer = await self._settled(answer, receive, fulfil)
        for message in answer:
            await send(message)

    async def _settled(self, later: Later, receive: Receive, fulfil: Fulfil) -> list[Message]:
        """Wait for an answer, without a thread; return what to send, which is nothing when the client went away."""
        outcome: Left | Refused | None
        try:
            outcome = await unless(receive(), fulfil(later.order))
        except Refused as refused:
            outcome = refused
        except Exception:
            _log.exception("an order failed")
            outcome = Refused(ErrorCode.INTERNAL, "something went wrong on the server")
        if outcome is None:
            later.when_settled(CLIENT_GONE)
            return []
        await asyncio.get_running_loop().run_in_executor(self._threads, later.settle, outcome)
        return _whole(later)

    def _respond(self, scope: Scope, body: bytes, send_now: Callable[[Message], None]) -> list[Message] | Later:
        """Run Django on this thread; return what is left to send."""
        set_script_prefix(scope.get("root_path", ""))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = ASGIRequest(scope, io.BytesIO(body))
        except UnicodeDecodeError:
            signals.request_finished.send(sender=self.__class__)
            return list(_plain(400))
        response = self.get_response(request)
        # Closing tells Django that the request ends: on this thread, whose database connection it checks.
        try:
            if isinstance(response, Later):
                return response
            if not response.streaming:
                return _whole(response)
            send_now(_start(response))
            for part in response:
                send_now({"type": "http.response.body", "body": part, "more_body": True})
            return [{"type": "http.response.body", "body": b""}]
        finally:
            response.close()

    def close(self) -> None:
        """Let running requests end."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _plain(status: int) -> Iterator[Message]:
    yield {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]}
    yield {"type": "http.response.body", "body": b""}
