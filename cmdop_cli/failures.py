"""Failures: what every one says and which status the process ends with. The only table code → exit status.

Commands raise; only the outermost frame turns a failure into text or JSON, here. Nothing else ends the process.
"""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from cmdop_wire.vocab import ErrorCode, Exit, MachineCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Code(StrEnum):
    """Codes of failures that never leave this machine; the server's are in ``vocab.ErrorCode``."""

    USAGE = "usage"
    NO_CREDENTIAL = "no_credential"
    NO_WORKSPACE = "no_workspace"
    CONFIRMATION_REQUIRED = "confirmation_required"
    UNEXPECTED_WORKSPACE = "unexpected_workspace"
    WORKSPACE_REQUIRED = "workspace_required"
    READ_ONLY = "read_only"
    LOCAL_STATE = "local_state"
    UNREACHABLE = "unreachable"
    TIME_OUT = "time_out"
    PARTIAL = "partial"
    OUTPUT = "output"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    BUG = "bug"


EXIT: dict[str, Exit] = {
    Code.USAGE: Exit.USAGE,
    Code.NO_CREDENTIAL: Exit.NO_CREDENTIAL,
    Code.NO_WORKSPACE: Exit.USAGE,
    Code.CONFIRMATION_REQUIRED: Exit.GUARD,
    Code.UNEXPECTED_WORKSPACE: Exit.GUARD,
    Code.WORKSPACE_REQUIRED: Exit.GUARD,
    Code.READ_ONLY: Exit.GUARD,
    Code.LOCAL_STATE: Exit.LOCAL_STATE,
    Code.UNREACHABLE: Exit.UNREACHABLE,
    Code.TIME_OUT: Exit.TEMPORARY,
    Code.PARTIAL: Exit.PARTIAL,
    Code.OUTPUT: Exit.BUG,
    Code.INTERRUPTED: Exit.INTERRUPTED,
    Code.TERMINATED: Exit.TERMINATED,
    Code.BUG: Exit.BUG,
    # The SDK's own, spelled out: this table is on every command's way, ``cmdop_sdk.errors`` is not.
    "invalid_key": Exit.NO_CREDENTIAL,
    "signed_out": Exit.NO_CREDENTIAL,
    "untrusted_server": Exit.UNREACHABLE,
    "unexpected_answer": Exit.BUG,
    "redirected": Exit.BUG,
    "wrong_origin": Exit.GUARD,
    "insecure_server": Exit.USAGE,
    "store_unreachable": Exit.LOCAL_STATE,
    "stream_closed": Exit.TEMPORARY,
    "no_agent": Exit.UNREACHABLE,
    # A machine's own refusals, which travel on streams.
    MachineCode.NO_SUCH_FILE: Exit.NOT_FOUND,
    MachineCode.OUTSIDE_ROOT: Exit.FORBIDDEN,
    MachineCode.NOT_A_FILE: Exit.USAGE,
    MachineCode.CANNOT_OPEN: Exit.FORBIDDEN,
    MachineCode.COMMAND_NOT_FOUND: Exit.NOT_FOUND,
    MachineCode.CANNOT_START: Exit.FORBIDDEN,
    MachineCode.UNKNOWN_OPERATION: Exit.USAGE,
    ErrorCode.MALFORMED: Exit.USAGE,
    ErrorCode.UNAUTHENTICATED: Exit.NO_CREDENTIAL,
    ErrorCode.FORBIDDEN: Exit.FORBIDDEN,
    ErrorCode.NOT_FOUND: Exit.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: Exit.BUG,
    ErrorCode.CONFLICT: Exit.CONFLICT,
    ErrorCode.SLUG_TAKEN: Exit.CONFLICT,
    ErrorCode.NAME_TAKEN: Exit.CONFLICT,
    ErrorCode.LIMIT_REACHED: Exit.CONFLICT,
    ErrorCode.LAST_OWNER: Exit.CONFLICT,
    ErrorCode.PERSONAL_WORKSPACE: Exit.CONFLICT,
    ErrorCode.HOSTNAME_TAKEN: Exit.CONFLICT,
    ErrorCode.DUPLICATE_CREDENTIAL: Exit.CONFLICT,
    ErrorCode.SESSION_CONFLICT: Exit.CONFLICT,
    ErrorCode.AGENT_OFFLINE: Exit.UNREACHABLE,
    ErrorCode.GATE_DENIED: Exit.FORBIDDEN,
    ErrorCode.APPROVAL_UNAVAILABLE: Exit.FORBIDDEN,
    ErrorCode.GONE: Exit.NOT_FOUND,
    ErrorCode.TOO_LARGE: Exit.USAGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Exit.BUG,
    ErrorCode.INVALID: Exit.USAGE,
    ErrorCode.IDEMPOTENCY_MISMATCH: Exit.CONFLICT,
    ErrorCode.RATE_LIMITED: Exit.TEMPORARY,
    ErrorCode.UNAVAILABLE: Exit.TEMPORARY,
    ErrorCode.INTERNAL: Exit.TEMPORARY,
    ErrorCode.AUTHORIZATION_PENDING: Exit.PARTIAL,
    ErrorCode.SLOW_DOWN: Exit.TEMPORARY,
    ErrorCode.ACCESS_DENIED: Exit.FORBIDDEN,
    ErrorCode.EXPIRED_TOKEN: Exit.NO_CREDENTIAL,
    ErrorCode.INVALID_GRANT: Exit.NO_CREDENTIAL,
    ErrorCode.UNSUPPORTED_GRANT_TYPE: Exit.BUG,
}
TRANSIENT = frozenset({Exit.UNREACHABLE, Exit.TEMPORARY})


