"""From the text of a bearer credential to an actor, in at most one query. The only place where that happens.

Membership is read here so that a removed member's credentials are dead at once; role and workspace state are read
by the doors, at decision time (D-10).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Unauthenticated
from cmdop_server.credentials.models import Key, Token, TokenFamily
from cmdop_server.credentials.queries import in_state
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.credentials.tokens import actor_of
from cmdop_server.prepared import Prepared
from cmdop_wire.ids import KEY_PREFIX, is_id, parse_key, token_kind
from cmdop_wire.vocab import KeyKind, KeyState, Scope

if TYPE_CHECKING:
    from cmdop_server.accounts.models import Account
    from cmdop_server.workspaces.models import Workspace

log = logging.getLogger(__name__)

NOTED_EVERY = timedelta(minutes=1)
_LOCK_WAIT = 20  # milliseconds that noting a use may wait for SQLite's one writer


@dataclass(frozen=True, slots=True)
class Proof:
    """What a credential proved: who acts, until when, in which workspace, and the row of the key or token."""

    actor: Actor
    expires_at: datetime | None
    workspace: "Workspace"
    key: Key | None
    token: Token | None

    @property
    def account(self) -> "Account | None":
        """Return whose credential it is; nobody's when it is a workspace key."""
        if self.token is not None:
            return self.token.family.sign_in.account
        return self.key.owner if self.key is not None else None

    @property
    def ends_at(self) -> datetime | None:
        """Return when the key, or the sign-in behind the token, ends for good; no refresh outlives it (D-14)."""
        return self.token.family.sign_in.expires_at if self.token is not None else self.expires_at


@dataclass(frozen=True, slots=True)
class Standing:
    """Who a credential that was named by its id stands for, and when the key or sign-in ends for good."""

    actor: Actor
    ends_at: datetime | None


def actor_from_bearer(text: str, *, address: str, request_id: str) -> Actor:
    """Return the actor that this key or access token stands for; ``Unauthenticated`` says nothing of why not.

    A text of the wrong shape or checksum costs no query (D-11), any other exactly one.
    """
    return prove(text, address=address, request_id=request_id).actor


def prove(text: str, *, address: str, request_id: str) -> Proof:
    """Do what ``actor_from_bearer`` does, and return the credential's row as well."""
    now = timezone.now()
    if token_kind(text) == "access":
        token = _live_token(text, now)
        if token is not None:
            actor = actor_of(token.family, address=address, request_id=request_id)
            return Proof(actor, token.expires_at, token.family.workspace, None, token)
    elif text.startswith(f"{KEY_PREFIX}_"):
        key = _live_key(text, now)
        if key is not None:
            return Proof(_actor_of(key, address, request_id), key.expires_at, key.workspace, key, None)
    raise Unauthenticated("no usable credential", hint="cmdop login")


def actor_from_credential(credential_id: str, *, address: str, request_id: str) -> Actor:
    """Return who the key or token family with this id stands for now; ``Unauthenticated`` when it is dead.

    For what was handed out to a credential and is redeemed later: tickets, join tokens.
    """
    return standing_of(credential_id, address=address, request_id=request_id).actor


def standing_of(credential_id: str, *, address: str, request_id: str) -> Standing:
    """Do what ``actor_from_credential`` does, and tell how long the credential lives."""
    now = timezone.now()
    if is_id(credential_id, "key"):
        key = _KEYS_BY_ID.first(public_id=credential_id, now=now)
        if key is not None:
            return Standing(_actor_of(key, address, request_id), key.expires_at)
    elif is_id(credential_id, "family"):
        family = _FAMILIES.first(public_id=credential_id, now=now)
        if family is not None:
            return Standing(actor_of(family, address=address, request_id=request_id), family.sign_in.expires_at)
    raise Unauthenticated("no usable credential", hint="cmdop login")


def stands(actor: Actor) -> bool:
    """Tell, in a transaction that has the workspace's lock, whether the actor's key or sign-in is good until its end.

    A key is revoked under that lock. The row of a token family is locked here, after it: whoever ends the sign-in
    waits, or was first.
    """
    now = timezone.now()
    if actor.is_key:
        return _KEYS_BY_ID.first(public_id=actor.credential_id or "", now=now) is not None
    if actor.credential_id is None or not is_id(actor.credential_id, "family"):
        return True  # a cabinet's session, the host, a join token, which is asked for when it is used up
    rows = TokenFamily.objects.select_for_update(of=("self",), no_key=True).filter(
        public_id=actor.credential_id, **_live_family(now)
    )
    return rows.values_list("pk", flat=True).first() is not None


