"""Everything that can go wrong, one class per family of codes; the only place that turns an answer into an exception.

CMDOPError
├── AuthenticationError        unauthenticated · no_credential · invalid_key · signed_out
│   └── GrantError             authorization_pending · slow_down · access_denied · expired_token · invalid_grant
│                              · unsupported_grant_type (RFC 8628 §3.5, RFC 6749 §5.2)
├── PermissionDenied           forbidden
│   └── GateDenied             gate_denied · approval_unavailable (D-25)
├── NotFound                   not_found
├── Gone                       gone
├── Conflict                   conflict · slug_taken · name_taken · last_owner · personal_workspace · hostname_taken
│   │                          · duplicate_credential
│   ├── LimitReached           limit_reached
│   └── SessionConflict        session_conflict (D-26)
├── AgentOffline               agent_offline
├── MachineRefused             no_such_file · outside_root · not_a_file · cannot_open · command_not_found
│                              · cannot_start · unknown_operation (the machine's own words)
├── StreamClosed               stream_closed, or the code of the family of what ended the open stream
├── InvalidRequest             malformed · invalid · method_not_allowed · too_large · unsupported_media_type
│                              · idempotency_mismatch
├── RateLimited                rate_limited
├── ServiceUnavailable         unavailable · internal
├── Unreachable                unreachable
│   ├── AgentNotRunning        no_agent
│   ├── TimedOut               time_out
│   └── UntrustedServer        untrusted_server
├── UnexpectedAnswer           unexpected_answer · redirected
├── WrongOrigin                wrong_origin · insecure_server (D-23)
└── LocalStateError            local_state · store_unreachable
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from cmdop_wire.vocab import ErrorCode, MachineCode


class LocalCode(StrEnum):
    """Codes of failures that no server reported; they never travel in the envelope."""

    NO_CREDENTIAL = "no_credential"
    INVALID_KEY = "invalid_key"
    SIGNED_OUT = "signed_out"
    UNREACHABLE = "unreachable"
    TIME_OUT = "time_out"
    UNTRUSTED_SERVER = "untrusted_server"
    UNEXPECTED_ANSWER = "unexpected_answer"
    REDIRECTED = "redirected"
    WRONG_ORIGIN = "wrong_origin"
    INSECURE_SERVER = "insecure_server"
    LOCAL_STATE = "local_state"
    STORE_UNREACHABLE = "store_unreachable"
    STREAM_CLOSED = "stream_closed"
    NO_AGENT = "no_agent"


class CMDOPError(Exception):
    """The root. ``message`` is a lower-case sentence, ``hint`` a command to paste or ``""``.

    ``request_id`` is what the server's log knows the request by, ``http_status`` its answer (both ``None`` when
    there was none), ``transient`` tells whether the same call may succeed later, ``details`` is the envelope's.
    """

    default_code: str = ErrorCode.INTERNAL
    is_transient: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        request_id: str | None = None,
        http_status: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = str(code or self.default_code)
        self.hint = hint
        self.request_id = request_id
        self.http_status = http_status
        self.details: dict[str, Any] = dict(details or {})

    @property
    def transient(self) -> bool:
        """Tell whether the same call may succeed later, unchanged."""
        return self.is_transient


class AuthenticationError(CMDOPError):
    """There is no usable credential; signing in or another key helps."""

    default_code = ErrorCode.UNAUTHENTICATED


class GrantError(AuthenticationError):
    """The device grant or a refresh was answered in RFC 8628 or RFC 6749 vocabulary."""

    default_code = ErrorCode.INVALID_GRANT

    @property
    def transient(self) -> bool:
        """Tell whether polling goes on: nobody has answered at the approval page yet."""
        return self.code in (ErrorCode.AUTHORIZATION_PENDING, ErrorCode.SLOW_DOWN)


class PermissionDenied(CMDOPError):
    """The object is visible, the act is not allowed; the message names the missing right (D-9)."""

    default_code = ErrorCode.FORBIDDEN


class GateDenied(PermissionDenied):
    """The machine's own gate is against it; the message names the rule or mode that decided (D-25)."""

    default_code = ErrorCode.GATE_DENIED


class NotFound(CMDOPError):
    """There is no such object for this credential (D-9)."""

    default_code = ErrorCode.NOT_FOUND


