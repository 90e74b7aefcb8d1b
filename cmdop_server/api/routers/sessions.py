"""Sessions of a workspace: history, what is active, ending one, a ticket to watch one."""

from django.http import HttpRequest
from ninja import Query, Router

from cmdop_server.access.errors import NotFound
from cmdop_server.api.auth import ApiRequest, actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.relay_address import relay_url
from cmdop_server.api.schemas.machines import RelayAnswer, TicketAnswer
from cmdop_server.api.schemas.sessions import SessionAnswer, SessionHistoryPage, SessionQuery, shown_terminal
from cmdop_server.sessions import queries, services
from cmdop_server.sessions.tickets import create_ticket
from cmdop_wire.frames import CLIENT_PATH
from cmdop_wire.vocab import Action

router = Router(tags=["sessions"])


@operation(router, "GET", "/workspaces/{ws}/sessions", action=Action.SESSION_LIST, answers=SessionHistoryPage)
def list_sessions(request: HttpRequest, ws: str, query: Query[SessionQuery]) -> SessionHistoryPage:
    """List sessions, newest first; of one machine, also a removed one by its id; active or ended ones."""
    actor = actor_of(request)
    seen, rows = queries.sessions_for(actor, ws, machine_ref=query.machine, active=query.active)
    cursor = Cursor(query.cursor, "list_sessions", seen.workspace.public_id, query.machine, query.active)
    shown, following = cursor.rows(rows, query.limit)
    return SessionHistoryPage(items=[shown_terminal(actor, seen.facts, each) for each in shown], next=following)


@operation(router, "GET", "/workspaces/{ws}/sessions/{ses}", action=Action.SESSION_LIST, answers=SessionAnswer)
def show_session(request: HttpRequest, ws: str, ses: str) -> SessionAnswer:
    """Show one session by its id."""
    actor = actor_of(request)
    seen, session = queries.seen_session(actor, ws, ses, Action.SESSION_LIST)
    return shown_terminal(actor, seen.facts, session)


@operation(
    router,
    "POST",
    "/workspaces/{ws}/sessions/{ses}/terminate",
    action=Action.SESSION_OPERATE,
    also=[Action.SESSION_TERMINATE_ANY],
    answers=SessionAnswer,
)
def terminate_session(request: HttpRequest, ws: str, ses: str) -> SessionAnswer:
    """End one's own session, or with session.terminate_any anybody's; whoever is in it is out at once."""
    actor = actor_of(request)
    session, facts = services.terminate_session(actor, ws, ses)
    return shown_terminal(actor, facts, session)


@operation(
    router,
    "POST",
    "/workspaces/{ws}/sessions/{ses}/ticket",
    action=Action.SESSION_OBSERVE,
    answers=TicketAnswer,
    status=201,
)
def create_session_ticket(request: ApiRequest, ws: str, ses: str) -> TicketAnswer:
    """Make a ticket that lets somebody watch an active session, within 30 seconds."""
    actor = request.auth.actor
    session = queries.session_for(actor, ws, ses, Action.SESSION_OBSERVE)
    if session.ended_at is not None:
        raise NotFound("active session")
    text, ends = create_ticket(
        actor, ws, session.machine_id_then, Action.SESSION_OBSERVE, credential_expires_at=request.auth.expires_at
    )
    return TicketAnswer(secret=text, expires_at=ends, relay=RelayAnswer(url=relay_url(CLIENT_PATH)))