class Failure(Exception):
    """Anything that ends a command: a code, a lower-case sentence, and a hint that is a command to paste.

    ``why`` names the workspace and its source; ``http_status`` and ``request_id`` come from the server. The exit
    status follows from the code unless a command must say otherwise.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        why: str = "",
        exit_code: int | None = None,
        transient: bool | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
        workspace: "Mapping[str, Any] | None" = None,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.hint = hint
        self.why = why
        self.exit_code = int(EXIT.get(code, Exit.BUG) if exit_code is None else exit_code)
        self.transient = self.exit_code in TRANSIENT if transient is None else transient
        self.http_status = http_status
        self.request_id = request_id
        self.workspace = workspace


class Terminated(BaseException):
    """SIGTERM arrived; unwinds like an interrupt so that locks and temporary files go."""


def usage(message: str, *, hint: str = "") -> Failure:
    """Return the failure for a line that cannot be understood (exit 2)."""
    return Failure(Code.USAGE, message, hint=hint)


def explained(error: BaseException) -> Failure:
    """Return ``error`` as a failure: SDK errors by their code, signals by their number, anything else as a bug."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Failure(Code.INTERRUPTED, "interrupted")
    if isinstance(error, Terminated):
        return Failure(Code.TERMINATED, "terminated")
    sdk = sys.modules.get("cmdop_sdk.errors")  # never imported only to ask: what was not loaded was not raised
    if sdk is not None and isinstance(error, sdk.CMDOPError):
        return Failure(
            error.code,
            error.message,
            hint=error.hint,
            transient=error.transient,
            http_status=error.http_status,
            request_id=error.request_id,
        )
    return Failure(Code.BUG, f"this is a bug in cmdop: {type(error).__name__}")


def document(failure: Failure) -> "dict[str, Any]":
    """Return ``failure`` as the object that ``--json`` prints on stderr."""
    from cmdop_wire.ids import mask

    return {
        "schema": "cmdop.error.v1",
        "code": failure.code,
        "message": mask(failure.message),
        "hint": mask(failure.hint) or None,
        "transient": failure.transient,
        "http_status": failure.http_status,
        "request_id": failure.request_id,
        "workspace": failure.workspace,
        "exit_code": failure.exit_code,
    }


def lines(failure: Failure) -> list[str]:
    """Return ``failure`` as a person reads it: what, why, fix, reference; each on its own line, secrets masked."""
    from cmdop_wire.ids import mask

    parts = [("error", failure.message), ("why", failure.why), ("fix", failure.hint), ("request", failure.request_id)]
    return [f"{word}: {mask(text)}" for word, text in parts if text]
