"""The audit log of a workspace: events and the signed head of their chain."""

from dataclasses import astuple

from django.http import HttpRequest
from ninja import Query, Router

from cmdop_server.api.auth import actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.events import EventPage, EventQuery, HeadAnswer, shown_event, shown_head
from cmdop_server.audit import queries
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.vocab import Action

router = Router(tags=["audit"])


@operation(router, "GET", "/workspaces/{ws}/events", action=Action.AUDIT_VIEW, answers=EventPage)
def list_events(request: HttpRequest, ws: str, query: Query[EventQuery]) -> EventPage:
    """List events by time, actor, action or target, newest first unless asked otherwise."""
    workspace_id = workspace_for(actor_of(request), ws, Action.AUDIT_VIEW).workspace.public_id
    filters = queries.Filters(query.since, query.until, query.actor, query.action, query.target)
    cursor = Cursor(query.cursor, "list_events", workspace_id, query.order, *astuple(filters))
    page = queries.events(workspace_id, filters, query.limit, cursor.number(), newest_first=query.order == "desc")
    return EventPage(items=[shown_event(event) for event in page.items], next=cursor.sealed(page.next))


@operation(router, "GET", "/workspaces/{ws}/events/head", action=Action.AUDIT_VIEW, answers=HeadAnswer)
def show_head(request: HttpRequest, ws: str) -> HeadAnswer:
    """Show the signed end of the chain; keep it elsewhere to notice a cut tail."""
    workspace = workspace_for(actor_of(request), ws, Action.AUDIT_VIEW).workspace
    return shown_head(queries.head(workspace.public_id))
