"""Sessions: opened and ended by the relay, ended by people, and what else the relay tells of streams."""

import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from cmdop_server.access.actor import SYSTEM, Actor, ActorKind
from cmdop_server.access.effects import SessionTerminated, announce
from cmdop_server.access.errors import Conflict, Forbidden, NotFound, Refused
from cmdop_server.access.policy import Facts, decide
from cmdop_server.audit.queries import Filters, events
from cmdop_server.audit.services import append
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.machines.queries import named
from cmdop_server.sessions.endings import end_sessions
from cmdop_server.sessions.executions import asked_for
from cmdop_server.sessions.models import Session
from cmdop_server.sessions.queries import is_own
from cmdop_server.workspaces.changes import Change, changing
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import Action, ErrorCode, EventResult

_TOLD_EVERY = timedelta(minutes=10)  # what one may repeat at will fills no log
BY_THE_OPERATOR = ("closed", "exited")  # reasons for which nobody but the operator ended the session


def open_session(
    actor: Actor,
    *,
    machine_id: str,
    session_id: str,
    resume: str,
    opening: Mapping[str, Any] | None = None,
    taken_over_from: str | None = None,
) -> Session:
    """Write down that ``actor`` operates the machine from now on, with its event; without them it must not begin.

    ``Conflict`` with ``session_conflict`` names who has the active session. With ``taken_over_from``, that session
    ends, which needs session.terminate_any (D-26). ``resume`` is the secret with which the stream is resumed,
    ``opening`` the body of OPEN: a program in the place of the shell is in the log, as a command is.
    """
    with changing(actor, actor.workspace_id or "", Action.SESSION_OPERATE) as change:
        machine = named(change.workspace.pk, machine_id).first()
        if machine is None:
            raise NotFound("machine")
        if taken_over_from is not None:
            _may_terminate_any(change, taken_over_from)
        active = Session.objects.filter(machine=machine, ended_at=None).first()
        if active is not None and active.public_id != taken_over_from:
            raise _conflict(active)
        if active is not None:
            end_sessions(actor, Q(pk=active.pk), reason="taken_over")
        session = Session.objects.create(
            public_id=session_id,
            workspace=change.workspace,
            machine=machine,
            machine_id_then=machine.public_id,
            hostname=machine.hostname,
            operator_kind=str(actor.kind),
            operator_id=actor.id,
            operator_label=actor.label,
            account_id_then=actor.account_id or "",
            credential_id=actor.credential_id or "",
            sign_in_id=actor.sign_in_id or "",
            opened_at=timezone.now(),
            resume_hash=keyed_hash(resume),
        )
        if taken_over_from is not None:
            _record(change, "session.taken_over", session, taken_over_from=taken_over_from)
        _record(change, "session.opened", session, **asked_for(opening or {}))
    return session


def terminate_session(actor: Actor, ref: str, session_id: str) -> tuple[Session, Facts]:
    """End one's own session, or with session.terminate_any anybody's; one that has ended stays as it is."""
    with changing(actor, ref, Action.SESSION_OPERATE) as change:
        rows = Session.objects.select_related("machine").filter(workspace=change.workspace, public_id=session_id)
        session = rows.first() if is_id(session_id, "session") else None
        if session is None:
            raise NotFound("session")
        if not is_own(actor, session):
            _may_terminate_any(change, session.public_id)
        reason = "ended_by_operator" if is_own(actor, session) else "ended_by_admin"
        change.nothing_changed()  # unless it ends now, and tells so itself
        if end_sessions(actor, Q(pk=session.pk), reason=reason):
            announce(SessionTerminated(actor, change.workspace.public_id, session.public_id, reason))
            session.refresh_from_db(fields=["ended_at", "end_reason"])
    return session, change.facts


def end_session(session_id: str, *, reason: str) -> None:
    """Write down that a session ended, once; whoever comes second changes nothing.

    The event's actor is the operator where they ended it themselves, else the system.
    """
    with transaction.atomic():
        session = Session.objects.select_related("workspace").filter(public_id=session_id, ended_at=None).first()
        if session is not None:
            who = _operator_of(session) if reason in BY_THE_OPERATOR else SYSTEM
            end_sessions(who, Q(pk=session.pk), reason=reason)


def active_sessions() -> list[str]:
    """Return the ids of all sessions that have not ended, in every workspace; for the relay when it starts."""
    return list(Session.objects.filter(ended_at=None).order_by("pk").values_list("public_id", flat=True))


def machine_to_resume(actor: Actor, session_id: str, secret: str) -> str:
    """Return the id of the machine of an active session, for who operates it and knows its resume secret.

    The same person with the same sign-in, or the same key; anybody else is told that it has ended.
    """
    seen = workspace_for(actor, actor.workspace_id or "", Action.SESSION_OPERATE)
    session = (
        Session.objects.filter(
            workspace=seen.workspace.pk, public_id=session_id, ended_at=None, machine__isnull=False
        ).first()
        if is_id(session_id, "session")
        else None
    )
    if (
        session is None
        or not is_own(actor, session)
        or (session.sign_in_id or session.credential_id) != (actor.sign_in_id or actor.credential_id)
        or not hmac.compare_digest(session.resume_hash, keyed_hash(secret))
    ):
        raise Refused(ErrorCode.GONE, "it has ended meanwhile")
    return session.machine_id_then


def record_observer(actor: Actor, session_id: str) -> None:
    """Write down that somebody watches a session."""
    with transaction.atomic():
        rows = Session.objects.filter(public_id=session_id, workspace__public_id=actor.workspace_id)
        session = rows.first()
        if session is None:
            return
        rows.update(observers_total=F("observers_total") + 1)
        append(
            actor,
            workspace_id=actor.workspace_id or "",
            action="session.observed",
            target_type="session",
            target_id=session.public_id,
            target_label=session.hostname,
            changes={"operator": session.operator_label, "machine": session.machine_id_then},
        )


def record_violation(actor: Actor, problem: str) -> None:
    """Write that somebody's stream was cut for frames that they may not send; once in ten minutes."""
    workspace_id = actor.workspace_id or ""
    recently = Filters(since=timezone.now() - _TOLD_EVERY, action="stream.cut", actor=actor.id)
    if not events(workspace_id, recently, 1).items:
        with transaction.atomic():
            append(
                actor,
                workspace_id=workspace_id,
                action="stream.cut",
                target_type="workspace",
                target_id=workspace_id,
                result=EventResult.DENIED,
                reason=problem,
            )


def _may_terminate_any(change: Change, target: str) -> None:
    decision = decide(change.actor, Action.SESSION_TERMINATE_ANY, change.facts)
    if not decision.allowed:
        raise Forbidden(change.actor, Action.SESSION_TERMINATE_ANY, change.workspace.public_id, decision.reason, target)


def _operator_of(session: Session) -> Actor:
    return Actor(
        kind=ActorKind(session.operator_kind),
        account_id=session.account_id_then or None,
        label=session.operator_label,
        credential_id=session.credential_id or None,
        workspace_id=session.workspace.public_id,
    )


def _conflict(active: Session) -> Conflict:
    return Conflict(
        f"{active.operator_label} has the active session on {active.hostname}",
        code=ErrorCode.SESSION_CONFLICT,
        hint=f"cmdop connect observe {active.hostname}",
        holder=active.operator_label,
        session_id=active.public_id,
    )


def _record(change: Change, event: str, session: Session, **changes: Any) -> None:
    change.record(
        event,
        target_type="session",
        target_id=session.public_id,
        target_label=session.hostname,
        machine=session.machine_id_then,
        **changes,
    )
