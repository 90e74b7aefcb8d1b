"""What of the log's bookkeeping is past its time, for the purge. Events are not: retention decides on them."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from cmdop_server.audit.models import Denial


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return the rows that nothing asks for any more: denials are counted by the minute."""
    return {"denials": Denial.objects.filter(minute__lt=now - timedelta(hours=1))}
