"""Rows that no surface shows or changes, for ``Server.backstage``: switching an account off, counting tokens."""

from cmdop_server.accounts.models import Account
from cmdop_server.credentials.models import Token, TokenFamily


def deactivate(account: str) -> None:
    """Switch an account off."""
    assert Account.objects.filter(public_id=account).update(is_active=False) == 1


def refresh_tokens(family: str) -> int:
    """Count the refresh tokens of a family that were never replaced."""
    return Token.objects.filter(family__public_id=family, kind="refresh", successor=None).count()


def live_families(account: str, workspace: str) -> int:
    """Count somebody's live token families in a workspace."""
    return TokenFamily.objects.filter(
        sign_in__account__public_id=account, workspace__public_id=workspace, revoked_at=None
    ).count()
