"""Machines of a workspace: list, show, rename and tag, remove, move, tickets."""

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import Facts
from cmdop_server.api.auth import ApiRequest, actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.relay_address import relay_url
from cmdop_server.api.schemas.machines import (
    Destination,
    MachineAnswer,
    MachineChanges,
    MachinePage,
    MachineQuery,
    NewTicket,
    RelayAnswer,
    TicketAnswer,
    shown_machine,
)
from cmdop_server.machines import queries, services
from cmdop_server.machines.models import Machine
from cmdop_server.machines.names import checked_tag
from cmdop_server.sessions.queries import operating
from cmdop_server.sessions.tickets import create_ticket
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.frames import CLIENT_PATH
from cmdop_wire.vocab import Action

router = Router(tags=["machines"])


def _one(actor: Actor, facts: Facts, machine: Machine) -> MachineAnswer:
    return shown_machine(queries.machine_actions(actor, facts), machine, operating([machine.pk]), timezone.now())


@operation(router, "GET", "/workspaces/{ws}/machines", action=Action.MACHINE_VIEW, answers=MachinePage)
def list_machines(request: HttpRequest, ws: str, query: Query[MachineQuery]) -> MachinePage:
    """List machines by name; ``tag`` may be given several times, as key:value."""
    actor = actor_of(request)
    tags = tuple(sorted(checked_tag(tag) for tag in query.tag))
    seen = workspace_for(actor, ws, Action.MACHINE_VIEW)
    cursor = Cursor(query.cursor, "list_machines", seen.workspace.public_id, query.online, tags, query.q)
    after = None if cursor.position is None else str(cursor.position)
    wanted = queries.Filters(query.online, tags, query.q or None)
    found = queries.machines_of(seen, wanted, after=after, limit=query.limit + 1)
    shown, following = cursor.cut(found, query.limit, lambda machine: machine.name_fold)
    sessions, now = operating([machine.pk for machine in shown]), timezone.now()
    actions = queries.machine_actions(actor, seen.facts)  # the same for each: asked once
    return MachinePage(items=[shown_machine(actions, machine, sessions, now) for machine in shown], next=following)


@operation(router, "GET", "/workspaces/{ws}/machines/{mch}", action=Action.MACHINE_VIEW, answers=MachineAnswer)
def show_machine(request: HttpRequest, ws: str, mch: str) -> MachineAnswer:
    """Show one machine, by id, exact hostname or exact name."""
    actor = actor_of(request)
    seen, machine = queries.seen_machine(actor, ws, mch, Action.MACHINE_VIEW)
    return _one(actor, seen.facts, machine)


@operation(router, "PATCH", "/workspaces/{ws}/machines/{mch}", action=Action.MACHINE_UPDATE, answers=MachineAnswer)
def update_machine(request: HttpRequest, ws: str, mch: str, body: MachineChanges) -> MachineAnswer:
    """Rename or tag a machine; neither its name nor its hostname may lead to another machine."""
    actor = actor_of(request)
    machine, facts = services.update_machine(actor, ws, mch, **body.model_dump())
    return _one(actor, facts, machine)


@operation(router, "DELETE", "/workspaces/{ws}/machines/{mch}", action=Action.MACHINE_REMOVE, answers=None, status=204)
def remove_machine(request: HttpRequest, ws: str, mch: str) -> None:
    """Remove a machine for good: its credential and its session end at once."""
    services.remove_machine(actor_of(request), ws, mch)


@operation(router, "POST", "/workspaces/{ws}/machines/{mch}/move", action=Action.MACHINE_MOVE, answers=MachineAnswer)
def move_machine(request: HttpRequest, ws: str, mch: str, body: Destination) -> MachineAnswer:
    """Move a machine to another workspace where the caller may register machines; its session ends.

    Needs a sign-in for all workspaces. A taken name or hostname is a conflict, and the machine stays.
    """
    actor = actor_of(request)
    machine, facts = services.move_machine(actor, ws, mch, body.to)
    return _one(actor, facts, machine)


@operation(
    router,
    "POST",
    "/workspaces/{ws}/machines/{mch}/ticket",
    action=Action.SESSION_OPERATE,
    also=[Action.SESSION_OBSERVE, Action.COMMAND_EXECUTE, Action.FILE_READ, Action.FILE_WRITE],
    answers=TicketAnswer,
    status=201,
)
def create_machine_ticket(request: ApiRequest, ws: str, mch: str, body: NewTicket) -> TicketAnswer:
    """Make a ticket that opens one stream within 30 seconds; the right it is for is what the caller must have."""
    text, ends = create_ticket(request.auth.actor, ws, mch, body.right, credential_expires_at=request.auth.expires_at)
    return TicketAnswer(secret=text, expires_at=ends, relay=RelayAnswer(url=relay_url(CLIENT_PATH)))
