"""What credentials do when a lower app announces a change; each runs inside the announcing transaction."""

from django.db.models import Q
from django.utils import timezone

from cmdop_server.access.effects import MemberRemoved, PasswordChanged
from cmdop_server.credentials.endings import deny_grants, end_families, end_sign_ins, expire_tokens, revoke_keys
from cmdop_server.credentials.models import DeviceGrant, Key, SignIn, SignInToken, TokenFamily
from cmdop_server.workspaces.queries import personal_workspace_of


def end_what_the_member_held(effect: MemberRemoved) -> None:
    """End personal keys, token families and unredeemed approvals of a former member, for ever (D-17).

    Keys are revoked rather than hidden, so adding the person again revives nothing. The event is ``member.removed``.
    """
    now = timezone.now()
    held = {"workspace__public_id": effect.workspace_id}
    deny_grants(DeviceGrant.objects.filter(**held, account__public_id=effect.account_id), now=now)
    keys = Key.objects.filter(**held, owner__public_id=effect.account_id)
    revoke_keys(effect.actor, effect.workspace_id, keys, cause="member_removed", now=now)
    families = TokenFamily.objects.filter(**held, sign_in__account__public_id=effect.account_id, revoked_at=None)
    end_families(effect.actor, families, cause="member_removed", now=now, with_events=False)


def end_other_sign_ins(effect: PasswordChanged) -> None:
    """End the account's sign-ins but the one that changed the password, and what could become one (D-16).

    Cabinet sessions end by themselves: Django ties them to the password's hash.
    """
    now = timezone.now()
    theirs = Q(account__public_id=effect.account_id)
    deny_grants(DeviceGrant.objects.filter(theirs), now=now)
    expire_tokens(SignInToken.objects.filter(theirs), now=now)
    sign_ins = SignIn.objects.filter(theirs, ended_at=None).exclude(public_id=effect.keep_sign_in_id or "")
    personal = personal_workspace_of(effect.account_id)
    told_in = [personal.public_id] if personal is not None else []
    end_sign_ins(effect.actor, sign_ins, cause="password_changed", now=now, told_in=told_in)
