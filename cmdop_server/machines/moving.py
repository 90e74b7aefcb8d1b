"""A machine goes from one workspace to another: the only way in which it changes tenant (D-20).

One transaction over both: the row, the end of its sessions, an event in each log. Killed anywhere it is either here
or there.
"""

import shlex
from dataclasses import replace

from cmdop_server.access.actor import Actor
from cmdop_server.access.effects import MachineMoved, announce
from cmdop_server.access.errors import Conflict, Forbidden, NotFound
from cmdop_server.access.policy import Facts
from cmdop_server.machines.joining import check_room
from cmdop_server.machines.models import Machine
from cmdop_server.machines.queries import named, seen_machine
from cmdop_server.workspaces.changes import Asked, Change, changing_both
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.ids import is_slug
from cmdop_wire.vocab import Action, ErrorCode, Reach


def move_machine(actor: Actor, ref: str, machine_ref: str, target_ref: str) -> tuple[Machine, Facts]:
    """Move a machine to the workspace ``target_ref`` and return it with the facts that hold for the actor there.

    The actor needs machine.move where it is and machine.register where it goes, so a sign-in must be one for all
    workspaces; keys never move machines (D-13). A taken hostname or name, or a full plan, is a ``Conflict`` and the
    machine stays (D-5). Moving it to where it is changes nothing.
    """
    seen, machine = seen_machine(actor, ref, machine_ref, Action.MACHINE_MOVE)
    if target_ref in (seen.workspace.public_id, seen.workspace.slug):
        return machine, seen.facts
    traveller = _traveller(actor, seen.workspace.public_id, machine, target_ref)
    workspace_for(traveller, target_ref, Action.MACHINE_REGISTER)
    source_side = Asked(actor, seen.workspace.public_id, Action.MACHINE_MOVE)
    with changing_both(source_side, Asked(traveller, target_ref, Action.MACHINE_REGISTER)) as (source, target):
        found = source.workspace.machines.filter(pk=machine.pk).first()
        if found is None:
            raise NotFound("machine")  # removed or moved while we waited
        check_room(target.workspace)
        _check_names(found, target)
        for change in sorted((source, target), key=lambda each: each.workspace.public_id):  # logs lock in this order
            if change is source:
                announce(MachineMoved(actor, source.workspace.public_id, target.workspace.public_id, found.public_id))
            # Neither log names the other workspace: its readers have no business there.
            _record(change, found, direction="out" if change is source else "in")
        # Whoever agreed to ``bypass`` did so for the people of the workspace that they saw (D-21, D-25).
        found.workspace, found.bypass_accepted = target.workspace, False
        found.save(update_fields=["workspace", "bypass_accepted"])
    return found, target.facts


def _traveller(actor: Actor, workspace_id: str, machine: Machine, target_ref: str) -> Actor:
    """Return the actor as they are known in the target: by who they are, not by a credential of the source."""
    if actor.workspace_id is None:
        return actor
    if actor.reach is not Reach.ALL:
        raise Forbidden(
            actor,
            Action.MACHINE_MOVE,
            workspace_id,
            "this sign-in is for one workspace only",
            machine.public_id,
            hint=f"cmdop login --workspace {target_ref}" if is_slug(target_ref) else "cmdop login",
        )
    return replace(actor, workspace_id=None, credential_id=None)


def _check_names(machine: Machine, target: Change) -> None:
    for what, code in ((machine.hostname, ErrorCode.HOSTNAME_TAKEN), (machine.name, ErrorCode.NAME_TAKEN)):
        if named(target.workspace.pk, what).exists():
            raise Conflict(
                f"{target.workspace.slug} has a machine called {what} already",
                code=code,
                hint=f"cmdop connect show {shlex.quote(what)} --workspace {target.workspace.slug}",
                name=what,
            )


def _record(change: Change, machine: Machine, *, direction: str) -> None:
    change.record(
        "machine.moved",
        target_type="machine",
        target_id=machine.public_id,
        target_label=machine.hostname,
        hostname=machine.hostname,
        name=machine.name,
        direction=direction,
    )
