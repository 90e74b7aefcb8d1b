"""Join tokens: made by whoever may enroll machines, good for one machine and for a day at most (D-21)."""

from datetime import datetime, timedelta

from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Conflict, Invalid, NotFound, Refused, Unauthenticated
from cmdop_server.credentials.authenticate import actor_from_credential
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.machines.models import JoinToken
from cmdop_server.machines.queries import is_live
from cmdop_server.workspaces.changes import Change, changing
from cmdop_server.workspaces.models import Workspace
from cmdop_server.workspaces.queries import workspace_for
from cmdop_wire.ids import is_id, make_token
from cmdop_wire.vocab import Action, ErrorCode

NAME_LENGTH = 80
SHORTEST_LIFE = 60  # seconds
LONGEST_LIFE = 24 * 3600
USUAL_LIFE = 3600
LIVE_AT_ONCE = 100


def create_join_token(
    actor: Actor, ref: str, *, name: str = "", expires_in: int | None = None
) -> tuple[Change, JoinToken, str]:
    """Make a join token and return it with its text, which is shown never again.

    ``expires_in`` is in seconds, from a minute to a day; an hour when absent.
    """
    name = name.strip()
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise Invalid(f"a join token's name has at most {NAME_LENGTH} printable characters", field="name")
    life = USUAL_LIFE if expires_in is None else expires_in
    if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
        raise Invalid("a join token lives from a minute to 24 hours", field="expires_in")
    now, text = timezone.now(), make_token("join")
    with changing(actor, ref, Action.MACHINE_ENROLL) as change:
        if change.workspace.join_tokens.filter(is_live(now)).count() >= LIVE_AT_ONCE:
            raise Conflict(
                f"there are {LIVE_AT_ONCE} unused join tokens already",
                code=ErrorCode.LIMIT_REACHED,
                hint=f"cmdop connect join-token list --workspace {change.workspace.slug}",
                limit=LIVE_AT_ONCE,
            )
        token = JoinToken.objects.create(
            workspace=change.workspace,
            name=name,
            secret_hash=keyed_hash(text),
            created_by=actor.id,
            created_by_label=actor.label,
            creator_account=actor.account_id or "",
            creator_key=(actor.credential_id or "") if actor.is_key else "",
            created_at=now,
            expires_at=now + timedelta(seconds=life),
        )
        _record(change, "join_token.created", token, expires_at=token.expires_at)
    return change, token, text


def revoke_join_token(actor: Actor, ref: str, token_id: str) -> JoinToken:
    """Revoke a join token; one that is redeemed, expired or revoked stays as it is."""
    now = timezone.now()
    with changing(actor, ref, Action.MACHINE_ENROLL) as change:
        found = (
            change.workspace.join_tokens.filter(public_id=token_id).first() if is_id(token_id, "join_token") else None
        )
        if found is None:
            raise NotFound("join token")
        if found.redeemed_at is not None or found.revoked_at is not None or found.expires_at <= now:
            change.nothing_changed()
            return found
        found.revoked_at = now
        found.save(update_fields=["revoked_at"])
        _record(change, "join_token.revoked", found)
    return found


def revoke_everything_in(workspace: Workspace, *, now: datetime) -> int:
    """Revoke the unused join tokens of a workspace; return how many. The caller holds its lock and tells of it."""
    return workspace.join_tokens.filter(is_live(now)).update(revoked_at=now)


def actor_of_token(token: JoinToken, *, address: str, request_id: str) -> Actor:
    """Return who acts with a join token."""
    return Actor(
        kind=ActorKind.JOIN_TOKEN,
        label=token.name or token.created_by_label,
        credential_id=token.public_id,
        workspace_id=token.workspace.public_id,
        address=address,
        request_id=request_id,
    )


def redeem(change: Change, machine_id: str, now: datetime) -> None:
    """Use the acting join token up for this machine, under the workspace's lock: one of twenty wins.

    Whoever made it must still be allowed to: their role now, and the key it was made with, if it was one (D-10).
    """
    rows = change.workspace.join_tokens.filter(is_live(now), public_id=change.actor.credential_id)
    token = rows.first()
    if (
        token is None
        or not _creator_still_may(token, change)
        or not rows.update(redeemed_at=now, machine_id=machine_id)
    ):
        raise dead_join_token()


def dead_join_token() -> Unauthenticated:
    """Return the refusal of a join token that lets nothing in; the same for one that never was (D-9)."""
    return Unauthenticated(
        "this join token lets no machine in: it was used, revoked, has expired, or is of another server",
        hint="cmdop connect join-token create",
    )


def _creator_still_may(token: JoinToken, change: Change) -> bool:
    workspace_id = change.workspace.public_id
    try:
        if token.creator_key:
            creator = actor_from_credential(token.creator_key, address="", request_id="")
        elif token.creator_account:
            creator = Actor(ActorKind.ACCOUNT, account_id=token.creator_account, workspace_id=workspace_id)
        else:
            return True  # made on the server's host
        workspace_for(creator, workspace_id, Action.MACHINE_ENROLL)
    except Refused:
        return False
    return True


def _record(change: Change, event: str, token: JoinToken, **changes: object) -> None:
    change.record(event, target_type="join_token", target_id=token.public_id, target_label=token.name, **changes)
