"""How keys, token families, sign-ins and grants end: rows, events, announcements. Who may do it is decided elsewhere.

Everybody locks in this order, so that nobody waits in a circle: the account (who changes it), a workspace's row, device
grants, one-time tokens, families, and the logs last, in the order of their workspaces' ids.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, QuerySet

from cmdop_server.access.actor import Actor
from cmdop_server.access.effects import CredentialRevoked, announce
from cmdop_server.audit.services import append, lock_chains
from cmdop_server.credentials.models import DeviceGrant, Key, SignIn, SignInToken, TokenFamily
from cmdop_server.credentials.queries import in_state
from cmdop_wire.vocab import KeyState

if TYPE_CHECKING:
    from cmdop_server.workspaces.models import Workspace


def end_families(
    actor: Actor,
    families: Iterable[TokenFamily],
    *,
    cause: str,
    now: datetime,
    with_events: bool = True,
    told_in: Iterable[str] = (),
) -> None:
    """End live families, and each sign-in that has none left, inside the caller's transaction.

    Each workspace gets one event for each sign-in, unless the caller's own event tells of it (D-17). ``told_in`` are
    further workspaces in which the caller will tell of it.
    """
    pks = [family.pk for family in families]
    live = (
        TokenFamily.objects.select_for_update(of=("self",))
        .select_related("sign_in", "workspace")
        .filter(pk__in=pks, revoked_at=None)
        .order_by("workspace__public_id", "sign_in_id", "pk")
    )
    found = list(live)
    if with_events:
        lock_chains({*(family.workspace.public_id for family in found), *told_in})
    for (workspace_id, _), together in groupby(found, lambda each: (each.workspace.public_id, each.sign_in_id)):
        ended = list(together)
        TokenFamily.objects.filter(pk__in=[family.pk for family in ended]).update(revoked_at=now, revoked_because=cause)
        if with_events:
            _record(actor, workspace_id, ended, cause)
        for family in ended:
            announce(CredentialRevoked(actor, workspace_id, family.public_id, cause))
    _close_empty(actor, pks, cause, now)


def end_sign_ins(
    actor: Actor, sign_ins: Iterable[SignIn], *, cause: str, now: datetime, told_in: Iterable[str] = ()
) -> None:
    """End sign-ins with all their families, inside the caller's transaction; ``told_in`` as in ``end_families``."""
    pks = [sign_in.pk for sign_in in sign_ins]
    families = TokenFamily.objects.filter(sign_in__in=pks, revoked_at=None)
    end_families(actor, families, cause=cause, now=now, told_in=told_in)
    _close(actor, SignIn.objects.filter(pk__in=pks).order_by("pk"), cause, now)


def deny_grants(grants: QuerySet[DeviceGrant], *, now: datetime) -> None:
    """Deny the device grants among these that nobody has redeemed, inside the caller's transaction."""
    pks = grants.filter(redeemed_at=None).select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True)
    DeviceGrant.objects.filter(pk__in=list(pks)).update(denied_at=now)


def expire_tokens(tokens: QuerySet[SignInToken], *, now: datetime) -> None:
    """End the one-time sign-in tokens among these that nobody has redeemed, inside the caller's transaction."""
    pks = tokens.filter(redeemed_at=None).select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True)
    SignInToken.objects.filter(pk__in=list(pks)).update(expires_at=now)


def revoke_keys(actor: Actor, workspace_id: str, keys: QuerySet[Key], *, cause: str, now: datetime) -> int:
    """Revoke those of these keys of one workspace that are not revoked, in the caller's transaction; return how many.

    The caller holds the workspace's lock and records the event.
    """
    living = keys.filter(revoked_at=None)
    ids = list(living.values_list("public_id", flat=True))
    living.update(revoked_at=now)
    for key_id in ids:
        announce(CredentialRevoked(actor, workspace_id, key_id, cause))
    return len(ids)


def end_everything_in(actor: Actor, workspace: "Workspace", *, cause: str, now: datetime) -> dict[str, int]:
    """End all keys, families and pending grants of a workspace whose lock the caller holds; return what was live.

    The caller's own event tells of it.
    """
    deny_grants(DeviceGrant.objects.filter(workspace=workspace), now=now)
    live = Key.objects.filter(in_state(KeyState.LIVE, now), workspace=workspace).count()
    revoke_keys(actor, workspace.public_id, Key.objects.filter(workspace=workspace), cause=cause, now=now)
    families = TokenFamily.objects.filter(workspace=workspace, revoked_at=None)
    sign_ins = families.filter(sign_in__ended_at=None, sign_in__expires_at__gt=now).count()
    end_families(actor, families, cause=cause, now=now, with_events=False)
    return {"keys": live, "sign_ins": sign_ins}


def end_everything(actor: Actor, *, cause: str, now: datetime) -> None:
    """End the grants that nobody has decided on yet, the one-time tokens, and sign-ins without a family, if any."""
    deny_grants(DeviceGrant.objects.all(), now=now)
    expire_tokens(SignInToken.objects.all(), now=now)
    _close(actor, SignIn.objects.filter(ended_at=None).order_by("pk"), cause, now)


def _close_empty(actor: Actor, family_pks: list[int], cause: str, now: datetime) -> None:
    alive = TokenFamily.objects.filter(sign_in=OuterRef("pk"), revoked_at=None)
    _close(actor, SignIn.objects.filter(~Exists(alive), families__in=family_pks).distinct(), cause, now)


def _close(actor: Actor, sign_ins: Iterable[SignIn], cause: str, now: datetime) -> None:
    for sign_in in list(sign_ins):
        if SignIn.objects.filter(pk=sign_in.pk, ended_at=None).update(ended_at=now, ended_because=cause):
            announce(CredentialRevoked(actor, None, sign_in.public_id, cause))


def _record(actor: Actor, workspace_id: str, families: list[TokenFamily], cause: str) -> None:
    sign_in = families[0].sign_in
    append(
        actor,
        workspace_id=workspace_id,
        action="sign_in.ended",
        target_type="sign_in",
        target_id=sign_in.public_id,
        target_label=sign_in.client,
        changes={"cause": cause, "families": [family.public_id for family in families]},
    )
