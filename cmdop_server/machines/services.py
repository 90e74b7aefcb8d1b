"""Machines: changing and removing them, and what their agents and the relay tell of them.

Joining is in ``joining.py``, going to another workspace in ``moving.py``, join tokens in ``join_tokens.py``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from cmdop_server.access.actor import Actor
from cmdop_server.access.effects import MachineRemoved, announce
from cmdop_server.access.errors import NotFound
from cmdop_server.access.policy import Facts
from cmdop_server.audit import queries as audit_queries
from cmdop_server.audit import services as audit
from cmdop_server.machines import names
from cmdop_server.machines.join_tokens import actor_of_token, create_join_token, dead_join_token, revoke_join_token
from cmdop_server.machines.joining import Host, Registered, Seeds, hostname_taken, name_taken, register, seeds_of
from cmdop_server.machines.models import Machine
from cmdop_server.machines.moving import move_machine
from cmdop_server.machines.queries import actor_of, named
from cmdop_server.machines.reports import gate_mode_of, parse_gate_event, parse_report, plain, untold_of
from cmdop_server.workspaces.changes import Change, changing
from cmdop_wire.vocab import Action, EventResult

__all__ = [
    "Host",
    "Registered",
    "Seeds",
    "actor_of_token",
    "create_join_token",
    "dead_join_token",
    "greeted",
    "move_machine",
    "record_duplicate",
    "record_gate_event",
    "record_untold",
    "register",
    "remove_machine",
    "revoke_join_token",
    "seeded",
    "seeds_of",
    "seen",
    "stopped",
    "update_machine",
]

_AT_ONCE = 200  # rows in one statement
_TOLD_EVERY = timedelta(minutes=10)


def update_machine(
    actor: Actor,
    ref: str,
    machine_ref: str,
    *,
    name: str | None = None,
    hostname: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Machine, Facts]:
    """Rename or tag a machine; what is not given stays. ``tags`` are all the tags it has afterwards."""
    wanted_name = None if name is None else names.checked_name(name)
    wanted_hostname = None if hostname is None else names.checked_hostname(hostname)
    wanted_tags = None if tags is None else names.checked_machine_tags(tags)
    with changing(actor, ref, Action.MACHINE_UPDATE) as change:
        machine = _locked(change, machine_ref)
        change.nothing_changed()  # unless something is recorded below
        renamed = {
            **_rename(change, machine, "hostname", wanted_hostname),
            **_rename(change, machine, "name", wanted_name),
        }
        if renamed:
            machine.save(update_fields=["name", "name_fold", "hostname", "hostname_fold"])
            _record(change, "machine.renamed", machine, **renamed)
        if wanted_tags is not None and wanted_tags != machine.tags:
            before, machine.tags = machine.tags, wanted_tags
            machine.save(update_fields=["tags"])
            _record(change, "machine.tagged", machine, tags={"from": before, "to": wanted_tags})
    return machine, change.facts


def remove_machine(actor: Actor, ref: str, machine_ref: str) -> None:
    """Remove a machine: its credential, link and sessions end for ever; its history stays."""
    with changing(actor, ref, Action.MACHINE_REMOVE) as change:
        machine = _locked(change, machine_ref)
        announce(MachineRemoved(actor, change.workspace.public_id, machine.public_id))
        machine.delete()
        _record(change, "machine.removed", machine, name=machine.name)


def greeted(machine_id: str, hello: Mapping[str, Any]) -> dict[str, Any] | None:
    """Note what an agent says of its host when its link comes up, and return the defaults it has not taken yet."""
    machine = _known(machine_id)
    if machine is None:
        raise NotFound("machine")
    machine.agent_version, machine.boot_id = plain(hello.get("agent"), 60), plain(hello.get("boot"), 80)
    machine.os, machine.arch = plain(hello.get("os"), 60), plain(hello.get("arch"), 60)
    machine.gate_mode = gate_mode_of(hello) or machine.gate_mode
    machine.last_seen_at = timezone.now()
    machine.save(update_fields=["agent_version", "boot_id", "os", "arch", "gate_mode", "last_seen_at"])
    seeds = seeds_of(machine)
    return None if seeds is None else {"gate_mode": str(seeds.gate_mode), "gate_rules": seeds.gate_rules}


def seen(beats: Mapping[str, Mapping[str, Any]]) -> None:
    """Note the heartbeats that came in by machine id; a machine that is gone is passed over.

    A few statements, whatever their number. Metrics and gate mode stay where a beat says nothing of them.
    """
    now, ids = timezone.now(), sorted(beats)
    for start in range(0, len(ids), _AT_ONCE):
        rows = list(Machine.objects.filter(public_id__in=ids[start : start + _AT_ONCE]).order_by("pk"))
        for machine in rows:
            report = parse_report(beats[machine.public_id])
            machine.last_seen_at = now
            machine.metrics = report.metrics or machine.metrics
            machine.gate_mode = report.gate_mode or machine.gate_mode
        Machine.objects.bulk_update(rows, ["last_seen_at", "metrics", "gate_mode"])


def stopped(machine_id: str) -> None:
    """Note that an agent said goodbye: its machine is offline at once (D-28)."""
    Machine.objects.filter(public_id=machine_id).update(stopped_at=timezone.now())


def seeded(machine_id: str) -> None:
    """Note, once, that an agent has taken the workspace's defaults for its gate (D-25)."""
    with transaction.atomic():
        if Machine.objects.filter(public_id=machine_id, seeded_at=None).update(seeded_at=timezone.now()):
            machine = Machine.objects.select_related("workspace").get(public_id=machine_id)
            _tell(machine, "machine.seeded", {"gate_mode": machine.gate_mode})


