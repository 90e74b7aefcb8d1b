"""The doors to sessions: history and what is active now, by the role table (D-26)."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.db.models import QuerySet

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import NotFound
from cmdop_server.access.policy import Facts, authorized_actions
from cmdop_server.machines.queries import named
from cmdop_server.prepared import Prepared
from cmdop_server.sessions.models import Session
from cmdop_server.workspaces.queries import Seen, workspace_for
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import Action, SessionState

_PAGES = (1, 50, 200)  # how many machines are asked about at a time; fewer are filled up with the last one


class Operating(NamedTuple):
    """Who has a machine's active session, and since when."""

    session_id: str
    operator_kind: str
    operator_id: str
    operator_label: str
    since: datetime


def sessions_for(
    actor: Actor, ref: str, *, machine_ref: str | None = None, active: bool | None = None
) -> tuple[Seen, QuerySet[Session]]:
    """Return the workspace and its sessions, newest first; of one machine, only active or only ended ones.

    A machine is named by id, also one that was removed, or by its exact hostname or name; ``NotFound`` when there
    is none.
    """
    seen = workspace_for(actor, ref, Action.SESSION_LIST)
    rows = _rows(seen).order_by("-pk")
    if machine_ref is not None:
        rows = rows.filter(machine_id_then=_machine_id(seen, machine_ref))
    if active is not None:
        rows = rows.filter(ended_at__isnull=active)
    return seen, rows


def _rows(seen: Seen) -> QuerySet[Session]:
    return Session.objects.select_related("machine").filter(workspace=seen.workspace.pk)


def _machine_id(seen: Seen, machine_ref: str) -> str:
    machine = named(seen.workspace.pk, machine_ref).first()
    if machine is not None:
        return machine.public_id
    gone = is_id(machine_ref, "machine") and _rows(seen).filter(machine_id_then=machine_ref).exists()
    if not gone:
        raise NotFound("machine", workspace=seen.workspace.slug)
    return machine_ref


def session_for(actor: Actor, ref: str, session_id: str, action: Action) -> Session:
    """Return one session of the workspace by its id for an actor who may do ``action``; its machine at hand."""
    return seen_session(actor, ref, session_id, action)[1]


def seen_session(actor: Actor, ref: str, session_id: str, action: Action) -> tuple[Seen, Session]:
    """Return what ``session_for`` does, with the workspace and the facts it was decided on."""
    seen = workspace_for(actor, ref, action)
    session = _rows(seen).filter(public_id=session_id).first() if is_id(session_id, "session") else None
    if session is None:
        raise NotFound("session")
    session.workspace = seen.workspace
    return seen, session


def operating(machine_pks: Iterable[int]) -> dict[int, Operating]:
    """Return who operates which of these machines, in one query; the caller has passed their door."""
    return {
        session.machine_id: Operating(
            session.public_id,
            session.operator_kind,
            session.operator_id,
            session.operator_label,
            session.opened_at,
        )
        for session in _active_on(list(machine_pks))
        if session.machine_id is not None
    }


def _active_on(machine_pks: list[int]) -> list[Session]:
    count = next((size for size in _PAGES if size >= len(machine_pks)), 0)
    if not machine_pks or not count:
        return list(Session.objects.filter(machine__in=machine_pks, ended_at=None))
    filled = machine_pks + machine_pks[-1:] * (count - len(machine_pks))
    return _active(count)(**{f"machine_{place}": pk for place, pk in enumerate(filled)})


@cache
def _active(count: int) -> Prepared[Session]:
    def rows(**machines: int) -> QuerySet[Session]:
        return Session.objects.filter(machine__in=list(machines.values()), ended_at=None)

    return Prepared(rows, **{f"machine_{place}": int for place in range(count)})


def state_of(session: Session) -> SessionState:
    """Return whether the session runs."""
    return SessionState.ACTIVE if session.ended_at is None else SessionState.ENDED


def is_own(actor: Actor, session: Session) -> bool:
    """Tell whether the actor operates the session: the same person, or the same workspace key."""
    if actor.account_id is not None:
        return session.account_id_then == actor.account_id
    return session.operator_id == actor.id


def session_actions(actor: Actor, facts: Facts, session: Session) -> list[Action]:
    """Return what the actor may do to this session; nothing is done to one that ended."""
    if session.ended_at is not None:
        return []
    end = Action.SESSION_OPERATE if is_own(actor, session) else Action.SESSION_TERMINATE_ANY
    return authorized_actions(actor, facts, frozenset({Action.SESSION_OBSERVE, end}))
