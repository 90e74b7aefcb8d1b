"""The one table from error code to HTTP status. Pure: tests and docs read it without Django."""

from cmdop_wire.vocab import ErrorCode

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
    ErrorCode.HOSTNAME_TAKEN: 409,
    ErrorCode.DUPLICATE_CREDENTIAL: 409,
    ErrorCode.SESSION_CONFLICT: 409,
    ErrorCode.AGENT_OFFLINE: 409,
    ErrorCode.GATE_DENIED: 403,
    ErrorCode.APPROVAL_UNAVAILABLE: 403,
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
