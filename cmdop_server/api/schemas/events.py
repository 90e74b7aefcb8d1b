"""Audit events and the signed head of a workspace's chain (docs/reference/audit-chain.md)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime

from cmdop_server.api.schemas.common import Answer, PageQuery, QueryText, Time
from cmdop_server.audit.chain import Head, document
from cmdop_server.audit.models import Event
from cmdop_server.audit.services import entry_of
from cmdop_wire.vocab import EventResult


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first hours of year 1, the last of 9999
        raise ValueError("this time is out of range") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class EventActor(Answer):
    """Who acted, as it was then."""

    kind: str
    id: str
    label: str


class EventTarget(Answer):
    """What was acted on, as it was then."""

    type: str
    id: str
    label: str


class EventAnswer(Answer):
    """One entry; with its workspace's id and without ``hash`` it is what was hashed."""

    id: str
    seq: int
    at: str
    actor: EventActor
    credential_id: str | None
    action: str
    result: EventResult
    reason: str
    target: EventTarget
    changes: dict[str, Any]
    request_id: str
    address: str
    previous: str
    hash: str


class EventPage(Answer):
    """A page of events in the asked order."""

    items: list[EventAnswer]
    next: str | None


class EventQuery(PageQuery):
    """Which events: ``since`` inclusive, ``until`` exclusive; ``action`` may be ``noun.*``."""

    since: Moment | None = None
    until: Moment | None = None
    actor: QueryText | None = None
    action: QueryText | None = None
    target: QueryText | None = None
    order: Literal["asc", "desc"] = "desc"


class HeadAnswer(Answer):
    """The end of the chain, signed with Ed25519; ``signature`` and ``public_key`` are base64."""

    workspace_id: str
    seq: int
    hash: str
    signature: str
    key_id: str
    public_key: str
    signed_at: Time


def shown_event(event: Event) -> EventAnswer:
    """Return an event exactly as it was hashed."""
    hashed = document(entry_of(event))
    hashed.pop("workspace_id")
    return EventAnswer(**hashed, hash=event.hash)


def shown_head(head: Head) -> HeadAnswer:
    """Return the head of a chain."""
    return HeadAnswer(
        workspace_id=head.workspace_id,
        seq=head.seq,
        hash=head.hash,
        signature=head.signature,
        key_id=head.key_id,
        public_key=head.public_key,
        signed_at=head.signed_at,
    )
