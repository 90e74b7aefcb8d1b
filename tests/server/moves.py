"""What no surface offers, for ``Server.backstage``: moving rows in time, switching an account off, counting rows."""

from datetime import timedelta

from django.utils import timezone

from cmdop_server.accounts.models import Account
from cmdop_server.credentials.models import DeviceGrant, Key, SignIn, SignInToken, Token, TokenFamily
from cmdop_server.credentials.secrets import keyed_hash


def key_expires_in(key: str, seconds: float) -> int:
    """Move a key's end."""
    return Key.objects.filter(public_id=key).update(expires_at=timezone.now() + timedelta(seconds=seconds))


def key_unused_since(key: str, days: float) -> int:
    """Pretend that a key was made and last used so long ago."""
    then = timezone.now() - timedelta(days=days)
    return Key.objects.filter(public_id=key).update(created_at=then, last_used_at=then)


def token_expires_in(token: str, seconds: float) -> int:
    """Move an access or refresh token's end."""
    ends = timezone.now() + timedelta(seconds=seconds)
    return Token.objects.filter(secret_hash=keyed_hash(token)).update(expires_at=ends)


def rotated_ago(token: str, seconds: float) -> int:
    """Pretend that a refresh token was replaced so long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    return Token.objects.filter(secret_hash=keyed_hash(token), rotated_at__isnull=False).update(rotated_at=then)


def sign_in_expires_in(sign_in: str, seconds: float) -> int:
    """Move a sign-in's absolute end."""
    return SignIn.objects.filter(public_id=sign_in).update(expires_at=timezone.now() + timedelta(seconds=seconds))


def device_expires_in(device_code: str, seconds: float) -> int:
    """Move a device grant's end."""
    ends = timezone.now() + timedelta(seconds=seconds)
    return DeviceGrant.objects.filter(device_hash=keyed_hash(device_code)).update(expires_at=ends)


def device_polled_ago(device_code: str, seconds: float) -> int:
    """Pretend that the last poll was so long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    return DeviceGrant.objects.filter(device_hash=keyed_hash(device_code)).update(polled_at=then)


def one_time_token_expires_in(token: str, seconds: float) -> int:
    """Move a one-time token's end."""
    ends = timezone.now() + timedelta(seconds=seconds)
    return SignInToken.objects.filter(secret_hash=keyed_hash(token)).update(expires_at=ends)


def deactivate(account: str) -> int:
    """Switch an account off."""
    return Account.objects.filter(public_id=account).update(is_active=False)


def refresh_tokens(family: str) -> int:
    """Count the refresh tokens of a family that were never replaced."""
    return Token.objects.filter(family__public_id=family, kind="refresh", successor=None).count()


def live_families(account: str, workspace: str) -> int:
    """Count somebody's live token families in a workspace."""
    return TokenFamily.objects.filter(
        sign_in__account__public_id=account, workspace__public_id=workspace, revoked_at=None
    ).count()
