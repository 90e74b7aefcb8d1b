"""Reading keys and sign-ins: what an actor may see of them, actor first. Querysets come newest first."""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Max, Prefetch, Q, QuerySet
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Forbidden, NotFound
from cmdop_server.access.policy import Facts, authorized_actions, decide
from cmdop_server.credentials.models import Key, SignIn, TokenFamily
from cmdop_server.workspaces.queries import Seen, workspace_for
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import AccountAction, Action, KeyKind, KeyState, Reach

CAPS = {KeyKind.PERSONAL: 10, KeyKind.WORKSPACE: 100}  # live keys, per member and per workspace (D-12)


def in_state(state: KeyState, now: datetime) -> Q:
    """Return the condition that a key is in ``state`` at ``now``; ``state_of`` says the same of one row."""
    if state is KeyState.REVOKED:
        return Q(revoked_at__isnull=False)
    expired = Q(revoked_at=None, expires_at__lte=now)
    return expired if state is KeyState.EXPIRED else Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


def state_of(key: Key, now: datetime) -> KeyState:
    """Return whether a key is live, expired or revoked at ``now``."""
    if key.revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if key.expires_at is not None and key.expires_at <= now else KeyState.LIVE


def is_own(actor: Actor, key: Key) -> bool:
    """Tell whether the actor owns this personal key."""
    return key.owner is not None and key.owner.public_id == actor.account_id


def keys_for(
    actor: Actor,
    ref: str,
    *,
    everyone: bool = False,
    state: KeyState | None = None,
    unused_days: int | None = None,
) -> tuple[Seen, QuerySet[Key]]:
    """Return the workspace and those of its keys the actor asked for and may see.

    Own personal keys, and the workspace's keys for who may list all; ``everyone`` adds the other members' and needs
    ``key.list_all``. A workspace key owns nothing, so it is shown all. ``unused_days`` keeps keys that were not used
    for so long, counted from their creation if never.
    """
    everyone = everyone or actor.kind is ActorKind.WORKSPACE_KEY
    seen = workspace_for(actor, ref, Action.KEY_LIST_ALL if everyone else Action.KEY_LIST_OWN)
    rows = _visible(actor, seen) if not everyone else _keys(seen)
    now = timezone.now()
    if state is not None:
        rows = rows.filter(in_state(state, now))
    if unused_days is not None:
        since = now - timedelta(days=unused_days)
        rows = rows.filter(Q(last_used_at__lt=since) | Q(last_used_at=None, created_at__lt=since))
    return seen, rows


def key_for(actor: Actor, ref: str, key_id: str) -> tuple[Seen, Key]:
    """Return the workspace and one key that the actor may see in it, by its id; anything else is ``NotFound``."""
    seen = workspace_for(actor, ref, Action.KEY_LIST_OWN)
    return seen, visible_key(actor, seen.workspace.pk, seen.facts, key_id)


def visible_key(actor: Actor, workspace_pk: int, facts: Facts, key_id: str) -> Key:
    """Return a key of this workspace if the actor may see it: their own, or any with ``key.list_all`` (D-9)."""
    if is_id(key_id, "key"):
        key = Key.objects.select_related("owner").filter(workspace=workspace_pk, public_id=key_id).first()
        if key is not None and (is_own(actor, key) or decide(actor, Action.KEY_LIST_ALL, facts).allowed):
            return key
    raise NotFound("key")


def key_actions(actor: Actor, facts: Facts, key: Key) -> list[Action]:
    """Return what the actor may do to this key."""
    revoke = Action.KEY_REVOKE_OWN if is_own(actor, key) else Action.KEY_REVOKE_ANY
    return authorized_actions(actor, facts, frozenset({revoke}))


class KeyUse(NamedTuple):
    """How many live keys share a cap, and the cap."""

    used: int
    limit: int


def key_usage(actor: Actor, seen: Seen) -> dict[KeyKind, KeyUse]:
    """Return how much of each cap is used: the workspace's, and the actor's own for personal keys (D-12)."""
    now = timezone.now()
    return {
        kind: KeyUse(live_keys(seen.workspace.pk, kind, actor.account_id, now).count(), cap)
        for kind, cap in CAPS.items()
    }


