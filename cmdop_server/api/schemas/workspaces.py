"""Workspaces, their members, defaults for new machines and quotas."""

from typing import Annotated, Any

from ninja import Field, Schema

from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import Facts, authorized_actions
from cmdop_server.api.schemas.common import (
    LONGEST_TEXT,
    Answer,
    Body,
    BodyText,
    PageQuery,
    QueryText,
    Quota,
    SlugText,
    Time,
)
from cmdop_server.workspaces.fields import DESCRIPTION_LENGTH, NAME_LENGTH
from cmdop_server.workspaces.models import Membership, Workspace
from cmdop_server.workspaces.plans import TEAM_PLANS
from cmdop_server.workspaces.queries import Seen, member_actions
from cmdop_wire.vocab import ROLE_ALIASES, Action, GateMode, Plan, Role, WorkspaceKind, WorkspaceState

NameText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[!-~]", "maxLength": NAME_LENGTH})
]
DescriptionText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[ -~]*$", "maxLength": DESCRIPTION_LENGTH})
]
PlanText = Annotated[str, Field(max_length=LONGEST_TEXT, json_schema_extra={"enum": list(TEAM_PLANS)})]
RoleText = Annotated[str, Field(max_length=LONGEST_TEXT, json_schema_extra={"enum": [*Role, *ROLE_ALIASES]})]
GateModeText = Annotated[str, Field(max_length=LONGEST_TEXT, json_schema_extra={"enum": list(GateMode)})]


class WorkspaceAnswer(Answer):
    """A workspace as the caller sees it; ``role`` is null for a workspace key."""

    id: str
    slug: str
    name: str
    kind: WorkspaceKind
    state: WorkspaceState
    plan: Plan
    description: str
    timezone: str
    locale: str
    role: Role | None
    members: int
    machines: int
    created_at: Time
    authorized_actions: list[Action]


class WorkspacePage(Answer):
    """A page of workspaces, by slug."""

    items: list[WorkspaceAnswer]
    next: str | None


class NewWorkspace(Body):
    """A team workspace to be; without a slug one is derived from the name."""

    name: NameText
    slug: SlugText | None = None
    plan: PlanText | None = None


class WorkspaceChanges(Body):
    """What to change; absent or null fields stay as they are."""

    name: NameText | None = None
    slug: SlugText | None = None
    description: DescriptionText | None = None
    timezone: BodyText | None = None
    locale: BodyText | None = None


class SlugQuery(Schema):
    """A name to derive a slug from, or a slug to look at."""

    name: QueryText = ""
    slug: QueryText = ""


class SlugAnswer(Answer):
    """What a slug would be, whether it is free, and a free one when it is not."""

    slug: str
    available: bool
    suggestion: str | None


class MemberAnswer(Answer):
    """An account inside a workspace; ``you`` marks the caller."""

    id: str
    email: str
    name: str
    role: Role
    joined_at: Time
    you: bool
    authorized_actions: list[Action]


class MemberPage(Answer):
    """A page of members, in order of joining."""

    items: list[MemberAnswer]
    next: str | None


class MemberQuery(PageQuery):
    """Which members."""

    email: QueryText | None = None


class NewRole(Body):
    """The role a member is to have; aliases are understood."""

    role: RoleText


class OnboardingAnswer(Answer):
    """What new machines of the workspace start with."""

    auto_tags: dict[str, str]
    name_pattern: str
    gate_mode: GateMode
    gate_rules: list[dict[str, Any]]


class OnboardingChanges(Body):
    """What to change of the defaults; absent or null fields stay as they are."""

    auto_tags: dict[str, str] | None = Field(None, max_length=100)
    name_pattern: BodyText | None = None
    gate_mode: GateModeText | None = None
    gate_rules: list[dict[str, Any]] | None = Field(None, max_length=1000)


class UsageAnswer(Answer):
    """The plan, and how much of each limit is used; personal keys are the caller's own."""

    plan: Plan
    members: Quota
    machines: Quota
    workspace_keys: Quota
    personal_keys: Quota


def shown_workspace(actor: Actor, seen: Seen) -> WorkspaceAnswer:
    """Return a workspace as ``actor`` may see it."""
    workspace = seen.workspace
    return WorkspaceAnswer(
        id=workspace.public_id,
        slug=workspace.slug,
        name=workspace.name,
        kind=WorkspaceKind(workspace.kind),
        state=WorkspaceState(workspace.state),
        plan=Plan(workspace.plan),
        description=workspace.description,
        timezone=workspace.timezone,
        locale=workspace.locale,
        role=seen.role,
        members=seen.members,
        machines=seen.machines or 0,
        created_at=workspace.created_at,
        authorized_actions=authorized_actions(actor, seen.facts),
    )


def shown_member(actor: Actor, facts: Facts, membership: Membership) -> MemberAnswer:
    """Return a member with what ``actor`` may do to them."""
    account = membership.account
    return MemberAnswer(
        id=account.public_id,
        email=account.email,
        name=account.name,
        role=Role(membership.role),
        joined_at=membership.joined_at,
        you=account.public_id == actor.account_id,
        authorized_actions=member_actions(actor, facts, membership),
    )


def shown_onboarding(workspace: Workspace) -> OnboardingAnswer:
    """Return the defaults for new machines."""
    return OnboardingAnswer(
        auto_tags=workspace.onboarding_tags,
        name_pattern=workspace.onboarding_name_pattern,
        gate_mode=GateMode(workspace.onboarding_gate_mode),
        gate_rules=workspace.onboarding_gate_rules,
    )
