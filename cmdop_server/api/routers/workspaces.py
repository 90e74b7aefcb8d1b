"""Workspaces: list, create, show, update, preview a slug, quotas, defaults for new machines."""

from django.http import HttpRequest
from ninja import Query, Router

from cmdop_server.access.actor import Actor
from cmdop_server.api.auth import actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.common import PageQuery, Quota
from cmdop_server.api.schemas.workspaces import (
    NewWorkspace,
    OnboardingAnswer,
    OnboardingChanges,
    SlugAnswer,
    SlugQuery,
    UsageAnswer,
    WorkspaceAnswer,
    WorkspaceChanges,
    WorkspacePage,
    shown_onboarding,
    shown_workspace,
)
from cmdop_server.credentials.queries import key_usage
from cmdop_server.workspaces import queries, services
from cmdop_server.workspaces.plans import LIMITS
from cmdop_wire.vocab import AccountAction, Action, KeyKind, Plan

router = Router(tags=["workspaces"])


def page_of_workspaces(actor: Actor, query: PageQuery, name: str) -> WorkspacePage:
    """Return one page of what the actor may enter, by slug; ``name`` is the asking operation's."""
    cursor = Cursor(query.cursor, name, actor.id, actor.workspace_id)
    found = [seen for seen in queries.workspaces_of(actor) if seen.workspace.slug > str(cursor.position or "")]
    shown, following = cursor.cut(found, query.limit, lambda seen: seen.workspace.slug)
    return WorkspacePage(items=[shown_workspace(actor, seen) for seen in shown], next=following)


@operation(router, "GET", "/workspaces", action=AccountAction.ACCOUNT_VIEW, answers=WorkspacePage)
def list_workspaces(request: HttpRequest, query: Query[PageQuery]) -> WorkspacePage:
    """List the workspaces that this credential may enter, by slug."""
    return page_of_workspaces(actor_of(request), query, "list_workspaces")


@operation(
    router,
    "POST",
    "/workspaces",
    action=AccountAction.WORKSPACE_CREATE,
    answers=WorkspaceAnswer,
    status=201,
    creates=True,
)
def create_workspace(request: HttpRequest, body: NewWorkspace) -> WorkspaceAnswer:
    """Create a team workspace that the caller owns; closed to keys."""
    actor = actor_of(request)
    seen = services.create_workspace(actor, name=body.name, slug=body.slug, plan=body.plan)
    return shown_workspace(actor, seen)


@operation(router, "GET", "/workspaces/slug-preview", action=AccountAction.ACCOUNT_VIEW, answers=SlugAnswer)
def preview_slug(request: HttpRequest, query: Query[SlugQuery]) -> SlugAnswer:  # noqa: ARG001 - ninja passes it
    """Tell what slug a name would give, or whether a slug is free."""
    preview = queries.slug_preview(name=query.name, slug=query.slug)
    return SlugAnswer(slug=preview.slug, available=preview.available, suggestion=preview.suggestion)


@operation(router, "GET", "/workspaces/{ws}", action=Action.WORKSPACE_VIEW, answers=WorkspaceAnswer)
def show_workspace(request: HttpRequest, ws: str) -> WorkspaceAnswer:
    """Show one workspace, by id or slug."""
    actor = actor_of(request)
    return shown_workspace(actor, queries.workspace_for(actor, ws, Action.WORKSPACE_VIEW, with_machines=True))


@operation(router, "PATCH", "/workspaces/{ws}", action=Action.SETTINGS_EDIT, answers=WorkspaceAnswer)
def update_workspace(request: HttpRequest, ws: str, body: WorkspaceChanges) -> WorkspaceAnswer:
    """Change name, slug, description, time zone or locale; keys and tokens outlive a new slug."""
    actor = actor_of(request)
    return shown_workspace(actor, services.update_workspace(actor, ws, **body.model_dump()))


@operation(router, "GET", "/workspaces/{ws}/usage", action=Action.WORKSPACE_VIEW, answers=UsageAnswer)
def show_usage(request: HttpRequest, ws: str) -> UsageAnswer:
    """Show the plan and how much of its limits is used."""
    seen = queries.workspace_for(actor_of(request), ws, Action.WORKSPACE_VIEW, with_machines=True)
    limits, keys = LIMITS[Plan(seen.workspace.plan)], key_usage(actor_of(request), seen)
    return UsageAnswer(
        plan=Plan(seen.workspace.plan),
        members=Quota(used=seen.members, limit=limits.members),
        machines=Quota(used=seen.machines or 0, limit=limits.machines),
        workspace_keys=Quota(used=keys[KeyKind.WORKSPACE].used, limit=keys[KeyKind.WORKSPACE].limit),
        personal_keys=Quota(used=keys[KeyKind.PERSONAL].used, limit=keys[KeyKind.PERSONAL].limit),
    )


@operation(router, "GET", "/workspaces/{ws}/onboarding", action=Action.SETTINGS_VIEW, answers=OnboardingAnswer)
def show_onboarding(request: HttpRequest, ws: str) -> OnboardingAnswer:
    """Show what new machines of the workspace start with."""
    return shown_onboarding(queries.workspace_for(actor_of(request), ws, Action.SETTINGS_VIEW).workspace)


@operation(router, "PATCH", "/workspaces/{ws}/onboarding", action=Action.SETTINGS_EDIT, answers=OnboardingAnswer)
def update_onboarding(request: HttpRequest, ws: str, body: OnboardingChanges) -> OnboardingAnswer:
    """Change what new machines start with; machines that are here keep what they have."""
    return shown_onboarding(services.update_onboarding(actor_of(request), ws, **body.model_dump()).workspace)
