"""How hosts come in: registering one, and the join tokens that do it once without a person."""

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from cmdop_server.access.actor import ActorKind
from cmdop_server.access.errors import Invalid
from cmdop_server.api.auth import actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.join_token_auth import BEARER_OR_JOIN_TOKEN
from cmdop_server.api.operations import operation
from cmdop_server.api.relay_address import relay_url
from cmdop_server.api.schemas.common import PageQuery
from cmdop_server.api.schemas.machines import (
    CreatedJoinToken,
    JoinTokenAnswer,
    JoinTokenPage,
    NewJoinToken,
    NewMachine,
    RegisteredMachine,
    shown_join_token,
    shown_registered,
)
from cmdop_server.machines import queries, services
from cmdop_wire.frames import AGENT_PATH
from cmdop_wire.vocab import Action

router = Router(tags=["machines"])


@operation(
    router,
    "POST",
    "/agent/register",
    action=Action.MACHINE_REGISTER,
    answers=RegisteredMachine,
    status=201,
    creates=True,
    auth=BEARER_OR_JOIN_TOKEN,
)
def register_machine(request: HttpRequest, body: NewMachine) -> RegisteredMachine:
    """Register a host in the workspace of the credential, or of the join token in the body; not both.

    The answer alone holds the machine's own credential, which opens nothing but its link to the relay.
    """
    actor = actor_of(request)
    if body.join_token is not None and actor.kind is not ActorKind.JOIN_TOKEN:
        raise Invalid("a join token stands in place of a credential, not beside one", field="join_token")
    made = services.register(
        actor,
        actor.workspace_id or "",
        body.host(),
        previous=body.credential,
        replace=body.replace,
        accept_bypass=body.accept_bypass,
        meant=body.workspace,
    )
    return shown_registered(actor, made, relay_url(AGENT_PATH), timezone.now())


@operation(router, "GET", "/workspaces/{ws}/join-tokens", action=Action.MACHINE_ENROLL, answers=JoinTokenPage)
def list_join_tokens(request: HttpRequest, ws: str, query: Query[PageQuery]) -> JoinTokenPage:
    """List join tokens, newest first, with what became of them."""
    seen, rows = queries.join_tokens_for(actor_of(request), ws)
    cursor, now = Cursor(query.cursor, "list_join_tokens", seen.workspace.public_id), timezone.now()
    shown, following = cursor.rows(rows, query.limit)
    return JoinTokenPage(items=[shown_join_token(token, now) for token in shown], next=following)


@operation(
    router,
    "POST",
    "/workspaces/{ws}/join-tokens",
    action=Action.MACHINE_ENROLL,
    answers=CreatedJoinToken,
    status=201,
    creates=True,
)
def create_join_token(request: HttpRequest, ws: str, body: NewJoinToken) -> CreatedJoinToken:
    """Make a token that registers one machine, within 24 hours at most; the answer alone holds its text."""
    _, token, text = services.create_join_token(actor_of(request), ws, name=body.name, expires_in=body.expires_in)
    return CreatedJoinToken(**shown_join_token(token, token.created_at).model_dump(), secret=text)


@operation(
    router, "DELETE", "/workspaces/{ws}/join-tokens/{jtk}", action=Action.MACHINE_ENROLL, answers=JoinTokenAnswer
)
def revoke_join_token(request: HttpRequest, ws: str, jtk: str) -> JoinTokenAnswer:
    """Revoke a join token; one that was used or has ended stays as it is."""
    return shown_join_token(services.revoke_join_token(actor_of(request), ws, jtk), timezone.now())
