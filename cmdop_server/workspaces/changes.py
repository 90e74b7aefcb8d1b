"""The one way to change anything that belongs to a workspace: locked, decided on fresh facts, recorded.

Caps, the last owner and the audit sequence are exact because every write comes through here: PostgreSQL queues
writers on the workspace's row, SQLite has one writer at a time (IMMEDIATE transactions).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import transaction

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Forbidden, NotFound
from cmdop_server.access.policy import Facts
from cmdop_server.access.standing import must_stand
from cmdop_server.audit import services as audit
from cmdop_server.workspaces.models import Membership, Workspace
from cmdop_server.workspaces.queries import check, facts_about, workspace_for
from cmdop_wire.vocab import Action, Role


@dataclass(slots=True)
class Change:
    """A workspace locked for writing, with the facts read under the lock."""

    actor: Actor
    action: Action
    workspace: Workspace
    facts: Facts
    role: Role | None
    _is_settled: bool = field(default=False, init=False)

    def record(
        self, action_name: str, *, target_type: str, target_id: str, target_label: str = "", **changes: Any
    ) -> None:
        """Append the event that tells of this change; ``changes`` must hold no secret (D-30)."""
        self._is_settled = True
        audit.append(
            self.actor,
            workspace_id=self.workspace.public_id,
            action=action_name,
            target_type=target_type,
            target_id=target_id,
            target_label=target_label,
            changes=changes,
        )

    def nothing_changed(self) -> None:
        """Say that things already were as asked, so that there is nothing to tell."""
        self._is_settled = True

    def forbid(self, reason: str, target: str = "") -> Forbidden:
        """Return the refusal to raise when rank or circumstance, not the role table, is against it."""
        return Forbidden(self.actor, self.action, self.workspace.public_id, reason, target)


@contextmanager
def changing(actor: Actor, ref: str, action: Action) -> Iterator[Change]:
    """Open a transaction, lock the workspace, decide anew on what is true under the lock, and yield the change.

    Raises ``NotFound`` or ``Forbidden`` like ``workspace_for``, which is asked first so that a stranger never takes
    or waits for a lock, and ``Unauthenticated`` when the credential was revoked while this waited for it (D-14).
    Leaving without an event, unless ``nothing_changed``, is a bug: ``AssertionError``.
    """
    public_id = workspace_for(actor, ref, action).workspace.public_id
    with transaction.atomic():
        change = _locked(actor, public_id, action)
        must_stand(actor)
        yield change
        if not change._is_settled:
            raise AssertionError(f"{action} changed a workspace without an event")


class Asked(NamedTuple):
    """One side of a change that concerns two workspaces: who asks there, for what."""

    actor: Actor
    ref: str
    action: Action


@contextmanager
def changing_both(source: Asked, target: Asked) -> Iterator[tuple[Change, Change]]:
    """Do what ``changing`` does in two different workspaces at once; both doors are asked before any lock is taken.

    The workspaces are locked in the order of their ids, so that two such changes never wait for each other.
    """
    sides = [(side, workspace_for(*side).workspace.public_id) for side in (source, target)]
    with transaction.atomic():
        locked = {
            public_id: _locked(side.actor, public_id, side.action)
            for side, public_id in sorted(sides, key=lambda each: each[1])
        }
        must_stand(source.actor)  # after both locks: a sign-in's row is locked by this, and workspaces come first
        changes = locked[sides[0][1]], locked[sides[1][1]]
        yield changes
        if not all(change._is_settled for change in changes):
            raise AssertionError(f"{source.action} changed two workspaces without an event in each")


def _locked(actor: Actor, public_id: str, action: Action) -> Change:
    # NO KEY: rows that merely refer to the workspace (tokens of a refresh) need not wait for its writers.
    workspace = Workspace.objects.select_for_update(no_key=True).filter(public_id=public_id).first()
    if workspace is None:
        raise NotFound("workspace")
    # A second statement: what PostgreSQL read before it got the lock may be out of date.
    stored = (
        Membership.objects.filter(workspace=workspace, account__public_id=actor.account_id)
        .values_list("role", flat=True)
        .first()
        if actor.account_id
        else None
    )
    facts = facts_about(actor, workspace, Role(stored) if stored else None)
    check(actor, action, workspace, facts)
    return Change(actor, action, workspace, facts, facts.role)