def record_gate_event(
    machine_id: str, body: Mapping[str, Any], *, workspace_id: str | None = None, heard_at: datetime | None = None
) -> None:
    """Write what a machine's gate decided into the log of the workspace in which it did, as told by the machine.

    ``workspace_id`` is where its link was when it said so at ``heard_at``, by default where it is now. What it said on
    that link after it had left belongs into no log, and a machine that is gone tells nothing more.
    """
    if (count := untold_of(body)) is not None:
        record_untold(machine_id, count, workspace_id, heard_at)
        return
    event, machine = parse_gate_event(body), _known(machine_id)
    if machine is None or _had_left(machine, workspace_id, heard_at):
        return
    changes = {
        "operation": event.operation,
        "request": event.request,
        "caller": event.caller,
        "stream_id": event.stream_id,
    }
    name = "gate.allowed" if event.result is EventResult.OK else "gate.denied"
    with transaction.atomic():
        _tell(machine, name, changes, result=event.result, reason=event.reason, workspace_id=workspace_id)


def record_untold(
    machine_id: str, count: int, workspace_id: str | None = None, heard_at: datetime | None = None
) -> None:
    """Write how many decisions of a machine's gate the log lacks; the machine's own log has them."""
    machine = _known(machine_id)
    if machine is None or _had_left(machine, workspace_id, heard_at):
        return
    why = "more than could be told; on the machine: cmdop connect permissions audit"
    with transaction.atomic():
        _tell(
            machine, "gate.untold", {"count": count},
            result=EventResult.FAILED, reason=why, workspace_id=workspace_id,
        )  # fmt: skip


def record_duplicate(machine_id: str) -> None:
    """Write that a second agent came with a machine's credential and was refused; once in ten minutes (D-5)."""
    _tell_now_and_then(
        machine_id, "machine.duplicate_refused", "the machine that has this credential is connected and answers"
    )


def record_violation(machine_id: str, problem: str) -> None:
    """Write that a machine's link was cut for frames that it may not send; once in ten minutes."""
    _tell_now_and_then(machine_id, "machine.cut", problem)


def _tell_now_and_then(machine_id: str, name: str, reason: str) -> None:
    machine = _known(machine_id)
    if machine is None:
        return
    recently = audit_queries.Filters(since=timezone.now() - _TOLD_EVERY, action=name, target=machine.public_id)
    if not audit_queries.events(machine.workspace.public_id, recently, 1).items:
        with transaction.atomic():
            _tell(machine, name, {}, result=EventResult.DENIED, reason=reason)


def _had_left(machine: Machine, workspace_id: str | None, at: datetime | None) -> bool:
    """Tell whether the machine was out of that workspace at that time, by the workspace's own log.

    A machine that is there now needs no answer from the log, so it is exact: what comes from a link is heard first and
    asked about here later, never the other way round.
    """
    if workspace_id in (None, machine.workspace.public_id):
        return False
    left = audit_queries.Filters(action="machine.moved", target=machine.public_id)
    moves = audit_queries.events(workspace_id or "", left, 1).items
    return not moves or at is None or moves[0].at <= at


def _known(machine_id: str) -> Machine | None:
    return Machine.objects.select_related("workspace").filter(public_id=machine_id).first()


def _locked(change: Change, machine_ref: str) -> Machine:
    machine = named(change.workspace.pk, machine_ref).first()
    if machine is None:
        raise NotFound("machine", workspace=change.workspace.slug)
    machine.workspace = change.workspace
    return machine


def _rename(change: Change, machine: Machine, column: str, wanted: str | None) -> dict[str, Any]:
    """Give the machine another name or hostname, unless that leads to another machine; tell what it was."""
    before = getattr(machine, column)
    if wanted is None or wanted == before:
        return {}
    other = named(change.workspace.pk, wanted).exclude(pk=machine.pk).first()
    if other is not None:
        raise name_taken(wanted) if column == "name" else hostname_taken(other, wanted)
    setattr(machine, column, wanted)
    setattr(machine, f"{column}_fold", names.folded(wanted))
    return {column: {"from": before, "to": wanted}}


def _record(change: Change, event: str, machine: Machine, **changes: Any) -> None:
    change.record(event, target_type="machine", target_id=machine.public_id, target_label=machine.hostname, **changes)


def _tell(
    machine: Machine,
    event: str,
    changes: dict[str, Any],
    *,
    result: EventResult = EventResult.OK,
    reason: str = "",
    workspace_id: str | None = None,
) -> None:
    audit.append(
        actor_of(machine),
        workspace_id=workspace_id or machine.workspace.public_id,
        action=event,
        target_type="machine",
        target_id=machine.public_id,
        target_label=machine.hostname,
        changes=changes,
        result=result,
        reason=reason,
    )
