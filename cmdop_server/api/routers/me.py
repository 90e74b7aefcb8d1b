"""Who am I, where may I go, what is signed in."""

from django.http import HttpRequest
from ninja import Query, Router

from cmdop_server.api.auth import ApiRequest, actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.routers.workspaces import page_of_workspaces
from cmdop_server.api.schemas.common import PageQuery
from cmdop_server.api.schemas.identity import (
    FamilyPage,
    IdentityAnswer,
    SignInPage,
    shown_family,
    shown_identity,
    shown_session,
)
from cmdop_server.api.schemas.workspaces import WorkspacePage
from cmdop_server.credentials import queries, sign_ins
from cmdop_wire.vocab import AccountAction

router = Router(tags=["me"])


@operation(router, "GET", "/me", action=AccountAction.ACCOUNT_VIEW, answers=IdentityAnswer)
def show_me(request: ApiRequest) -> IdentityAnswer:
    """Show the account and credential of this request, and the workspace they are for."""
    return shown_identity(request.auth)


@operation(router, "GET", "/me/workspaces", action=AccountAction.ACCOUNT_VIEW, answers=WorkspacePage)
def list_my_workspaces(request: HttpRequest, query: Query[PageQuery]) -> WorkspacePage:
    """List the workspaces that this credential may enter, by slug."""
    return page_of_workspaces(actor_of(request), query, "list_my_workspaces")


@operation(router, "GET", "/me/sessions", action=AccountAction.ACCOUNT_EDIT, answers=SignInPage)
def list_my_sessions(request: HttpRequest, query: Query[PageQuery]) -> SignInPage:
    """List the account's sign-ins, newest first; one for a single workspace sees only itself."""
    actor = actor_of(request)
    cursor = Cursor(query.cursor, "list_my_sessions", actor.id, actor.reach, actor.sign_in_id)
    shown, following = cursor.rows(queries.sign_ins_of(actor), query.limit)
    return SignInPage(items=[shown_session(actor, queries.seen(sign_in)) for sign_in in shown], next=following)


@operation(router, "DELETE", "/me/sessions/{sig}", action=AccountAction.ACCOUNT_EDIT, answers=None, status=204)
def end_my_session(request: HttpRequest, sig: str) -> None:
    """End a sign-in and everything that grew from it, at once."""
    sign_ins.end_sign_in(actor_of(request), sig)


@operation(router, "GET", "/me/tokens", action=AccountAction.ACCOUNT_EDIT, answers=FamilyPage)
def list_my_tokens(request: HttpRequest, query: Query[PageQuery]) -> FamilyPage:
    """List the account's token families, newest first; closed to keys."""
    actor = actor_of(request)
    cursor = Cursor(query.cursor, "list_my_tokens", actor.id, actor.reach, actor.sign_in_id)
    shown, following = cursor.rows(queries.families_of(actor), query.limit)
    return FamilyPage(items=[shown_family(actor, family) for family in shown], next=following)