class Gone(CMDOPError):
    """The object was here once and never comes back."""

    default_code = ErrorCode.GONE


class Conflict(CMDOPError):
    """The change contradicts what is there; ``details`` may carry a suggestion."""

    default_code = ErrorCode.CONFLICT


class LimitReached(Conflict):
    """A cap of the plan or of D-12 is reached."""

    default_code = ErrorCode.LIMIT_REACHED


class SessionConflict(Conflict):
    """Somebody else has the machine's one active session; ``details["holder"]`` names them (D-26)."""

    default_code = ErrorCode.SESSION_CONFLICT


class AgentOffline(CMDOPError):
    """The machine is registered, but its agent is not connected now."""

    default_code = ErrorCode.AGENT_OFFLINE
    is_transient = True


class MachineRefused(CMDOPError):
    """The machine was allowed to do it and cannot: no such command or file, outside its root, no plain file."""

    default_code = MachineCode.CANNOT_START


class StreamClosed(CMDOPError):
    """A session, command or transfer ended before its end; ``code`` is that of the family of the cause.

    ``reason`` is the relay's word for it, such as ``revoked``; see ``stream_ends`` for all of them.
    """

    default_code = LocalCode.STREAM_CLOSED

    def __init__(self, message: str, *, reason: str, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint, details={"reason": reason})
        self.reason = reason

    @property
    def transient(self) -> bool:
        """Tell whether opening another one may succeed."""
        return _family(self.code, 0).is_transient or self.code == LocalCode.STREAM_CLOSED


class InvalidRequest(CMDOPError):
    """The request means nothing acceptable; ``details["field"]`` names the field where there is one."""

    default_code = ErrorCode.INVALID


class RateLimited(CMDOPError):
    """Too many requests; ``details["retry_after"]`` is in seconds when the server named a time."""

    default_code = ErrorCode.RATE_LIMITED
    is_transient = True


class ServiceUnavailable(CMDOPError):
    """The server answered that it cannot now."""

    default_code = ErrorCode.UNAVAILABLE
    is_transient = True


class Unreachable(CMDOPError):
    """No answer came: refused, reset, no such host."""

    default_code = LocalCode.UNREACHABLE
    is_transient = True


class AgentNotRunning(Unreachable):
    """No agent of this user runs on this machine."""

    default_code = LocalCode.NO_AGENT
    is_transient = False


class TimedOut(Unreachable):
    """No answer came in time."""

    default_code = LocalCode.TIME_OUT


class UntrustedServer(Unreachable):
    """The server's certificate is not the pinned one, or nobody trusted vouches for it."""

    default_code = LocalCode.UNTRUSTED_SERVER
    is_transient = False


class UnexpectedAnswer(CMDOPError):
    """Something answered, but not as the API does: no JSON, wrong shape, too large, a redirect."""

    default_code = LocalCode.UNEXPECTED_ANSWER


class WrongOrigin(CMDOPError):
    """A credential was about to leave for a server that it does not belong to, or in clear (D-23)."""

    default_code = LocalCode.WRONG_ORIGIN


class LocalStateError(CMDOPError):
    """A local file or credential store cannot be used; ``path`` names it and it was left as it is."""

    default_code = LocalCode.LOCAL_STATE

    def __init__(self, message: str, *, path: object = None, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint, details={"path": str(path)} if path is not None else None)
        self.path = None if path is None else str(path)


