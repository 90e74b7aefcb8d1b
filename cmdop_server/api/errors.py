"""From an exception to the one error answer: the table code → HTTP status, and what ninja calls for each kind.

Only this file knows HTTP statuses of refusals. Denials are audited here, after their transaction has unwound (D-30).
"""

from typing import Any

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from cmdop_server.access.errors import Forbidden, Refused, Unauthenticated
from cmdop_server.answers import envelope
from cmdop_server.audit.services import record_denial
from cmdop_wire.ids import mask
from cmdop_wire.vocab import ErrorCode

_log = structlog.stdlib.get_logger("cmdop.api")

HTTP_STATUS: dict[ErrorCode, int] = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.CONFLICT: 409,
    ErrorCode.SLUG_TAKEN: 409,
    ErrorCode.NAME_TAKEN: 409,
    ErrorCode.LIMIT_REACHED: 409,
    ErrorCode.LAST_OWNER: 409,
    ErrorCode.PERSONAL_WORKSPACE: 409,
    ErrorCode.GONE: 410,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.INVALID: 422,
    ErrorCode.IDEMPOTENCY_MISMATCH: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
    # RFC 6749 §5.2: every refusal of a grant is a 400.
    ErrorCode.AUTHORIZATION_PENDING: 400,
    ErrorCode.SLOW_DOWN: 400,
    ErrorCode.ACCESS_DENIED: 400,
    ErrorCode.EXPIRED_TOKEN: 400,
    ErrorCode.INVALID_GRANT: 400,
    ErrorCode.UNSUPPORTED_GRANT_TYPE: 400,
}
RETRY_AFTER = 2  # seconds, when the database was busy or away
_TRIED_AGAIN = (ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE)


def answer(request: HttpRequest, refused: Refused) -> HttpResponse:
    """Return the answer to a refusal; a member's or key's denial is written to the workspace's log first."""
    if isinstance(refused, Forbidden) and refused.workspace_id:
        record_denial(refused)
    status = HTTP_STATUS[refused.code]
    response = envelope(request, status, refused.code, refused.message, refused.hint, **refused.details)
    if refused.code is ErrorCode.UNAUTHENTICATED:
        response["WWW-Authenticate"] = 'Bearer realm="cmdop"'
    if refused.code in _TRIED_AGAIN:
        response["Retry-After"] = str(refused.details.get("retry_after", RETRY_AFTER))
    return response


def install(api: NinjaAPI) -> None:
    """Register the handlers; the most specific class wins, ``Exception`` catches what is a bug."""
    api.add_exception_handler(Refused, _refused)
    api.add_exception_handler(AuthenticationError, _unauthenticated)
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(HttpError, _malformed)
    api.add_exception_handler(Http404, _not_found)
    api.add_exception_handler(RequestDataTooBig, _too_large)
    for unreadable in (BadRequest, SuspiciousOperation, UnreadablePostError):
        api.add_exception_handler(unreadable, _malformed)
    for busy in (OperationalError, InterfaceError):
        api.add_exception_handler(busy, _unavailable)
    api.add_exception_handler(Exception, _bug)


def _refused(request: HttpRequest, refused: Any) -> HttpResponse:
    return answer(request, refused)


def _unauthenticated(request: HttpRequest, _: Any) -> HttpResponse:
    return answer(request, Unauthenticated(hint="cmdop login"))


def _invalid(request: HttpRequest, failure: Any) -> HttpResponse:
    """Name the fields that are wrong and why; what they held is never repeated: it may be a secret."""
    fields = [{"field": _field(error["loc"]), "problem": mask(str(error["msg"])).lower()} for error in failure.errors]
    named = ", ".join(sorted({field["field"] for field in fields if field["field"]}))
    message = f"these fields are not valid: {named}" if named else "the request is not valid"
    return answer(request, Refused(ErrorCode.INVALID, message, fields=fields))


def _field(location: tuple[Any, ...]) -> str:
    """Return ``name`` or ``gate_rules.0.kind``: where in body or query, without ninja's names for these two."""
    path = location[2:] if location[:1] == ("body",) else location[1:]
    return mask(".".join(str(part)[:80] for part in path))


def _malformed(request: HttpRequest, _: Any) -> HttpResponse:
    return answer(request, Refused(ErrorCode.MALFORMED, "the request body is not JSON"))


def _not_found(request: HttpRequest, _: Any) -> HttpResponse:
    return answer(request, Refused(ErrorCode.NOT_FOUND, "no such address"))


def _too_large(request: HttpRequest, _: Any) -> HttpResponse:
    return answer(request, Refused(ErrorCode.TOO_LARGE, "the request body is too large"))


def _unavailable(request: HttpRequest, failure: Any) -> HttpResponse:
    _log.warning("the database was busy or away", error=type(failure).__name__, exc_info=failure)
    return answer(request, Refused(ErrorCode.UNAVAILABLE, "the server is busy", retry_after=RETRY_AFTER))


def _bug(request: HttpRequest, failure: Any) -> HttpResponse:
    _log.error("an operation failed", error=type(failure).__name__, exc_info=failure)
    return answer(request, Refused(ErrorCode.INTERNAL, "something went wrong on the server"))
