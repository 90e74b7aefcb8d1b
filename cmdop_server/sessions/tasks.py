"""Which tickets are past their time, for the purge. Sessions are history and stay."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from cmdop_server.sessions.models import Ticket
from cmdop_server.sessions.tickets import LIFE


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return the rows that nothing asks for any more."""
    return {"tickets": Ticket.objects.filter(expires_at__lt=now - LIFE)}
