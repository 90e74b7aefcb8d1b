"""Keys of a workspace: list, create, show, revoke."""

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router

from cmdop_server.api.auth import actor_of
from cmdop_server.api.cursors import Cursor
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.keys import CreatedKey, KeyAnswer, KeyPage, KeyQuery, NewKey, shown_key
from cmdop_server.credentials import keys, queries
from cmdop_wire.vocab import Action

router = Router(tags=["keys"])


@operation(
    router,
    "GET",
    "/workspaces/{ws}/keys",
    action=Action.KEY_LIST_OWN,
    also=[Action.KEY_LIST_ALL],
    answers=KeyPage,
)
def list_keys(request: HttpRequest, ws: str, query: Query[KeyQuery]) -> KeyPage:
    """List one's own keys and, with key.list_all, the workspace's; ``all`` adds other members' and needs it."""
    actor, now = actor_of(request), timezone.now()
    asked = {"everyone": query.all, "state": query.state, "unused_days": query.unused_days}
    seen, rows = queries.keys_for(actor, ws, everyone=query.all, state=query.state, unused_days=query.unused_days)
    cursor = Cursor(query.cursor, "list_keys", seen.workspace.public_id, actor.id, *asked.values())
    shown, following = cursor.rows(rows, query.limit)
    return KeyPage(items=[shown_key(actor, seen.facts, key, now) for key in shown], next=following)


@operation(
    router,
    "POST",
    "/workspaces/{ws}/keys",
    action=Action.KEY_CREATE_PERSONAL,
    also=[Action.KEY_CREATE_WORKSPACE],
    answers=CreatedKey,
    status=201,
    creates=True,
    seen_again=lambda actor, ws, made: queries.key_for(actor, ws, made["id"]),
)
def create_key(request: HttpRequest, ws: str, body: NewKey) -> CreatedKey:
    """Make a personal key, or a workspace key (key.create_workspace); the answer alone holds its text."""
    actor = actor_of(request)
    change, key, text = keys.create_key(
        actor, ws, kind=body.kind, name=body.name, scopes=body.scopes, expires_in=body.expires_in
    )
    shown = shown_key(actor, change.facts, key, key.created_at)
    return CreatedKey(**shown.model_dump(), secret=text)


@operation(router, "GET", "/workspaces/{ws}/keys/{key}", action=Action.KEY_LIST_OWN, answers=KeyAnswer)
def show_key(request: HttpRequest, ws: str, key: str) -> KeyAnswer:
    """Show one key by its id; other members' keys exist only for those with key.list_all."""
    actor = actor_of(request)
    seen, found = queries.key_for(actor, ws, key)
    return shown_key(actor, seen.facts, found, timezone.now())


@operation(
    router,
    "DELETE",
    "/workspaces/{ws}/keys/{key}",
    action=Action.KEY_REVOKE_OWN,
    also=[Action.KEY_REVOKE_ANY],
    answers=KeyAnswer,
)
def revoke_key(request: HttpRequest, ws: str, key: str) -> KeyAnswer:
    """Revoke one's own key, or with key.revoke_any any; revoking again changes nothing."""
    actor = actor_of(request)
    change, revoked = keys.revoke_key(actor, ws, key)
    return shown_key(actor, change.facts, revoked, timezone.now())
