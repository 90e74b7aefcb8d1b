"""What every request gets: an id that its answer, its log line and its events share."""

import logging
import re
import secrets
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from cmdop_server.address import client_address
from cmdop_server.later import Later

HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_log = structlog.stdlib.get_logger("cmdop.request")


def new_request_id() -> str:
    """Return a fresh ``req_…`` id; it is in no vocabulary of ids, because it names no object."""
    return f"req_{secrets.token_hex(10)}"


def request_id(request: HttpRequest) -> str:
    """Return the request's id: the caller's own ``X-Request-Id`` if it is 8 to 64 plain characters, else a new one."""
    found = getattr(request, "request_id", None)
    if isinstance(found, str):
        return found
    offered = request.headers.get(HEADER, "")
    fresh = offered if _ACCEPTED.fullmatch(offered) else new_request_id()
    request.request_id = fresh  # type: ignore[attr-defined]
    return fresh


def shown_path(request: HttpRequest) -> str:
    """Return the path without what is secret in it: the one-time keys in the addresses of allauth's mails."""
    match = request.resolver_match
    if match is not None and request.path.startswith("/accounts/") and match.kwargs:
        return f"/{match.route}"
    return request.path


class RequestMiddleware:
    """Give the request its id and write one log line when it is answered. No query string: it may hold codes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        identity = request_id(request)
        structlog.contextvars.bind_contextvars(request_id=identity)
        try:
            response = self.get_response(request)
            response[HEADER] = identity

            def tell(status: int) -> None:
                # Probes come every few seconds and say nothing while all is well.
                is_probe = request.path.startswith("/health/") and status == 200
                _log.log(
                    logging.DEBUG if is_probe else logging.INFO,
                    "request",
                    method=request.method,
                    path=shown_path(request),
                    status=status,
                    milliseconds=round((time.perf_counter() - began) * 1000, 1),
                    address=client_address(request),
                    request_id=identity,
                )

            if isinstance(response, Later):
                response.when_settled = tell
            else:
                tell(response.status_code)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
        return response