BY_CODE: dict[ErrorCode, type[CMDOPError]] = {
    ErrorCode.MALFORMED: InvalidRequest,
    ErrorCode.UNAUTHENTICATED: AuthenticationError,
    ErrorCode.FORBIDDEN: PermissionDenied,
    ErrorCode.NOT_FOUND: NotFound,
    ErrorCode.METHOD_NOT_ALLOWED: InvalidRequest,
    ErrorCode.CONFLICT: Conflict,
    ErrorCode.SLUG_TAKEN: Conflict,
    ErrorCode.NAME_TAKEN: Conflict,
    ErrorCode.LIMIT_REACHED: LimitReached,
    ErrorCode.LAST_OWNER: Conflict,
    ErrorCode.PERSONAL_WORKSPACE: Conflict,
    ErrorCode.HOSTNAME_TAKEN: Conflict,
    ErrorCode.DUPLICATE_CREDENTIAL: Conflict,
    ErrorCode.SESSION_CONFLICT: SessionConflict,
    ErrorCode.AGENT_OFFLINE: AgentOffline,
    ErrorCode.GATE_DENIED: GateDenied,
    ErrorCode.APPROVAL_UNAVAILABLE: GateDenied,
    ErrorCode.GONE: Gone,
    ErrorCode.TOO_LARGE: InvalidRequest,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: InvalidRequest,
    ErrorCode.INVALID: InvalidRequest,
    ErrorCode.IDEMPOTENCY_MISMATCH: InvalidRequest,
    ErrorCode.RATE_LIMITED: RateLimited,
    ErrorCode.UNAVAILABLE: ServiceUnavailable,
    ErrorCode.INTERNAL: ServiceUnavailable,
    ErrorCode.AUTHORIZATION_PENDING: GrantError,
    ErrorCode.SLOW_DOWN: GrantError,
    ErrorCode.ACCESS_DENIED: GrantError,
    ErrorCode.EXPIRED_TOKEN: GrantError,
    ErrorCode.INVALID_GRANT: GrantError,
    ErrorCode.UNSUPPORTED_GRANT_TYPE: GrantError,
}

# What no envelope carries.
BY_OTHER_CODE: dict[str, type[CMDOPError]] = {
    **dict.fromkeys(MachineCode, MachineRefused),
    LocalCode.UNREACHABLE: Unreachable,
    LocalCode.TIME_OUT: TimedOut,
}

# A newer server may send a code that this client does not know: its status still tells the family.
BY_STATUS: dict[int, type[CMDOPError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: RateLimited,
}


def error_from(
    status: int, body: object, request_id: str | None = None, *, retry_after: float | None = None
) -> CMDOPError:
    """Return the exception for an answer of ``status`` (≥ 400) whose decoded JSON is ``body``.

    ``body`` that is no envelope was not written by a cmdop server: whatever the status, it says nothing about our
    objects, so it gives ``UnexpectedAnswer``; only 429 and 5xx mean the same from every proxy on the way.
    ``retry_after`` is in seconds.
    """
    envelope = body.get("error") if isinstance(body, dict) else None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("code"), str):
        family = ServiceUnavailable if status >= 500 else RateLimited if status == 429 else UnexpectedAnswer
        return family(
            f"the server answered {status} without saying why",
            http_status=status,
            request_id=request_id,
            details=_with_wait({}, retry_after),
        )
    details = envelope.get("details")
    named = envelope.get("request_id")
    code = envelope["code"]
    return _family(code, status)(
        _text(envelope.get("message")) or f"the server answered {status}",
        code=code,
        hint=_text(envelope.get("hint")),
        request_id=named if isinstance(named, str) and named else request_id,
        http_status=status,
        details=_with_wait(details if isinstance(details, dict) else {}, retry_after),
    )


def naming_machine(unknown: CMDOPError, machine: str) -> CMDOPError:
    """Return ``unknown`` with the name that leads to no machine, and the workspace where it does not, in its sentence.

    The server does not repeat the name: it says the same of everything that is not there (D-9).
    """
    if machine and unknown.details.get("kind") == "machine" and "machine" not in unknown.details:
        unknown.details["machine"] = machine
        workspace = _text(unknown.details.get("workspace"))
        unknown.message = f"no machine{f' of workspace {workspace}' if workspace else ''} is called {machine}"
        unknown.args = (unknown.message,)
    return unknown


def error_from_code(code: str, message: str, *, hint: str = "", details: object = None) -> CMDOPError:
    """Return the exception for a refusal that came without a status: on a stream, or from the agent's socket."""
    return _family(code, 0)(
        message or f"refused: {code}", code=code, hint=hint, details=details if isinstance(details, dict) else None
    )


def _family(code: str, status: int) -> type[CMDOPError]:
    if code in BY_OTHER_CODE:
        return BY_OTHER_CODE[code]
    try:
        return BY_CODE[ErrorCode(code)]
    except ValueError:
        return BY_STATUS.get(status) or (ServiceUnavailable if status >= 500 else InvalidRequest)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _with_wait(details: Mapping[str, Any], retry_after: float | None) -> dict[str, Any]:
    return dict(details) if retry_after is None else {"retry_after": retry_after, **details}
