"""What every address of the API does around its view: count the address, look at the body, dress the answer."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError

from cmdop_server import rates
from cmdop_server.access.errors import Refused
from cmdop_server.address import client_address
from cmdop_server.api.errors import answer
from cmdop_server.limits import API_BODY_BYTES
from cmdop_wire.vocab import ErrorCode

_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")


def edge(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return ``view`` with the API's edge around it."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            rates.check("address", client_address(request))
            if request.method in _WITH_BODY:
                _check_body(request)
        except Refused as refused:
            return answer(request, refused)
        response = view(request, *args, **kwargs)
        if response.status_code == 405:
            allowed = response.get("Allow", "")
            response = answer(request, Refused(ErrorCode.METHOD_NOT_ALLOWED, f"this address answers to {allowed}"))
            response["Allow"] = allowed
        if response.status_code == 204:
            del response["Content-Type"]
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return guarded


def _check_body(request: HttpRequest) -> None:
    """Refuse a body that is too large or no JSON, before anything is read from it or asked of the database."""
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not declared.isdigit() or int(declared) > API_BODY_BYTES:
        raise _too_large()
    try:
        size = len(request.body)  # a chunked body declares no length
    except RequestDataTooBig:
        raise _too_large() from None
    except UnreadablePostError:
        raise Refused(ErrorCode.MALFORMED, "the request body ended early") from None
    if size > API_BODY_BYTES:
        raise _too_large()
    if size and request.content_type != "application/json":
        raise Refused(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")


def _too_large() -> Refused:
    return Refused(
        ErrorCode.TOO_LARGE, f"a request body has at most {API_BODY_BYTES // 1024} KiB", limit=API_BODY_BYTES
    )
