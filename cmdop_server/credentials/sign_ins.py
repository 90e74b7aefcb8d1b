"""Sign-ins: the operator's one-time token, logging out, and the doors to devices and tokens beside this file."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import NotFound
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.credentials.devices import (
    DEVICE_LIFE,
    PendingDevice,
    StartedDevice,
    approve_device,
    deny_device,
    pending_device,
    printable,
    redeem_device,
    start_device,
)
from cmdop_server.credentials.endings import end_families, end_sign_ins
from cmdop_server.credentials.models import SignInToken, TokenFamily
from cmdop_server.credentials.queries import sign_in_for
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.credentials.tokens import Pair, actor_of, begin_sign_in, exchange, invalid_grant, refresh
from cmdop_server.workspaces.changes import changing
from cmdop_server.workspaces.queries import personal_workspace_of
from cmdop_wire.ids import make_token, token_kind
from cmdop_wire.vocab import Action, Reach

__all__ = [
    "DEVICE_LIFE",
    "Pair",
    "PendingDevice",
    "StartedDevice",
    "approve_device",
    "deny_device",
    "end_sign_in",
    "exchange",
    "make_sign_in_token",
    "pending_device",
    "redeem_device",
    "redeem_sign_in_token",
    "refresh",
    "revoke_token",
    "start_device",
]

SIGN_IN_TOKEN_LIFE = timedelta(minutes=10)


def make_sign_in_token(account_id: str) -> str:
    """Return a new one-time sign-in token of an account, good for ten minutes; for the operator on the host (D-16)."""
    account = account_by_id(account_id)
    if account is None:
        raise NotFound("account")
    text, now = make_token("sign_in"), timezone.now()
    SignInToken.objects.create(
        secret_hash=keyed_hash(text), account=account, created_at=now, expires_at=now + SIGN_IN_TOKEN_LIFE
    )
    return text


def redeem_sign_in_token(text: str, workspace_ref: str | None, client: str, *, address: str, request_id: str) -> Pair:
    """Turn a one-time token into a sign-in for all workspaces, with a pair for ``workspace_ref`` or the personal one.

    ``invalid_grant`` when it is unknown, used or expired. A workspace the account is no member of is ``NotFound``,
    and the token can be tried again.
    """
    now = timezone.now()
    live = SignInToken.objects.select_related("account").filter(
        secret_hash=keyed_hash(text), redeemed_at=None, expires_at__gt=now, account__is_active=True
    )
    token = live.first() if token_kind(text) == "sign_in" else None
    if token is None:
        raise invalid_grant()
    actor = Actor(
        kind=ActorKind.ACCOUNT,
        account_id=token.account.public_id,
        label=token.account.email,
        address=address,
        request_id=request_id,
    )
    with changing(actor, workspace_ref or _default_workspace(actor), Action.WORKSPACE_VIEW) as change:
        # By its own row alone: PostgreSQL would not look at a joined condition again after waiting for the row.
        taken = SignInToken.objects.filter(pk=token.pk, redeemed_at=None, expires_at__gt=now).update(redeemed_at=now)
        if not taken or change.role is None:
            raise invalid_grant()
        return begin_sign_in(
            change,
            token.account,
            change.role,
            reach=Reach.ALL,
            client=printable(client),
            address=address,
            now=now,
        )


def end_sign_in(actor: Actor, sign_in_id: str) -> None:
    """End one of the actor's own sign-ins with everything that grew from it; one that is not theirs is unknown."""
    with transaction.atomic():
        end_sign_ins(actor, [sign_in_for(actor, sign_in_id)], cause="signed_out", now=timezone.now())


def revoke_token(text: str, *, all_of_it: bool = False, address: str, request_id: str) -> None:
    """End the family of an access or refresh token, or with ``all_of_it`` its whole sign-in; unknown is no error.

    Whoever has the token may end it, also an expired or replaced one (RFC 7009).
    """
    if token_kind(text) not in ("access", "refresh"):
        return
    now = timezone.now()
    with transaction.atomic():
        family = (
            TokenFamily.objects.select_related("sign_in__account", "workspace")
            .filter(tokens__secret_hash=keyed_hash(text))
            .first()
        )
        if family is None:
            return
        actor = actor_of(family, address=address, request_id=request_id)
        if all_of_it:
            end_sign_ins(actor, [family.sign_in], cause="signed_out", now=now)
        else:
            end_families(actor, [family], cause="signed_out", now=now)


def _default_workspace(actor: Actor) -> str:
    workspace = personal_workspace_of(actor.account_id or "")
    if workspace is None:
        raise invalid_grant()
    return workspace.public_id
