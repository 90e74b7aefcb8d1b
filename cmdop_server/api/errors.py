"""From an exception to the one error answer: what ninja calls for each kind.

Denials are audited here, after their transaction has unwound (D-30).
"""

from typing import Any

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from cmdop_server.access.errors import Forbidden, Refused, Unauthenticated
from cmdop_server.answers import envelope
from cmdop_server.api.statuses import HTTP_STATUS
from cmdop_server.audit.services import record_denial
from cmdop_server.database import RETRY_AFTER, refusal_of
from cmdop_wire.ids import mask
from cmdop_wire.vocab import ErrorCode

_log = structlog.stdlib.get_logger("cmdop.api")

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
    for failed in (DatabaseError, InterfaceError):
        api.add_exception_handler(failed, _failed)
    api.add_exception_handler(Exception, _bug)


def _refused(request: HttpRequest, refused: Any) -> HttpResponse:
    return answer(request, refused)


def _unauthenticated(request: HttpRequest, _: Any) -> HttpResponse:
    return answer(request, Unauthenticated(hint="cmdop login"))


def _invalid(request: HttpRequest, failure: Any) -> HttpResponse:
    """Name the fields that are wrong and why; what they held is never repeated: it may be a secret."""
    fields = [{"field": _field(error["loc"]), "problem": _problem(error["msg"])} for error in failure.errors]
    named = ", ".join(sorted({field["field"] for field in fields if field["field"]}))
    message = f"these fields are not valid: {named}" if named else "the request is not valid"
    return answer(request, Refused(ErrorCode.INVALID, message, fields=fields))


def _problem(message: str) -> str:
    return mask(message).lower().removeprefix("value error, ")


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


def _failed(request: HttpRequest, failure: Any) -> HttpResponse:
    refused = refusal_of(failure)
    if refused is None:
        return _bug(request, failure)
    _log.warning("the database was busy or away", error=type(failure).__name__, exc_info=failure)
    return answer(request, refused)


def _bug(request: HttpRequest, failure: Any) -> HttpResponse:
    _log.error("an operation failed", error=type(failure).__name__, exc_info=failure)
    return answer(request, Refused(ErrorCode.INTERNAL, "something went wrong on the server"))
