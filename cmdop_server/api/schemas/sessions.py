"""Sessions: what may be seen of who was on which machine."""

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import Facts
from cmdop_server.api.schemas.common import Answer, PageQuery, QueryText, Time
from cmdop_server.api.schemas.machines import OperatorRef
from cmdop_server.sessions.models import Session
from cmdop_server.sessions.queries import session_actions, state_of
from cmdop_wire.vocab import Action, SessionState


class MachineThen(Answer):
    """The machine of a session as it was called then; it may have gone or moved since."""

    id: str
    hostname: str


class SessionAnswer(Answer):
    """One session; ``observers`` is how many ever watched."""

    id: str
    machine: MachineThen
    operator: OperatorRef
    state: SessionState
    opened_at: Time
    ended_at: Time | None
    end_reason: str | None
    observers: int
    authorized_actions: list[Action]


class SessionHistoryPage(Answer):
    """A page of sessions, newest first."""

    items: list[SessionAnswer]
    next: str | None


class SessionQuery(PageQuery):
    """Which sessions: on one machine (id, hostname or name), only active or only ended ones."""

    machine: QueryText | None = None
    active: bool | None = None


def shown_terminal(actor: Actor, facts: Facts, session: Session) -> SessionAnswer:
    """Return a session as ``actor`` may see it."""
    return SessionAnswer(
        id=session.public_id,
        machine=MachineThen(id=session.machine_id_then, hostname=session.hostname),
        operator=OperatorRef(kind=session.operator_kind, id=session.operator_id, label=session.operator_label),
        state=state_of(session),
        opened_at=session.opened_at,
        ended_at=session.ended_at,
        end_reason=session.end_reason or None,
        observers=session.observers_total,
        authorized_actions=session_actions(actor, facts, session),
    )
