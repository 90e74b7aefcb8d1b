"""What machines do when a lower app announces a change; each runs inside the announcing transaction."""

from django.utils import timezone

from cmdop_server.access.effects import MemberRemoved
from cmdop_server.machines.models import JoinToken


def revoke_join_tokens(effect: MemberRemoved) -> None:
    """Revoke the unredeemed join tokens that a former member made: adding the person again revives nothing (D-17).

    The event is ``member.removed``.
    """
    JoinToken.objects.filter(
        workspace__public_id=effect.workspace_id,
        creator_account=effect.account_id,
        redeemed_at=None,
        revoked_at=None,
    ).update(revoked_at=timezone.now())
