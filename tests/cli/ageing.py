"""Time travel for keys and events, called inside ``tests.backstage``: what no surface offers."""

from datetime import timedelta

from django.utils import timezone

from cmdop_server.credentials.models import Key
from cmdop_server.workspaces.services import update_workspace
from tests.casting import person


def age_key(key: str, days: int) -> None:
    """Move the creation of a key into the past."""
    assert Key.objects.filter(public_id=key).update(created_at=timezone.now() - timedelta(days=days)) == 1


def keep_busy(account: str, workspace: str, times: int) -> None:
    """Change a workspace's description so often, an event each."""
    for number in range(times):
        update_workspace(person(account), workspace, description=f"change {number}")
