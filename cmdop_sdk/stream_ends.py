"""Why a stream ended: every reason the relay gives, as a sentence, a code and a hint. Decided here, once.

The close code of the websocket speaks for a reason that a newer relay made up.
"""

from typing import NamedTuple

from cmdop_sdk.errors import CMDOPError, LocalCode, StreamClosed
from cmdop_wire.frames import CloseCode
from cmdop_wire.vocab import ErrorCode

LOST = 1006  # RFC 6455 §7.1.5: gone without a word
# After these one dials again and resumes: the relay restarts, the network or something on the way gave up.
RESUMABLE = frozenset({LOST, 1005, CloseCode.GOING_AWAY, 1011, 1012, 1013, 1014, CloseCode.UNAVAILABLE})


class _End(NamedTuple):
    code: str
    sentence: str
    hint: str = ""


_SIGN_IN, _LIST = "cmdop login", "cmdop connect list"
_REASONS = {
    "revoked": _End(ErrorCode.UNAUTHENTICATED, "the credential was revoked", "cmdop auth list-keys"),
    "key_expired": _End(ErrorCode.UNAUTHENTICATED, "the key has expired", "cmdop auth create-key --name NAME"),
    "signed_out": _End(ErrorCode.UNAUTHENTICATED, "the sign-in was ended", _SIGN_IN),
    "reuse": _End(ErrorCode.UNAUTHENTICATED, "an old token was used again, which ended the sign-in", _SIGN_IN),
    "sign_in_expired": _End(ErrorCode.UNAUTHENTICATED, "the sign-in has expired", _SIGN_IN),
    "reauth_missed": _End(ErrorCode.UNAUTHENTICATED, "no fresh token was shown in time", _SIGN_IN),
    "password_changed": _End(ErrorCode.UNAUTHENTICATED, "the account's password was changed", _SIGN_IN),
    "member_removed": _End(ErrorCode.FORBIDDEN, "you are no longer a member of the workspace", "cmdop workspace list"),
    "role_lowered": _End(ErrorCode.FORBIDDEN, "your role no longer allows it", "cmdop whoami"),
    "policy_changed": _End(ErrorCode.FORBIDDEN, "the workspace's policy no longer allows it", "cmdop whoami"),
    "ended_by_admin": _End(ErrorCode.FORBIDDEN, "an administrator of the workspace ended it", "cmdop connect sessions"),
    "ended_by_operator": _End(LocalCode.STREAM_CLOSED, "whoever operates it ended it from elsewhere"),
    "taken_over": _End(ErrorCode.SESSION_CONFLICT, "somebody took the session over", "cmdop connect sessions"),
    "machine_removed": _End(ErrorCode.GONE, "the machine was removed from the workspace", _LIST),
    "machine_moved": _End(ErrorCode.GONE, "the machine was moved to another workspace", _LIST),
    "machine_replaced": _End(ErrorCode.GONE, "another machine took this one's place", _LIST),
    "workspace_pending": _End(ErrorCode.GONE, "the workspace is being deleted", "cmdop workspace list"),
    "machine_lost": _End(ErrorCode.AGENT_OFFLINE, "the machine's link was lost and did not come back", _LIST),
    "machine_stopped": _End(ErrorCode.AGENT_OFFLINE, "the machine's agent was stopped", _LIST),
    "slow": _End(LocalCode.STREAM_CLOSED, "its output was not read fast enough"),
    "closed": _End(LocalCode.STREAM_CLOSED, "it was closed from elsewhere"),
    "lost": _End(LocalCode.STREAM_CLOSED, "the connection was away for too long"),
    "restart": _End(LocalCode.STREAM_CLOSED, "the relay restarts"),
    "relay_restarted": _End(LocalCode.STREAM_CLOSED, "the relay was restarted and nobody resumed in time"),
    "resumed elsewhere": _End(LocalCode.STREAM_CLOSED, "the stream was resumed from elsewhere"),
    "unavailable": _End(ErrorCode.UNAVAILABLE, "the relay cannot check rights at the moment"),
}
_CODES = {
    CloseCode.AUTH: _End(ErrorCode.UNAUTHENTICATED, "the credential is no longer good", _SIGN_IN),
    CloseCode.FORBIDDEN: _End(ErrorCode.FORBIDDEN, "the right to it is gone", "cmdop whoami"),
    CloseCode.GONE: _End(ErrorCode.GONE, "what it led to is gone", _LIST),
    CloseCode.CONFLICT: _End(ErrorCode.CONFLICT, "somebody else holds it", "cmdop connect sessions"),
    CloseCode.SLOW: _REASONS["slow"],
    CloseCode.POLICY: _REASONS["ended_by_admin"],
    CloseCode.UNAVAILABLE: _REASONS["unavailable"],
    CloseCode.MALFORMED: _End(LocalCode.UNEXPECTED_ANSWER, "the relay did not accept a frame"),
}
_OTHERWISE = _End(LocalCode.STREAM_CLOSED, "the connection was closed")


def ended(reason: str, code: int = LOST) -> StreamClosed:
    """Return the exception for an open stream that the relay closed with ``reason`` and the websocket's ``code``."""
    end = _REASONS.get(reason) or _CODES.get(code) or _OTHERWISE  # type: ignore[call-overload]
    unknown = reason if reason and reason not in _REASONS else ""
    sentence = f"the stream was closed: {end.sentence}" + (f" ({unknown})" if unknown else "")
    return StreamClosed(
        sentence, reason=reason or ("lost" if code == LOST else str(code)), code=end.code, hint=end.hint
    )


def ended_by(refusal: CMDOPError) -> StreamClosed:
    """Return the exception for an open stream that the relay refused to carry on."""
    return StreamClosed(
        f"the stream was closed: {refusal.message}", reason=refusal.code, code=refusal.code, hint=refusal.hint
    )


def not_resumed(failure: CMDOPError) -> StreamClosed:
    """Return the exception for an open stream that was lost and could not be taken up again because of ``failure``."""
    return StreamClosed(
        f"the connection was lost and could not be resumed: {failure.message}",
        reason=str(failure.details.get("reason", failure.code)),
        code=failure.code,
        hint=failure.hint,
    )
