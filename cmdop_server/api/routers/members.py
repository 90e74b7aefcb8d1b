"""Members of a workspace: list, change role, remove, leave."""

from django.http import HttpRequest
from ninja import Query, Router

from cmdop_server.api.auth import actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.workspaces import MemberAnswer, MemberPage, MemberQuery, NewRole, shown_member
from cmdop_server.workspaces import queries, services
from cmdop_wire.vocab import Action

router = Router(tags=["members"])


@operation(router, "GET", "/workspaces/{ws}/members", action=Action.MEMBER_LIST, answers=MemberPage)
def list_members(request: HttpRequest, ws: str, query: Query[MemberQuery]) -> MemberPage:
    """List members in order of joining, or the one with this e-mail address."""
    actor = actor_of(request)
    seen = queries.workspace_for(actor, ws, Action.MEMBER_LIST)
    cursor = Cursor(query.cursor, "list_members", seen.workspace.public_id, query.email)
    found = queries.members_for(actor, ws, email=query.email, after=cursor.number() or 0, limit=query.limit + 1)
    shown, following = cursor.cut(found, query.limit, lambda membership: membership.pk)
    return MemberPage(items=[shown_member(actor, seen.facts, each) for each in shown], next=following)


@operation(router, "PATCH", "/workspaces/{ws}/members/{usr}", action=Action.MEMBER_UPDATE_ROLE, answers=MemberAnswer)
def set_role(request: HttpRequest, ws: str, usr: str, body: NewRole) -> MemberAnswer:
    """Give a member another role; nobody gives or touches a role above their own, one owner always stays."""
    actor = actor_of(request)
    membership = services.set_role(actor, ws, usr, body.role)
    return shown_member(actor, queries.workspace_for(actor, ws, Action.WORKSPACE_VIEW).facts, membership)


@operation(
    router,
    "DELETE",
    "/workspaces/{ws}/members/{usr}",
    action=Action.MEMBER_REMOVE,
    also=[Action.MEMBER_LEAVE],
    answers=None,
    status=204,
)
def remove_member(request: HttpRequest, ws: str, usr: str) -> None:
    """Remove a member for good, or with ``me`` or one's own id leave the workspace (member.leave)."""
    actor = actor_of(request)
    if usr == "me":
        services.leave(actor, ws)
    else:
        services.remove_member(actor, ws, usr)
