"""How sessions end: the row and its event, together, once. Who may end them is decided elsewhere."""

from django.db.models import Q
from django.utils import timezone

from cmdop_server.access.actor import Actor
from cmdop_server.audit.services import append
from cmdop_server.sessions.models import Session


def end_sessions(actor: Actor, which: Q, *, reason: str) -> list[Session]:
    """End the active sessions among ``which``, inside the caller's transaction; one event each, as ``actor``.

    Rows are locked first and the log last, as everywhere. Returns those that this call ended.
    """
    now, ended = timezone.now(), []
    active = Session.objects.select_for_update(of=("self",)).select_related("workspace").filter(which, ended_at=None)
    for session in active.order_by("pk"):
        session.ended_at, session.end_reason = now, reason[:40]
        session.save(update_fields=["ended_at", "end_reason"])
        ended.append(session)
    for session in ended:
        append(
            actor,
            workspace_id=session.workspace.public_id,
            action="session.ended",
            target_type="session",
            target_id=session.public_id,
            target_label=session.hostname,
            changes={
                "reason": reason,
                "operator": session.operator_label,
                "machine": session.machine_id_then,
                "seconds": int((now - session.opened_at).total_seconds()),
                "observers": session.observers_total,
            },
        )
    return ended
