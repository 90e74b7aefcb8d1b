"""Answers to requests that no app answers: unknown address, refused form, bug.

JSON in the API's envelope below ``/api/`` and for whoever asks for JSON, Django's pages (templates ``404.html`` …)
for people.
"""

from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views import defaults

from cmdop_server.requests import request_id
from cmdop_wire.vocab import ErrorCode


def envelope(
    request: HttpRequest, status: int, code: ErrorCode, message: str, hint: str = "", **details: Any
) -> JsonResponse:
    """Return the one error shape of the API (design: ``{"error": {code, message, hint, details, request_id}}``)."""
    body = {"code": code, "message": message, "hint": hint, "details": details, "request_id": request_id(request)}
    return JsonResponse({"error": body}, status=status, headers={"Cache-Control": "private, no-store"})


def wants_json(request: HttpRequest) -> bool:
    """Tell whether a program asks."""
    return request.path.startswith("/api/") or request.get_preferred_type(["text/html", "application/json"]) == (
        "application/json"
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer an address that leads nowhere."""
    if wants_json(request):
        return envelope(request, 404, ErrorCode.NOT_FOUND, "no such address")
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a request that Django refused before any view saw it, for instance for its Host header."""
    if wants_json(request):
        return envelope(request, 400, ErrorCode.MALFORMED, "the request makes no sense")
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a page that this person may not see."""
    if wants_json(request):
        return envelope(request, 403, ErrorCode.FORBIDDEN, "not allowed")
    return defaults.permission_denied(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:  # noqa: ARG001 - Django passes it
    """Answer a form that did not come from our own page."""
    if wants_json(request):
        return permission_denied(request, PermissionError("the form did not come from this site, or is too old"))
    return defaults.permission_denied(request, PermissionError(), template_name="403_csrf.html")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer when we failed; the log has the rest under the same request id."""
    if wants_json(request):
        return envelope(request, 500, ErrorCode.INTERNAL, "something went wrong on the server")
    return defaults.server_error(request)
