"""Machines and sessions without agents and relay, for ``Server.backstage``: what those two would tell the server."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from cmdop_server.access.actor import operator
from cmdop_server.access.errors import Refused
from cmdop_server.credentials.authenticate import prove
from cmdop_server.machines import services as machines
from cmdop_server.machines.models import JoinToken, Machine
from cmdop_server.sessions import executions, tickets
from cmdop_server.sessions import services as sessions
from cmdop_server.sessions.models import Session, Ticket
from cmdop_wire.ids import make_id


def register(workspace: str, hostname: str) -> dict[str, str]:
    """Register a machine as the operator; return its id and credential."""
    made = machines.register(operator(), workspace, machines.Host(hostname))
    return {"id": made.machine.public_id, "credential": made.credential}


def heartbeat(machine: str, **body: Any) -> None:
    """Tell of a heartbeat."""
    machines.seen({machine: body})


def heard_ago(machine: str, seconds: float) -> int:
    """Pretend that the machine was last heard of so long ago."""
    return Machine.objects.filter(public_id=machine).update(last_seen_at=timezone.now() - timedelta(seconds=seconds))


def stop(machine: str) -> None:
    """Tell that the agent said goodbye."""
    machines.stopped(machine)


def greet(machine: str, **hello: Any) -> dict[str, Any] | None:
    """Tell of an agent's greeting; return the defaults that it is to take."""
    return machines.greeted(machine, hello)


def seeded(machine: str) -> None:
    """Tell that the agent took its defaults."""
    machines.seeded(machine)


def gate_event(machine: str, linked_in: str | None = None, heard_ago: float = 0, **body: Any) -> None:
    """Tell what the machine's gate decided; ``heard_ago`` seconds ago, on its link in the workspace ``linked_in``."""
    heard_at = timezone.now() - timedelta(seconds=heard_ago)
    machines.record_gate_event(machine, body, workspace_id=linked_in, heard_at=heard_at)


def duplicate(machine: str) -> None:
    """Tell that a second agent came with the machine's credential."""
    machines.record_duplicate(machine)


def open_session(bearer: str, machine: str, resume: str = "again", taken_over_from: str | None = None) -> Any:
    """Open a session as whoever holds ``bearer``; return its id, or what was refused."""
    actor = prove(bearer, address="127.0.0.1", request_id="").actor
    try:
        made = sessions.open_session(
            actor,
            machine_id=machine,
            session_id=make_id("session"),
            resume=resume,
            taken_over_from=taken_over_from,
        )
    except Refused as refused:
        return {"code": refused.code, "message": refused.message, **refused.details}
    return made.public_id


def session_from_before(bearer: str, machine: str) -> str:
    """Write a session of whoever holds ``bearer``, as if they had opened it when they still could."""
    actor, row = prove(bearer, address="127.0.0.1", request_id="").actor, Machine.objects.get(public_id=machine)
    made = Session.objects.create(
        workspace=row.workspace,
        machine=row,
        machine_id_then=machine,
        hostname=row.hostname,
        operator_kind=actor.kind,
        operator_id=actor.id,
        operator_label=actor.label,
        account_id_then=actor.account_id or "",
        opened_at=timezone.now(),
    )
    return made.public_id


def end_session(session: str, reason: str) -> None:
    """Tell that a session ended."""
    sessions.end_session(session, reason=reason)


def active_sessions(machine: str) -> list[str]:
    """Return which sessions of the machine the relay would find when it starts."""
    active = set(sessions.active_sessions())
    ids = Session.objects.filter(machine__public_id=machine).values_list("public_id", flat=True)
    return sorted(active & set(ids))


def resume(bearer: str, session: str, secret: str) -> Any:
    """Resume a session as whoever holds ``bearer``; return its machine's id, or the code of the refusal."""
    actor = prove(bearer, address="127.0.0.1", request_id="").actor
    try:
        return {"machine": sessions.machine_to_resume(actor, session, secret)}
    except Refused as refused:
        return {"code": refused.code}


def observe(bearer: str, session: str) -> None:
    """Tell that whoever holds ``bearer`` watches a session."""
    sessions.record_observer(prove(bearer, address="127.0.0.1", request_id="").actor, session)


def command(bearer: str, machine: str, kind: str, opening: dict[str, Any], **outcome: Any) -> None:
    """Tell that a command or transfer began, and how it ended."""
    actor = prove(bearer, address="127.0.0.1", request_id="").actor
    execution = executions.Execution("ses_0123456789abcdefghjk", machine, kind, opening)
    executions.record_start(actor, execution, "web-1")
    executions.record_end(actor, execution, executions.Outcome(**outcome))


def redeem(ticket: str) -> dict[str, Any]:
    """Redeem a ticket as the relay does; return what it is for, or the code of the refusal."""
    try:
        found = tickets.redeem_ticket(ticket, address="127.0.0.1", request_id="")
    except Refused as refused:
        return {"code": refused.code}
    return {
        "actor": found.actor.id,
        "credential": found.actor.credential_id,
        "workspace": found.actor.workspace_id,
        "machine": found.machine_id,
        "action": found.action,
        "expires_at": found.expires_at,
    }


def ticket_expires_in(seconds: float) -> int:
    """Move the end of every ticket that was not used."""
    return Ticket.objects.filter(redeemed_at=None).update(expires_at=timezone.now() + timedelta(seconds=seconds))


def join_token_expires_in(token: str, seconds: float) -> int:
    """Move a join token's end."""
    return JoinToken.objects.filter(public_id=token).update(expires_at=timezone.now() + timedelta(seconds=seconds))


def admitted(credential: str) -> str | None:
    """Return the id of the machine that a credential lets in, as the relay asks."""
    from cmdop_server.machines.queries import machine_by_credential

    found = machine_by_credential(credential)
    return None if found is None else found.public_id


def stored_secrets() -> list[str]:
    """Return everything that is stored where a secret's hash belongs."""
    columns = ((Machine, "credential_hash"), (JoinToken, "secret_hash"), (Ticket, "secret_hash"))
    return [text for model, column in columns for text in model.objects.values_list(column, flat=True)]
