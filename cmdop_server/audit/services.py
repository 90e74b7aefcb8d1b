"""Writing to the log: an event with the change it tells of, a refusal in a transaction of its own (D-30)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from cmdop_server.access.actor import Actor
from cmdop_server.access.effects import EventRecorded, announce
from cmdop_server.access.errors import Forbidden
from cmdop_server.audit import chain
from cmdop_server.audit.models import Chain, Denial, Event, new_event_id
from cmdop_wire.ids import ID_PREFIXES, mask
from cmdop_wire.vocab import EventResult

_log = structlog.stdlib.get_logger("cmdop.audit")

_TYPE_OF_PREFIX = {prefix: kind for kind, prefix in ID_PREFIXES.items()}
_SECRET_FIELDS = frozenset({"password", "secret", "token", "device_code", "user_code", "refresh_token"})


def _storable(text: str, length: int) -> str:
    """Cut ``text`` to ``length`` characters, without NUL, surrogates (no database takes them) and secrets."""
    clean = mask(text).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value, 2000)
    if isinstance(value, dict):
        return {_storable(str(name), 200): _storable_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_storable_value(item) for item in items]
    if isinstance(value, datetime):
        return chain.timestamp(value)
    return value


def entry_of(event: Event) -> chain.Entry:
    """Return what is hashed of a stored event."""
    return chain.Entry(
        id=event.public_id,
        workspace_id=event.workspace_id,
        seq=event.seq,
        at=event.at,
        actor_kind=event.actor_kind,
        actor_id=event.actor_id,
        actor_label=event.actor_label,
        credential_id=event.credential_id,
        action=event.action,
        result=event.result,
        reason=event.reason,
        target_type=event.target_type,
        target_id=event.target_id,
        target_label=event.target_label,
        changes=event.changes,
        request_id=event.request_id,
        address=event.address,
        previous=event.previous,
        hash=event.hash,
    )


def append(
    actor: Actor,
    *,
    workspace_id: str,
    action: str,
    target_type: str,
    target_id: str,
    target_label: str = "",
    changes: dict[str, Any] | None = None,
    result: EventResult = EventResult.OK,
    reason: str = "",
) -> Event:
    """Append one event to the workspace's chain, in the caller's transaction, and announce ``EventRecorded``.

    The chain's row stays locked until the caller commits: the sequence has no gap and no fork (D-30).
    ``changes`` holds text, integers, booleans, null, lists and objects of them; a secret has no place in it.
    """
    assert connection.in_atomic_block, "an event is written in the transaction of its change"
    assert not _SECRET_FIELDS & (changes or {}).keys(), "a secret has no place in the log"
    head, _ = Chain.objects.select_for_update().get_or_create(workspace_id=workspace_id)
    event = Event(
        public_id=new_event_id(),
        workspace_id=workspace_id,
        seq=head.seq + 1,
        at=timezone.now(),
        actor_kind=str(actor.kind),
        actor_id=_storable(actor.id, 40),
        actor_label=_storable(actor.label, 320),
        credential_id=actor.credential_id,
        action=action,
        noun=action.partition(".")[0],
        result=str(result),
        reason=_storable(reason, 300),
        target_type=target_type,
        target_id=_storable(target_id, 80),
        target_label=_storable(target_label, 320),
        changes=_storable_value(changes or {}),
        request_id=_storable(actor.request_id, 80),
        address=_storable(actor.address, 60),
        previous=head.hash or chain.GENESIS,
    )
    event.hash = chain.hash_of(entry_of(event))
    event.save(force_insert=True)
    _move_head(head, event)
    announce(EventRecorded(actor, workspace_id, event.public_id))
    return event


def lock_chains(workspace_ids: Iterable[str]) -> None:
    """Lock several logs that the caller is about to write to, in the one order in which everybody locks them.

    To be called when every other row is locked: logs come last, so nobody who holds one waits for anything else.
    """
    list(Chain.objects.select_for_update().filter(workspace_id__in=set(workspace_ids)).order_by("workspace_id"))


def _move_head(head: Chain, event: Event) -> None:
    signed = chain.sign(
        settings.CMDOP_AUDIT_KEY,
        workspace_id=event.workspace_id,
        seq=event.seq,
        digest=event.hash,
        signed_at=event.at,
    )
    head.seq, head.hash, head.signed_at = event.seq, event.hash, event.at
    head.signature, head.public_key = signed.signature, signed.public_key
    # The host's clock may have been set back: remember by how much, the order is the sequence's anyway.
    behind = (head.latest_at or event.at) - event.at
    head.clock_skew = max(head.clock_skew, behind // timedelta(microseconds=1))
    head.latest_at = max(head.latest_at or event.at, event.at)
    head.save(force_update=True)


def record_denial(forbidden: Forbidden) -> None:
    """Write one event for a refusal: at most one per actor, action and minute, in a transaction of its own.

    Never raises: if the log cannot be written the answer is still the refusal (D-30). Call it after the refused
    transaction has unwound.
    """
    if not forbidden.workspace_id:
        _log.warning("denied outside of any workspace", action=str(forbidden.action))
        return
    try:
        with transaction.atomic(durable=True):
            if _is_first_this_minute(forbidden):
                _append_denial(forbidden)
    except Exception:
        _log.exception("denial not recorded", workspace_id=forbidden.workspace_id, action=str(forbidden.action))


def _is_first_this_minute(forbidden: Forbidden) -> bool:
    minute = timezone.now().replace(second=0, microsecond=0)
    _, is_first = Denial.objects.get_or_create(
        workspace_id=forbidden.workspace_id,
        actor_id=forbidden.actor.id[:40],
        action=str(forbidden.action),
        minute=minute,
    )
    return is_first


def _append_denial(forbidden: Forbidden) -> None:
    target = forbidden.target or forbidden.workspace_id
    append(
        forbidden.actor,
        workspace_id=forbidden.workspace_id,
        action=str(forbidden.action),
        target_type=_TYPE_OF_PREFIX.get(target.partition("_")[0], "object"),
        target_id=target,
        result=EventResult.DENIED,
        reason=forbidden.reason,
    )
