"""``Idempotency-Key``: one effect and one answer, however often the same request arrives within 24 hours.

The record is claimed and filled in the transaction of the effect. Parallel equal requests wait at the unique index
(PostgreSQL) or for the writer's turn (SQLite). If the first fails, its record goes with it: a failure poisons nothing.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from ninja import Status
from ninja.responses import NinjaJSONEncoder

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Refused
from cmdop_server.api.models import IdempotencyRecord
from cmdop_server.api.schemas.common import Answer
from cmdop_wire.vocab import ErrorCode

HEADER = "Idempotency-Key"
KEY_LENGTH = 255
KEPT = timedelta(hours=24)
_SECRETS = ("secret", "credential")  # fields of answers that hold one, shown exactly once


def once(
    request: HttpRequest,
    actor: Actor,
    status: int,
    act: Callable[[], Answer],
    still_allowed: Callable[[dict[str, Any]], None],
) -> Status[Answer] | HttpResponse:
    """Return what ``act`` answers, or the remembered answer without its secret if this request was answered before.

    The key counts for this caller, workspace and reach of their credential, method and path only. ``still_allowed``
    asks the door again before a replay of the answer it gets. Another body under the same key is
    ``idempotency_mismatch``.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return Status(status, act())
    if not 1 <= len(key) <= KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Refused(ErrorCode.MALFORMED, f"an {HEADER} has 1 to {KEY_LENGTH} printable ASCII characters")
    scope = _hash([actor.id, actor.workspace_id, actor.reach, request.method, request.path, key])
    wanted = _hash(json.loads(request.body or b"null"))
    with transaction.atomic():
        record, is_new = _claimed(scope, wanted, timezone.now())
        if is_new:
            answer = act()
            record.status, record.body = status, _without_secret(answer)
            record.save(update_fields=["status", "body"])
            return Status(status, answer)
    if record.request_hash != wanted:
        raise Refused(ErrorCode.IDEMPOTENCY_MISMATCH, f"this {HEADER} was used for another request")
    still_allowed(record.body)
    return JsonResponse(record.body, status=record.status, headers={"Idempotent-Replayed": "true"})


def _claimed(scope: str, wanted: str, now: datetime) -> tuple[IdempotencyRecord, bool]:
    """Return the record of this scope and whether it was made now, inside the caller's transaction."""
    IdempotencyRecord.objects.filter(scope=scope, created_at__lte=now - KEPT).delete()
    try:
        with transaction.atomic():
            record = IdempotencyRecord.objects.create(scope=scope, request_hash=wanted, created_at=now)
    except IntegrityError:
        return IdempotencyRecord.objects.get(scope=scope), False
    return record, True


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _without_secret(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(answer.model_dump(), cls=NinjaJSONEncoder))
    return body | {name: None for name in _SECRETS if name in body}
