"""What a page answers when a door or service refuses; the API has its own translation in ``api/errors.py``."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cmdop_server.access.errors import Forbidden, Refused
from cmdop_server.audit.services import record_denial
from cmdop_wire.vocab import ErrorCode

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
        if not isinstance(exception, Refused):
            return None
        if isinstance(exception, Forbidden):
            record_denial(exception)
        status = STATUS.get(exception.code, 400)
        response = render(request, f"{status}.html", status=status)
        if "retry_after" in exception.details:
            response["Retry-After"] = str(exception.details["retry_after"])
        return response
