"""Tickets: a credential's one-time stand-in for opening one stream, for one right on one machine."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Invalid, Unauthenticated
from cmdop_server.credentials.authenticate import standing_of
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.machines.queries import machine_for
from cmdop_server.sessions.models import Ticket
from cmdop_wire.ids import make_token, token_kind
from cmdop_wire.vocab import STREAM_RIGHTS, Action

LIFE = timedelta(seconds=30)
RIGHTS = tuple(STREAM_RIGHTS.values())


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a ticket was made for.

    ``expires_at`` is that of the token that asked for it, by when a stream must be re-authenticated; ``ends_at`` is the
    end of its key or sign-in.
    """

    actor: Actor
    machine_id: str
    action: Action
    expires_at: datetime | None
    ends_at: datetime | None


def create_ticket(
    actor: Actor, ref: str, machine_ref: str, right: str, *, credential_expires_at: datetime | None
) -> tuple[str, datetime]:
    """Return the text of a ticket for ``right`` on a machine where the actor has that right, and when it ends."""
    if right not in RIGHTS:
        raise Invalid(f"a ticket is for one of {', '.join(RIGHTS)}", field="right")
    action = Action(right)
    machine = machine_for(actor, ref, machine_ref, action)
    if actor.credential_id is None:
        raise Unauthenticated  # a ticket stands for a key or a sign-in, and dies with it
    text, now = make_token("ticket"), timezone.now()
    Ticket.objects.create(
        secret_hash=keyed_hash(text),
        workspace=machine.workspace,
        machine=machine,
        action=action,
        account_id_then=actor.account_id or "",
        credential_id=actor.credential_id,
        credential_expires_at=credential_expires_at,
        created_at=now,
        expires_at=now + LIFE,
    )
    return text, now + LIFE


def expire_everything(*, now: datetime) -> None:
    """End every unused ticket, in the caller's transaction."""
    Ticket.objects.filter(redeemed_at=None, expires_at__gt=now).update(expires_at=now)


def redeem_ticket(text: str, *, address: str, request_id: str) -> Redeemed:
    """Use a ticket up and return who it stands for, and for what; ``Unauthenticated`` when it is none, or used.

    Its credential must still be good; whether the right still holds is asked by whoever opens the stream.
    """
    now = timezone.now()
    if token_kind(text) != "ticket":
        raise Unauthenticated
    rows = Ticket.objects.filter(secret_hash=keyed_hash(text), redeemed_at=None, expires_at__gt=now)
    ticket = rows.select_related("machine", "workspace").first()
    if ticket is None or not rows.update(redeemed_at=now):
        raise Unauthenticated
    standing = standing_of(ticket.credential_id, address=address, request_id=request_id)
    actor = standing.actor
    if (actor.account_id or "", actor.workspace_id) != (ticket.account_id_then, ticket.workspace.public_id):
        raise Unauthenticated
    return Redeemed(
        actor, ticket.machine.public_id, Action(ticket.action), ticket.credential_expires_at, standing.ends_at
    )
