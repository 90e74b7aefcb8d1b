"""What no page offers and a test of the pages needs, called inside ``tests.backstage``."""

from datetime import timedelta

from django.utils import timezone

from cmdop_server.accounts.queries import account_by_id
from cmdop_server.credentials.models import DeviceGrant
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.workspaces.members import add_member, remove_member
from cmdop_server.workspaces.services import update_workspace
from cmdop_wire.vocab import Role
from tests.casting import person


def expire_code(user_code: str) -> None:
    """Make a user code as old as it must be to be worthless."""
    past = timezone.now() - timedelta(seconds=1)
    assert DeviceGrant.objects.filter(user_hash=keyed_hash(user_code)).update(expires_at=past) == 1


def rename(account: str, workspace: str, name: str) -> None:
    """Give a workspace another name."""
    update_workspace(person(account), workspace, name=name)


def add(account: str, workspace: str, newcomer: str, role: str) -> None:
    """Make somebody a member."""
    them = account_by_id(newcomer)
    assert them is not None
    add_member(person(account), workspace, them, Role(role))


def remove(account: str, workspace: str, leaver: str) -> None:
    """Remove a member."""
    remove_member(person(account), workspace, leaver)
