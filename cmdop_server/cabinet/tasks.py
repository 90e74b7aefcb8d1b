"""Which cabinet sessions are past their time, for the purge."""

from datetime import datetime
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import QuerySet


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return the rows that nothing asks for any more."""
    return {"cabinet_sessions": Session.objects.filter(expire_date__lt=now)}
