"""Time travel and passwords for the tests of revocation, called inside ``tests.backstage``: what no surface offers."""

from datetime import timedelta

from django.utils import timezone

from cmdop_server.access.actor import operator
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.accounts.services import change_password
from cmdop_server.credentials.models import Key, SignIn, Token
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.sessions.models import Ticket
from cmdop_wire.frames import LIMITS


def key_ends_in(key: str, seconds: float) -> float:
    """Let a key end soon; return when, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    assert Key.objects.filter(public_id=key).update(expires_at=ends) == 1
    return ends.timestamp()


def sign_in_ends_in(sign_in: str, seconds: float) -> float:
    """Let a sign-in reach its absolute end soon; return when, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    assert SignIn.objects.filter(public_id=sign_in).update(expires_at=ends) == 1
    return ends.timestamp()


def token_ends_in(token: str, seconds: float) -> float:
    """Let an access token end soon; return when, in Unix seconds."""
    ends = timezone.now() + timedelta(seconds=seconds)
    assert Token.objects.filter(secret_hash=keyed_hash(token), kind="access").update(expires_at=ends) == 1
    return ends.timestamp()


def ticket_is_late_in(ticket: str, seconds: float) -> float:
    """Pretend that the token which asked for a ticket ended almost a minute ago; return when a minute is over."""
    late = timezone.now() + timedelta(seconds=seconds)
    ended = late - timedelta(seconds=LIMITS.reauth)
    assert Ticket.objects.filter(secret_hash=keyed_hash(ticket)).update(credential_expires_at=ended) == 1
    return late.timestamp()


def give_password(account: str, password: str) -> None:
    """Give an account a password."""
    found = account_by_id(account)
    assert found is not None
    change_password(operator(), found, password)
