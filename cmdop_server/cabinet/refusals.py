"""What a page answers when a door or service refuses; the API has its own translation in ``api/errors.py``."""

from collections.abc import Callable

import structlog
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cmdop_server.access.errors import Forbidden, Refused
from cmdop_server.audit.services import record_denial
from cmdop_server.database import refusal_of
from cmdop_wire.vocab import ErrorCode

_log = structlog.stdlib.get_logger("cmdop.cabinet")

STATUS = {
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
}


class RefusalMiddleware:
    """Turn a refusal that no view of a page caught into a page; the denial of a right is audited (D-30)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for a refusal, ``None`` for anything else."""
        refused = exception if isinstance(exception, Refused) else None
        if isinstance(exception, DatabaseError | InterfaceError) and (refused := refusal_of(exception)) is not None:
            _log.warning("the database was busy or away", error=type(exception).__name__, exc_info=exception)
        if refused is None:
            return None
        if isinstance(refused, Forbidden):
            record_denial(refused)
        status = STATUS.get(refused.code, 400)
        # Without the request, which would ask the database who this is.
        response = render(request if refused is exception else None, f"{status}.html", status=status)
        if "retry_after" in refused.details:
            response["Retry-After"] = str(refused.details["retry_after"])
        return response
