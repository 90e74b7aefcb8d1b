"""Making and revoking keys (D-11 … D-14). Reading them is in ``queries``."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.effects import CredentialRevoked, announce
from cmdop_server.access.errors import Conflict, Forbidden, Invalid
from cmdop_server.access.policy import ROLE_ACTIONS, decide
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.credentials.models import Key
from cmdop_server.credentials.queries import CAPS, is_own, live_keys, visible_key
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.workspaces.changes import Change, changing
from cmdop_wire.ids import make_key
from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, Action, ErrorCode, KeyKind, Scope

NAME_LENGTH = 80
SHORTEST_LIFE = 60  # seconds
LONGEST_LIFE = 10 * 366 * 86_400

_CREATE = {KeyKind.PERSONAL: Action.KEY_CREATE_PERSONAL, KeyKind.WORKSPACE: Action.KEY_CREATE_WORKSPACE}


def create_key(
    actor: Actor,
    ref: str,
    *,
    kind: KeyKind,
    name: str,
    scopes: Sequence[str] | None = None,
    expires_in: int | None = None,
) -> tuple[Change, Key, str]:
    """Make a key in the workspace and return it with its text, which is stored nowhere and never shown again.

    Without ``scopes`` it gets the defaults (D-13); ``expires_in`` is in seconds, from a minute to ten years.
    Refuses with ``Invalid``, ``Forbidden``, or ``Conflict`` for a taken name and a reached cap; the workspace is
    locked, so n free places give n successes however many ask at once (D-12).
    """
    name = _checked_name(name)
    wanted = _checked_scopes(scopes)
    now = timezone.now()
    expires_at = _checked_expiry(expires_in, now)
    with changing(actor, ref, _CREATE[kind]) as change:
        _may_issue(change, wanted)
        owner = account_by_id(actor.account_id or "")
        if owner is None and (kind is KeyKind.PERSONAL or actor.kind is ActorKind.ACCOUNT):
            raise Invalid("a personal key belongs to a person", field="kind")
        _has_place(change, kind, name, now)
        text = make_key(change.workspace.slug)
        key = Key.objects.create(
            workspace=change.workspace,
            kind=kind,
            owner=owner if kind is KeyKind.PERSONAL else None,
            created_by=actor.id,
            created_by_label=actor.label,
            name=name,
            prefix=text.prefix,
            secret_hash=keyed_hash(text.text),
            scopes=wanted,
            created_at=now,
            expires_at=expires_at,
        )
        change.record(
            "key.created",
            target_type="key",
            target_id=key.public_id,
            target_label=name,
            kind=kind,
            scopes=wanted,
            expires_at=expires_at,
        )
    return change, key, text.text


def revoke_key(actor: Actor, ref: str, key_id: str) -> tuple[Change, Key]:
    """Revoke a key, one's own or with ``key.revoke_any`` anybody's; a revoked one stays as it is.

    From the moment this returns no worker accepts the key: every request reads its row (D-14).
    """
    with changing(actor, ref, Action.KEY_REVOKE_OWN) as change:
        key = visible_key(actor, change.workspace.pk, change.facts, key_id)
        if not is_own(actor, key):
            decision = decide(actor, Action.KEY_REVOKE_ANY, change.facts)
            if not decision.allowed:
                raise Forbidden(
                    actor, Action.KEY_REVOKE_ANY, change.workspace.public_id, decision.reason, key.public_id
                )
        if key.revoked_at is not None:
            change.nothing_changed()
            return change, key
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        change.record("key.revoked", target_type="key", target_id=key.public_id, target_label=key.name, kind=key.kind)
        announce(CredentialRevoked(actor, change.workspace.public_id, key.public_id, "revoked"))
    return change, key


def _may_issue(change: Change, scopes: list[Scope]) -> None:
    """Refuse ``members:invite`` to whoever may not invite themselves (D-13)."""
    role = change.role
    if Scope.MEMBERS_INVITE in scopes and role is not None and Action.MEMBER_INVITE not in ROLE_ACTIONS[role]:
        raise Forbidden(
            change.actor,
            Action.MEMBER_INVITE,
            change.workspace.public_id,
            f"the role {role} does not include {Action.MEMBER_INVITE}, so it cannot issue {Scope.MEMBERS_INVITE}",
        )


def _has_place(change: Change, kind: KeyKind, name: str, now: datetime) -> None:
    """Refuse a name that a live key of the same owner and kind has, and a key above the cap."""
    live = live_keys(change.workspace.pk, kind, change.actor.account_id, now)
    if live.filter(name=name).exists():
        raise Conflict(
            f"a live {kind} key with this name exists",
            code=ErrorCode.NAME_TAKEN,
            hint="cmdop auth list-keys",
            field="name",
        )
    cap = CAPS[kind]
    if live.count() >= cap:
        raise Conflict(
            f"all {cap} places for {kind} keys are taken",
            code=ErrorCode.LIMIT_REACHED,
            hint="cmdop auth list-keys",
            limit=cap,
        )


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise Invalid(f"a key's name has 1 to {NAME_LENGTH} printable characters", field="name")
    return name


def _checked_scopes(scopes: Sequence[str] | None) -> list[Scope]:
    """Return the scopes in the vocabulary's order, each once; unknown words and wildcards are refused (D-13)."""
    if scopes is None:
        return list(DEFAULT_KEY_SCOPES)
    unknown = sorted(set(scopes) - set(Scope))
    if unknown:
        raise Invalid("unknown scope", hint=f"choose among {', '.join(Scope)}", field="scopes")
    return [scope for scope in Scope if scope in scopes]


def _checked_expiry(expires_in: int | None, now: datetime) -> datetime | None:
    if expires_in is None:
        return None
    if not SHORTEST_LIFE <= expires_in <= LONGEST_LIFE:
        raise Invalid("a key lives from 60 seconds to ten years", field="expires_in")
    return now + timedelta(seconds=expires_in)
