"""Keys: what may be seen of them, and how one is asked for."""

from datetime import datetime
from typing import Annotated

from ninja import Field
from pydantic import StrictInt

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import Facts
from cmdop_server.api.schemas.common import LONGEST_TEXT, Answer, Body, PageQuery, PersonRef, Time
from cmdop_server.credentials.keys import LONGEST_LIFE, NAME_LENGTH, SHORTEST_LIFE
from cmdop_server.credentials.models import Key
from cmdop_server.credentials.queries import key_actions, state_of
from cmdop_wire.vocab import RESERVED_SCOPES, Action, KeyKind, KeyState, Scope

KeyNameText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[!-~]", "maxLength": NAME_LENGTH})
]
ScopeText = Annotated[str, Field(max_length=LONGEST_TEXT, json_schema_extra={"enum": list(Scope)})]
Life = Annotated[StrictInt, Field(json_schema_extra={"minimum": SHORTEST_LIFE, "maximum": LONGEST_LIFE})]


class KeyAnswer(Answer):
    """A key without its secret; ``prefix`` is what may be shown of its text."""

    id: str
    kind: KeyKind
    name: str
    prefix: str
    scopes: list[Scope]
    reserved_scopes: list[Scope]
    owner: PersonRef | None
    created_by: PersonRef
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    last_used_address: str | None
    revoked_at: Time | None
    state: KeyState
    authorized_actions: list[Action]


class CreatedKey(KeyAnswer):
    """A new key; ``secret`` is its text, here and never again, and null in a replay of this answer."""

    secret: str | None


class KeyPage(Answer):
    """A page of keys, newest first."""

    items: list[KeyAnswer]
    next: str | None


class KeyQuery(PageQuery):
    """Which keys: also other members', only in one state, only unused for so many days."""

    all: bool = False
    state: KeyState | None = None
    unused_days: int | None = Field(None, ge=0, le=36_500)


class NewKey(Body):
    """A key to be; ``expires_in`` is in seconds, absent scopes are the defaults."""

    kind: KeyKind
    name: KeyNameText
    scopes: list[ScopeText] | None = Field(None, max_length=50)
    expires_in: Life | None = None


def shown_key(actor: Actor, facts: Facts, key: Key, now: datetime) -> KeyAnswer:
    """Return what ``actor`` may see of a key."""
    return KeyAnswer(
        id=key.public_id,
        kind=KeyKind(key.kind),
        name=key.name,
        prefix=key.prefix,
        scopes=[Scope(scope) for scope in key.scopes],
        reserved_scopes=[Scope(scope) for scope in key.scopes if scope in RESERVED_SCOPES],
        owner=None if key.owner is None else PersonRef(id=key.owner.public_id, email=key.owner.email),
        created_by=PersonRef(id=key.created_by, email=key.created_by_label),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        last_used_address=key.last_used_address or None,
        revoked_at=key.revoked_at,
        state=state_of(key, now),
        authorized_actions=key_actions(actor, facts, key),
    )
