"""Time travel for what has an end, called inside ``tests.backstage``: what no surface offers. Each finds its row."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Model
from django.utils import timezone

from cmdop_server.credentials.models import DeviceGrant, Key, SignIn, SignInToken, Token
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.sessions.models import Ticket
from cmdop_wire.frames import LIMITS


def _move(kind: type[Model], where: dict[str, Any], **moments: datetime) -> None:
    assert kind._default_manager.filter(**where).update(**moments) == 1, f"there is no {kind.__name__} to move"


def key_ends_in(key: str, seconds: float) -> float:
    """Move a key's end; return when it is, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    _move(Key, {"public_id": key}, expires_at=ends)
    return ends.timestamp()


def key_unused_since(key: str, days: float) -> None:
    """Pretend that a key was made and last used so long ago."""
    then = timezone.now() - timedelta(days=days)
    _move(Key, {"public_id": key}, created_at=then, last_used_at=then)


def sign_in_ends_in(sign_in: str, seconds: float) -> float:
    """Move a sign-in's absolute end; return when it is, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    _move(SignIn, {"public_id": sign_in}, expires_at=ends)
    return ends.timestamp()


def token_ends_in(token: str, seconds: float) -> float:
    """Move an access token's end; return when it is, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    _move(Token, {"secret_hash": keyed_hash(token), "kind": "access"}, expires_at=ends)
    return ends.timestamp()


def rotated_ago(token: str, seconds: float) -> None:
    """Pretend that a refresh token was replaced so long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    _move(Token, {"secret_hash": keyed_hash(token), "rotated_at__isnull": False}, rotated_at=then)


def device_ends_in(device_code: str, seconds: float) -> None:
    """Move a device grant's end."""
    ends = timezone.now() + timedelta(seconds=seconds)
    _move(DeviceGrant, {"device_hash": keyed_hash(device_code)}, expires_at=ends)


def device_polled_ago(device_code: str, seconds: float) -> None:
    """Pretend that the last poll was so long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    _move(DeviceGrant, {"device_hash": keyed_hash(device_code)}, polled_at=then)


def one_time_token_ends_in(token: str, seconds: float) -> None:
    """Move a one-time token's end."""
    ends = timezone.now() + timedelta(seconds=seconds)
    _move(SignInToken, {"secret_hash": keyed_hash(token)}, expires_at=ends)


def ticket_is_late_in(ticket: str, seconds: float) -> float:
    """Pretend that the token which asked for a ticket ended almost a minute ago; return when a minute is over."""
    late = timezone.now() + timedelta(seconds=seconds)
    ended = late - timedelta(seconds=LIMITS.reauth)
    _move(Ticket, {"secret_hash": keyed_hash(ticket)}, credential_expires_at=ended)
    return late.timestamp()
