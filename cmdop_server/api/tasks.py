"""Which remembered answers are past their time, for the purge."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from cmdop_server.api.idempotency import KEPT
from cmdop_server.api.models import IdempotencyRecord


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return the rows that nothing asks for any more."""
    return {"idempotency_records": IdempotencyRecord.objects.filter(created_at__lte=now - KEPT)}
