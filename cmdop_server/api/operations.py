"""How an operation is declared: its action, its scope, its answers, and whether it may be repeated safely."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from ninja.constants import NOT_SET
from pydantic_core import PydanticSerializationError

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import scope_for
from cmdop_server.api.auth import actor_of
from cmdop_server.api.idempotency import HEADER, KEY_LENGTH, once
from cmdop_server.api.schemas.common import Answer, ErrorEnvelope
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.vocab import AccountAction, Action

View = Callable[..., Any]

_ALWAYS = (400, 405, 413, 415, 422, 429, 500, 503)
_WITH_CREDENTIAL = (401, 403, 404, 409)
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "makes repeating this request safe for 24 hours; a replay answers without the secret",
    "schema": {"type": "string", "pattern": "^[ -~]+$", "maxLength": KEY_LENGTH},
}


def operation(
    router: Router,
    method: str,
    path: str,
    *,
    action: Action | AccountAction,
    answers: Any,
    status: int = 200,
    also: Sequence[Action] = (),
    creates: bool = False,
    seen_again: Callable[[Actor, str, dict[str, Any]], object] | None = None,
    refusals: Sequence[int] = (),
    auth: Any = NOT_SET,
) -> Callable[[View], View]:
    """Register a view under ``method`` and ``path``; its name is the operation's id, its docstring the description.

    ``action`` is what the caller must be allowed; ``also`` lists actions that are asked for instead in cases the
    docstring names. ``creates`` honours ``Idempotency-Key``; ``seen_again`` raises when the caller may no longer see
    what a replay in that workspace would show. ``answers`` is the schema of success, ``None`` for 204; ``refusals`` are
    statuses that a public operation answers with beyond those of every operation; ``auth`` is what is accepted instead
    of a bearer credential.
    """
    is_public = action is AccountAction.PUBLIC
    statuses = (*_ALWAYS, *(refusals if is_public else _WITH_CREDENTIAL))
    extra: dict[str, Any] = {
        "x-cmdop-action": str(action),
        "x-cmdop-scope": _scope(action),
        **({"x-cmdop-also": [str(other) for other in also]} if also else {}),
        **({"parameters": [_IDEMPOTENCY_KEY]} if creates else {}),
    }

    def declare(view: View) -> View:
        @wraps(view)
        def run(request: HttpRequest, **given: Any) -> Any:
            if not creates:
                answer = view(request, **given)
                return Status(status, None) if answer is None else _told(status, answer)
            actor = actor_of(request)

            def still_allowed(answered: dict[str, Any]) -> None:
                ref = given.get("ws", actor.workspace_id or "")
                if isinstance(action, Action):
                    workspace_for(actor, ref, action)
                if seen_again is not None:
                    seen_again(actor, ref, answered)

            return once(request, actor, status, lambda: view(request, **given), still_allowed)

        registered: View = router.api_operation(
            [method],
            path,
            auth=None if is_public else auth,
            response={status: answers, frozenset(statuses): ErrorEnvelope},
            operation_id=view.__name__,
            summary=view.__name__.replace("_", " ").capitalize(),
            openapi_extra=extra,
        )(run)
        return registered

    return declare


def _told(status: int, answer: Answer | HttpResponse) -> Status[Answer] | HttpResponse:
    """Return the response of an operation whose answer was made by its own schema: nothing is left to validate."""
    if isinstance(answer, HttpResponse):
        return answer
    try:
        content = answer.model_dump_json()
    except PydanticSerializationError:  # half a surrogate pair, which only JSON's escapes can say
        return Status(status, answer)
    return HttpResponse(content, status=status, content_type="application/json; charset=utf-8")


def _scope(action: Action | AccountAction) -> str | None:
    scope = scope_for(action) if isinstance(action, Action) else None
    return None if scope is None else str(scope)
