"""Reading the log. Callers have passed a workspace's door already; this only finds rows, by index, page by page."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from django.db.models import QuerySet

from cmdop_server.access.actor import ActorKind
from cmdop_server.access.errors import NotFound
from cmdop_server.audit import chain
from cmdop_server.audit.models import Chain, Event
from cmdop_server.prepared import Prepared
from cmdop_wire.ids import ID_PREFIXES, is_id


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; ``None`` means anything.

    ``since`` is inclusive, ``until`` exclusive. ``actor`` and ``target`` are an id or a label (an e-mail address, a
    key's name). ``action`` is a whole name or ``noun.*``.
    """

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None


class Page(NamedTuple):
    """Events and the sequence number to go on from, ``None`` at the end."""

    items: list[Event]
    next: int | None


def events(
    workspace_id: str,
    filters: Filters | None = None,
    limit: int = 50,
    cursor: int | None = None,
    *,
    newest_first: bool = True,
) -> Page:
    """Return the page of events after sequence number ``cursor`` in the asked direction.

    Every filter is answered by an index that ends in the sequence, so a page costs the same at a million rows.
    """
    if filters is None or filters == Filters():
        given = {} if cursor is None else {"cursor": cursor}
        found = _all_of(limit + 1, bool(given), newest_first)(workspace_id=workspace_id, **given)
    else:
        found = list(_page(_matching(workspace_id, filters), limit + 1, cursor, newest_first=newest_first))
    more = len(found) > limit
    return Page(found[:limit], found[limit - 1].seq if more else None)


def _page(rows: QuerySet[Event], limit: int, cursor: int | None, *, newest_first: bool) -> QuerySet[Event]:
    if cursor is not None:
        rows = rows.filter(seq__lt=cursor) if newest_first else rows.filter(seq__gt=cursor)
    return rows.order_by("-seq" if newest_first else "seq")[:limit]


@lru_cache(maxsize=32)
def _all_of(limit: int, goes_on: bool, newest_first: bool) -> Prepared[Event]:
    def rows(workspace_id: str, cursor: int | None = None) -> QuerySet[Event]:
        return _page(Event.objects.filter(workspace_id=workspace_id), limit, cursor, newest_first=newest_first)

    return Prepared(rows, workspace_id=str, **({"cursor": int} if goes_on else {}))


def _matching(workspace_id: str, filters: Filters) -> QuerySet[Event]:
    rows = Event.objects.filter(workspace_id=workspace_id)
    if not all(_is_storable(text) for text in (filters.actor, filters.action, filters.target)):
        return rows.none()  # PostgreSQL would refuse the question; nothing such was ever stored
    if filters.actor is not None:
        column = "actor_id" if _is_actor_id(filters.actor) else "actor_label"
        rows = rows.filter(**{column: _folded(filters.actor)})
    if filters.target is not None:
        column = "target_id" if _has_id_shape(filters.target) else "target_label"
        rows = rows.filter(**{column: _folded(filters.target)})
    if filters.action is not None:
        noun, dot, verb = filters.action.partition(".")
        rows = rows.filter(noun=noun) if (dot, verb) == (".", "*") else rows.filter(action=filters.action)
    return _in_time(rows, workspace_id, filters)


def _in_time(rows: QuerySet[Event], workspace_id: str, filters: Filters) -> QuerySet[Event]:
    """Narrow to the asked time, first by a range of the sequence: the pages are in its order, and indexed by it.

    With K the largest clock skew, an event before which one of ``at < since - K`` stands cannot be wanted, nor one
    after which one of ``at >= until + K`` stands.
    """
    if filters.since is None and filters.until is None:
        return rows
    known = Chain.objects.filter(workspace_id=workspace_id).values_list("clock_skew", flat=True).first()
    skew = timedelta(microseconds=known or 0)
    everything = Event.objects.filter(workspace_id=workspace_id)
    if filters.since is not None:
        too_old = everything.filter(at__lt=_moved(filters.since, -skew)).order_by("-at", "-seq")
        last = too_old.values_list("seq", flat=True).first()
        rows = rows.filter(seq__gt=last) if last is not None else rows
    if filters.until is not None:
        too_new = everything.filter(at__gte=_moved(filters.until, skew)).order_by("at", "seq")
        first = too_new.values_list("seq", flat=True).first()
        rows = rows.filter(seq__lt=first) if first is not None else rows
    if not skew:
        return rows  # the range says it all
    rows = rows if filters.since is None else rows.filter(at__gte=filters.since)
    return rows if filters.until is None else rows.filter(at__lt=filters.until)


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta() else datetime.min.replace(tzinfo=UTC)


def _is_storable(text: str | None) -> bool:
    return text is None or not any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in text)


def _has_id_shape(text: str) -> bool:
    return any(is_id(text, kind) for kind in ID_PREFIXES)


def _is_actor_id(text: str) -> bool:
    return _has_id_shape(text) or text in (ActorKind.OPERATOR, ActorKind.SYSTEM)


def _folded(label: str) -> str:
    return label.casefold() if "@" in label else label


def head(workspace_id: str) -> chain.Head:
    """Return the signed end of the workspace's chain; ``NotFound`` when nothing was ever recorded."""
    stored = Chain.objects.filter(workspace_id=workspace_id).first()
    if stored is None or stored.signed_at is None:
        raise NotFound("audit log")
    return chain.Head(
        workspace_id=workspace_id,
        seq=stored.seq,
        hash=stored.hash,
        signed_at=stored.signed_at,
        key_id=chain.key_id(base64.b64decode(stored.public_key)),
        public_key=stored.public_key,
        signature=stored.signature,
    )
