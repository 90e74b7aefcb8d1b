"""Time travel and counting for the tests of the purge, inside ``tests.backstage``."""

import time
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session as CabinetSession
from django.db.models import DateTimeField, F, Model
from django.utils import timezone

from cmdop_server.api.models import IdempotencyRecord
from cmdop_server.audit.models import Denial
from cmdop_server.credentials.models import DeviceGrant, Key, SignIn, SignInToken, Token, TokenFamily, WrongUserCode
from cmdop_server.sessions.models import Ticket
from tests.processes import STOP_SECONDS

KINDS: tuple[type[Model], ...] = (
    Token,
    TokenFamily,
    SignIn,
    SignInToken,
    DeviceGrant,
    WrongUserCode,
    Denial,
    Ticket,
    IdempotencyRecord,
    CabinetSession,
    Key,
)


def age(hours: float) -> None:
    """Let so many hours pass for everything that has an end."""
    for kind in KINDS:
        moments = [each.attname for each in kind._meta.get_fields() if isinstance(each, DateTimeField)]
        kind._default_manager.update(**{name: F(name) - timedelta(hours=hours) for name in moments})


def counts() -> dict[str, int]:
    """Return how many rows there are of each kind."""
    return {kind.__name__: kind._default_manager.count() for kind in KINDS}


def multiply_grants(number: int) -> None:
    """Add so many device grants that have long expired."""
    then = timezone.now() - timedelta(days=1)
    DeviceGrant.objects.bulk_create(
        DeviceGrant(
            device_hash=f"d{each}", user_hash=f"u{each}", client="x", address="", created_at=then, expires_at=then
        )
        for each in range(number)
    )


def purge_in_background() -> dict[str, Any]:
    """Do in this process what a serving one does once an hour, now; return what is left."""
    from cmdop_server import purging

    until = time.monotonic() + STOP_SECONDS
    with purging.in_background(first=0.0):
        while any(purging.count().values()) and time.monotonic() < until:
            time.sleep(0.05)
    return purging.count()
