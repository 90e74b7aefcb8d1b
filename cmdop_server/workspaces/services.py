"""Making workspaces and changing what they are; the rules about their people are in ``members.py``."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Forbidden, Unauthenticated
from cmdop_server.access.policy import Facts
from cmdop_server.access.standing import must_stand
from cmdop_server.accounts.models import Account
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.audit import services as audit
from cmdop_server.workspaces import fields, onboarding
from cmdop_server.workspaces.changes import Change, changing
from cmdop_server.workspaces.members import add_member, leave, remove_member, set_role
from cmdop_server.workspaces.models import Membership, Workspace, new_workspace_id
from cmdop_server.workspaces.queries import Seen
from cmdop_server.workspaces.slugs import checked_slug, chosen_slug, claim_slug
from cmdop_wire.vocab import AccountAction, Action, Plan, Role, WorkspaceKind

__all__ = [
    "add_member",
    "create_workspace",
    "found",
    "leave",
    "remove_member",
    "set_role",
    "update_onboarding",
    "update_workspace",
]


def create_workspace(actor: Actor, *, name: str, slug: str | None = None, plan: str | None = None) -> Seen:
    """Create a team workspace whose owner is the actor, in one transaction (D-2, D-4).

    Raises ``Invalid``, ``Conflict`` (``slug_taken``; its details carry a free ``suggestion``), ``Forbidden`` for keys.
    """
    if actor.is_key:
        reason = f"{AccountAction.WORKSPACE_CREATE} is closed to keys"
        raise Forbidden(actor, AccountAction.WORKSPACE_CREATE, actor.workspace_id or "", reason)
    founder = account_by_id(actor.account_id or "")
    if actor.kind is not ActorKind.ACCOUNT or founder is None:
        raise Unauthenticated
    clean = fields.checked_name(name)
    wanted, chosen_plan = chosen_slug(clean, slug), fields.checked_team_plan(plan)
    again = f"cmdop workspace create {shlex.quote(clean)} --slug"
    workspace = found(actor, founder, clean, wanted, WorkspaceKind.TEAM, chosen_plan, command=again)
    return Seen(workspace, Facts(Role.OWNER), Role.OWNER, members=1, machines=0)


def found(
    actor: Actor, founder: Account, name: str, slug: str, kind: WorkspaceKind, plan: Plan, *, command: str
) -> Workspace:
    """Write a new workspace with its owner and first event; a taken ``slug`` is a ``Conflict`` hinting ``command``."""
    public_id = new_workspace_id()
    with transaction.atomic():
        must_stand(actor)
        claim_slug(slug, public_id, command=command)
        workspace = Workspace.objects.create(
            public_id=public_id, slug=slug, name=name, kind=kind, plan=plan, created_by=founder.public_id
        )
        Membership.objects.create(workspace=workspace, account=founder, role=Role.OWNER)
        audit.append(
            actor,
            workspace_id=public_id,
            action="workspace.created",
            target_type="workspace",
            target_id=public_id,
            target_label=slug,
            changes={
                "name": name,
                "slug": slug,
                "kind": str(kind),
                "plan": str(plan),
                "owner": {"id": founder.public_id, "email": founder.email},
            },
        )
    return workspace


def update_workspace(
    actor: Actor,
    ref: str,
    *,
    name: str | None = None,
    slug: str | None = None,
    description: str | None = None,
    timezone: str | None = None,
    locale: str | None = None,
) -> Seen:
    """Change what is given and leave the rest; keys, tokens and sessions outlive a new slug (D-3)."""
    asked: dict[str, Any] = {
        "name": None if name is None else fields.checked_name(name),
        "slug": None if slug is None else checked_slug(slug),
        "description": None if description is None else fields.checked_description(description),
        "timezone": None if timezone is None else fields.checked_timezone(timezone),
        "locale": None if locale is None else fields.checked_locale(locale),
    }
    with changing(actor, ref, Action.SETTINGS_EDIT) as change:
        workspace = change.workspace
        if asked["slug"] not in (None, workspace.slug):
            again = f"cmdop workspace update --workspace {workspace.slug} --slug"
            claim_slug(asked["slug"], workspace.public_id, command=again)
        _apply(change, "workspace.updated", asked)
        return _as_seen(change)


def update_onboarding(
    actor: Actor,
    ref: str,
    *,
    auto_tags: Mapping[str, str] | None = None,
    name_pattern: str | None = None,
    gate_mode: str | None = None,
    gate_rules: Sequence[Mapping[str, Any]] | None = None,
) -> Seen:
    """Change the given defaults for new machines; machines that are here already keep what they have."""
    asked: dict[str, Any] = {
        "onboarding_tags": None if auto_tags is None else onboarding.checked_tags(auto_tags),
        "onboarding_name_pattern": None if name_pattern is None else onboarding.checked_name_pattern(name_pattern),
        "onboarding_gate_mode": None if gate_mode is None else onboarding.checked_gate_mode(gate_mode),
        "onboarding_gate_rules": None if gate_rules is None else onboarding.checked_gate_rules(gate_rules),
    }
    with changing(actor, ref, Action.SETTINGS_EDIT) as change:
        _apply(change, "settings.onboarding_updated", asked)
        return _as_seen(change)


def _apply(change: Change, event: str, asked: dict[str, Any]) -> None:
    """Set the columns that differ and tell, field by field, what they were and are."""
    workspace, told = change.workspace, {}
    for column, value in asked.items():
        before = getattr(workspace, column)
        if value is not None and value != before:
            told[_FIELD_OF_COLUMN.get(column, column)] = {"from": before, "to": value}
            setattr(workspace, column, value)
    if not told:
        change.nothing_changed()
        return
    workspace.save(update_fields=[column for column, value in asked.items() if value is not None])
    change.record(
        event,
        target_type="workspace",
        target_id=workspace.public_id,
        target_label=workspace.slug,
        **told,
    )


_FIELD_OF_COLUMN = {
    "onboarding_tags": "auto_tags",
    "onboarding_name_pattern": "name_pattern",
    "onboarding_gate_mode": "gate_mode",
    "onboarding_gate_rules": "gate_rules",
}


def _as_seen(change: Change) -> Seen:
    workspace = change.workspace
    return Seen(workspace, change.facts, change.role, workspace.memberships.count(), workspace.machines.count())