def live_keys(workspace_pk: int, kind: KeyKind, owner_id: str | None, now: datetime) -> QuerySet[Key]:
    """Return the live keys that share one cap and one set of names (D-12)."""
    rows = Key.objects.filter(in_state(KeyState.LIVE, now), workspace=workspace_pk, kind=kind)
    if kind is KeyKind.WORKSPACE:
        return rows
    return rows.filter(owner__public_id=owner_id) if owner_id is not None else rows.none()


def _keys(seen: Seen) -> QuerySet[Key]:
    return Key.objects.filter(workspace=seen.workspace.pk).select_related("owner").order_by("-pk")


def _visible(actor: Actor, seen: Seen) -> QuerySet[Key]:
    shown = Q(owner__public_id=actor.account_id)
    if decide(actor, Action.KEY_LIST_ALL, seen.facts).allowed:
        shown |= Q(kind=KeyKind.WORKSPACE)
    return _keys(seen).filter(shown)


def require_person(actor: Actor, action: AccountAction) -> None:
    """Raise ``Forbidden`` when a key asks for what only its owner in person may do (D-13)."""
    if actor.kind is not ActorKind.ACCOUNT:
        raise Forbidden(actor, action, actor.workspace_id or "", f"{action} is closed to keys")


def sign_ins_of(actor: Actor) -> QuerySet[SignIn]:
    """Return the live sign-ins of the actor's account, each ready for ``seen``.

    A sign-in for one workspace sees itself only: the others would name workspaces it may not know of (D-16).
    """
    require_person(actor, AccountAction.ACCOUNT_EDIT)
    live = TokenFamily.objects.filter(revoked_at=None).select_related("workspace").order_by("workspace__slug", "pk")
    rows = SignIn.objects.filter(
        account__public_id=actor.account_id, ended_at=None, expires_at__gt=timezone.now()
    ).order_by("-pk")
    if actor.reach is Reach.WORKSPACE:
        rows = rows.filter(public_id=actor.sign_in_id)
    return rows.annotate(used_at=Max("families__tokens__used_at")).prefetch_related(
        Prefetch("families", queryset=live, to_attr="live_families")
    )


class SignInSeen(NamedTuple):
    """A sign-in, when one of its tokens was last used, and the slugs of the workspaces that were entered with it."""

    sign_in: SignIn
    last_used_at: datetime | None
    slugs: list[str]


def seen(sign_in: SignIn) -> SignInSeen:
    """Return what ``sign_ins_of`` filled in on a row of its own."""
    families: list[TokenFamily] = sign_in.live_families  # type: ignore[attr-defined] # prefetched in sign_ins_of
    used_at: datetime | None = sign_in.used_at  # type: ignore[attr-defined] # annotated in sign_ins_of
    return SignInSeen(sign_in, used_at, sorted({family.workspace.slug for family in families}))


def sign_in_for(actor: Actor, sign_in_id: str) -> SignIn:
    """Return one live sign-in of the actor's own by its id, or raise ``NotFound``."""
    rows = sign_ins_of(actor)
    sign_in = rows.filter(public_id=sign_in_id).first() if is_id(sign_in_id, "sign_in") else None
    if sign_in is None:
        raise NotFound("sign-in")
    return sign_in


def families_of(actor: Actor) -> QuerySet[TokenFamily]:
    """Return the live token families of the actor's account, narrowed like ``sign_ins_of``."""
    require_person(actor, AccountAction.ACCOUNT_EDIT)
    rows = TokenFamily.objects.filter(
        sign_in__account__public_id=actor.account_id,
        revoked_at=None,
        sign_in__ended_at=None,
        sign_in__expires_at__gt=timezone.now(),
    )
    if actor.reach is Reach.WORKSPACE:
        rows = rows.filter(sign_in__public_id=actor.sign_in_id)
    return rows.select_related("sign_in", "workspace").order_by("-pk")