def _live_token(text: str, now: datetime) -> Token | None:
    return _TOKENS.first(secret_hash=keyed_hash(text), now=now)


def _live_key(text: str, now: datetime) -> Key | None:
    try:
        parse_key(text)
    except ValueError:
        return None
    return _KEYS.first(secret_hash=keyed_hash(text), now=now)


def _live_keys(now: datetime) -> QuerySet[Key]:
    return Key.objects.select_related("workspace", "owner").filter(
        Q(kind=KeyKind.WORKSPACE) | Q(owner__is_active=True, owner__memberships__workspace=F("workspace")),
        in_state(KeyState.LIVE, now),
    )


def _live_family(now: datetime, family: str = "") -> dict[str, Any]:
    """Return the filter that a token family passes which opens its workspace; ``family`` leads to it from a row."""
    return {
        f"{family}revoked_at": None,
        f"{family}sign_in__ended_at": None,
        f"{family}sign_in__expires_at__gt": now,
        f"{family}sign_in__account__is_active": True,
        f"{family}sign_in__account__memberships__workspace": F(f"{family}workspace"),
    }


_TOKENS = Prepared(
    lambda secret_hash, now: Token.objects.select_related("family__sign_in__account", "family__workspace").filter(
        secret_hash=secret_hash, kind="access", expires_at__gt=now, **_live_family(now, "family__")
    ),
    secret_hash=str,
    now=datetime,
)
_FAMILIES = Prepared(
    lambda public_id, now: TokenFamily.objects.select_related("sign_in__account", "workspace").filter(
        public_id=public_id, **_live_family(now)
    ),
    public_id=str,
    now=datetime,
)
_KEYS = Prepared(
    lambda secret_hash, now: _live_keys(now).filter(secret_hash=secret_hash), secret_hash=str, now=datetime
)
_KEYS_BY_ID = Prepared(lambda public_id, now: _live_keys(now).filter(public_id=public_id), public_id=str, now=datetime)


def _actor_of(key: Key, address: str, request_id: str) -> Actor:
    return Actor(
        kind=ActorKind(f"{key.kind}_key"),
        account_id=key.owner.public_id if key.owner is not None else None,
        label=key.name,
        credential_id=key.public_id,
        workspace_id=key.workspace.public_id,
        scopes=frozenset(Scope(scope) for scope in key.scopes),
        address=address,
        request_id=request_id,
    )


def note_use(proof: Proof) -> None:
    """Remember when and from where a credential was used, at most once a minute each.

    A convenience, so it gives way: it skips a row that somebody else has locked, waits at most 20 ms for SQLite's
    writer, and no failure of it reaches the request.
    """
    now = timezone.now()
    try:
        if proof.key is not None and _is_due(proof.key.last_used_at, now):
            _note_key(proof.key, proof.actor.address, now)
        elif proof.token is not None and _is_due(proof.token.used_at, now):
            _note_token(proof.token, now)
    except DatabaseError as failure:
        log.info("the use of a credential was not noted: %s", type(failure).__name__)


def _is_due(noted: datetime | None, now: datetime) -> bool:
    return noted is None or noted + NOTED_EVERY <= now


def _note_key(key: Key, address: str, now: datetime) -> None:
    with _impatient():
        free = Key.objects.select_for_update(skip_locked=True).filter(pk=key.pk).values_list("pk", flat=True)
        Key.objects.filter(pk__in=list(free)).update(last_used_at=now, last_used_address=address)


def _note_token(token: Token, now: datetime) -> None:
    with _impatient():
        free = Token.objects.select_for_update(skip_locked=True).filter(pk=token.pk).values_list("pk", flat=True)
        Token.objects.filter(pk__in=list(free)).update(used_at=now)


@contextmanager
def _impatient() -> Iterator[None]:
    """Write without waiting: PostgreSQL skips locked rows, SQLite (one writer, no row locks) gets a short timeout."""
    if connection.vendor != "sqlite":
        with transaction.atomic():
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        patience = int(cursor.fetchone()[0])
        cursor.execute(f"PRAGMA busy_timeout={_LOCK_WAIT}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout={patience}")
