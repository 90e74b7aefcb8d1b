"""What tests of the SDK ask of the server from behind, run by ``tests.backstage``."""

from cmdop_server.credentials import sign_ins
from cmdop_server.credentials.models import Token
from cmdop_wire.vocab import Reach
from tests.casting import person


def approve(account: str, user_code: str, workspace: str) -> str:
    """Approve a pending device as ``account``, for one workspace."""
    sign_ins.approve_device(person(account), user_code, workspace, Reach.WORKSPACE)
    return "approved"


def rotations(family: str) -> int:
    """Return how often the refresh token of ``family`` was replaced."""
    return Token.objects.filter(family__public_id=family, kind="refresh", successor__isnull=False).count()
