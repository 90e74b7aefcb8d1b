"""How sessions end when a lower app announces a change; each runs inside the announcing transaction.

The rows end here, with their events; the relay, told by the same announcement, closes the streams after the commit.
"""

from django.db.models import Q

from cmdop_server.access.effects import MachineCredentialChanged, MachineMoved, MachineRemoved, MemberRemoved
from cmdop_server.sessions.endings import end_sessions


def end_what_the_member_operated(effect: MemberRemoved) -> None:
    """End a former member's sessions in the workspace (D-17)."""
    theirs = Q(workspace__public_id=effect.workspace_id, account_id_then=effect.account_id)
    end_sessions(effect.actor, theirs, reason="member_removed")


def end_on_removed_machine(effect: MachineRemoved) -> None:
    """End the session on a machine that is about to go."""
    end_sessions(effect.actor, Q(machine__public_id=effect.machine_id), reason="machine_removed")


def end_on_moved_machine(effect: MachineMoved) -> None:
    """End the session on a machine that goes to another workspace, in the log of the one it leaves."""
    end_sessions(effect.actor, Q(machine__public_id=effect.machine_id), reason="machine_moved")


def end_on_replaced_machine(effect: MachineCredentialChanged) -> None:
    """End the session of a machine whose name another one took over; a rotated credential resumes its own."""
    if effect.is_replaced:
        end_sessions(effect.actor, Q(machine__public_id=effect.machine_id), reason="machine_replaced")
