"""What a door or service may refuse with. Data only: ``api/errors.py`` turns it into an answer."""

from typing import Any

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import remedy
from cmdop_wire.vocab import AccountAction, Action, ErrorCode


class Refused(Exception):
    """A domain refusal: a code of the vocabulary, a sentence, a hint that can be acted on, and details."""

    def __init__(self, code: ErrorCode, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details


class NotFound(Refused):
    """The object does not exist for this actor; the same answer whether it exists for others (D-9).

    ``workspace`` is the slug of the one that was looked in, for an actor who may look there.
    """

    def __init__(self, what: str = "object", *, workspace: str = "") -> None:
        where = {"workspace": workspace} if workspace else {}
        super().__init__(ErrorCode.NOT_FOUND, f"no such {what}", kind=what, **where)


class Forbidden(Refused):
    """The actor sees the object but lacks the right; the outermost frame audits it, coalesced (D-30).

    Without a hint it says what would give the right: a key with the scope, or another role.
    """

    def __init__(
        self,
        actor: Actor,
        action: Action | AccountAction,
        workspace_id: str,
        reason: str,
        target: str = "",
        *,
        hint: str = "",
    ) -> None:
        super().__init__(
            ErrorCode.FORBIDDEN, f"not allowed: {reason}", hint=hint or remedy(actor, action), action=str(action)
        )
        self.actor = actor
        self.action = action
        self.workspace_id = workspace_id
        self.reason = reason
        self.target = target


class Conflict(Refused):
    """The change contradicts what is there: taken name, limit, last owner …"""

    def __init__(self, message: str, *, code: ErrorCode = ErrorCode.CONFLICT, hint: str = "", **details: Any) -> None:
        super().__init__(code, message, hint=hint, **details)


class Invalid(Refused):
    """The input is well-formed but means nothing acceptable."""

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(ErrorCode.INVALID, message, hint=hint, **({"field": field} if field else {}))


class Unauthenticated(Refused):
    """No usable credential; never says which part of it was wrong."""

    def __init__(self, message: str = "no usable credential", *, hint: str = "") -> None:
        super().__init__(ErrorCode.UNAUTHENTICATED, message, hint=hint)


class GrantRefused(Refused):
    """An answer of the device grant or refresh in RFC 8628 and RFC 6749 vocabulary (HTTP 400)."""
