"""The device grant (RFC 8628): start, what the approval page shows, approve, deny, redeem.

A *device code* is the polling client's secret, a *user code* is what the person types. Both are stored as hashes.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import GrantRefused, Invalid, NotFound, Refused
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.credentials.models import DeviceGrant, WrongUserCode
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.credentials.tokens import Pair, begin_sign_in, invalid_grant
from cmdop_server.workspaces.changes import changing
from cmdop_wire.ids import fold_user_code, is_id, is_slug, make_token, make_user_code, token_kind
from cmdop_wire.vocab import Action, ErrorCode, Reach

DEVICE_LIFE = timedelta(minutes=10)
PENALTY = 5  # seconds that each impatient poll adds to the interval (RFC 8628 §3.5)
CLIENT_LENGTH = 120

WRONG_CODE_WINDOW = timedelta(minutes=10)
WRONG_CODES_PER_ACCOUNT = 5
WRONG_CODES_PER_ADDRESS = 20  # an office shares one


@dataclass(frozen=True, slots=True)
class StartedDevice:
    """Both codes of a fresh grant; the texts exist here and in the answer only."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    interval: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PendingDevice:
    """What the approval page shows of a grant that waits for a person."""

    client: str
    address: str
    created_at: datetime
    expires_at: datetime
    workspace_hint: str


def start_device(client: str, workspace_hint: str = "", *, address: str) -> StartedDevice:
    """Make a device grant for ``client``, a short text that the approval page will show."""
    now = timezone.now()
    for _ in range(5):  # two live grants with one user code: about one in 10**10
        device_code, user_code = make_token("device"), make_user_code()
        try:
            with transaction.atomic():
                DeviceGrant.objects.create(
                    device_hash=keyed_hash(device_code),
                    user_hash=keyed_hash(user_code),
                    client=printable(client),
                    address=address,
                    workspace_hint=_named(workspace_hint),
                    interval=settings.CMDOP_CONFIG.device_interval,
                    created_at=now,
                    expires_at=now + DEVICE_LIFE,
                )
        except IntegrityError:
            continue
        return StartedDevice(device_code, user_code, settings.CMDOP_CONFIG.device_interval, now + DEVICE_LIFE)
    raise Refused(ErrorCode.UNAVAILABLE, "no free user code", retry_after=1)


def _named(workspace_hint: str) -> str:
    if workspace_hint and not is_slug(workspace_hint) and not is_id(workspace_hint, "workspace"):
        raise Invalid("a workspace is named by its slug or id", field="workspace")
    return workspace_hint


def printable(client: str) -> str:
    """Return a client's name as it is stored and compared; ``Invalid`` when nothing of it can be shown."""
    text = " ".join(client.split())
    if not text or len(text) > CLIENT_LENGTH or not text.isprintable():
        raise Invalid(f"a client's name has 1 to {CLIENT_LENGTH} printable characters", field="client")
    return text


def pending_device(actor: Actor, user_code: str) -> PendingDevice:
    """Return what a person typed the code of; a wrong and an expired code are the same ``NotFound``.

    Five wrong codes by one account in ten minutes must wait (``rate_limited`` with ``retry_after`` seconds).
    """
    grant = _pending(actor, user_code)
    return PendingDevice(grant.client, grant.address, grant.created_at, grant.expires_at, grant.workspace_hint)


def approve_device(actor: Actor, user_code: str, workspace_ref: str, reach: Reach) -> None:
    """Let the client of this code sign in as the actor, in one workspace or, with reach ``all``, in all of theirs."""
    grant = _pending(actor, user_code)
    with changing(actor, workspace_ref, Action.WORKSPACE_VIEW) as change:
        _decide(
            grant,
            approved_at=timezone.now(),
            account=account_by_id(actor.account_id or ""),
            workspace=change.workspace,
            reach=reach,
        )
        change.record(
            "sign_in.approved",
            target_type="account",
            target_id=actor.account_id or "",
            target_label=actor.label,
            client=grant.client,
            asked_from=grant.address,
            reach=reach,
        )


def deny_device(actor: Actor, user_code: str) -> None:
    """Refuse the client of this code; its next poll learns it."""
    _decide(_pending(actor, user_code), denied_at=timezone.now())  # no transaction: a wrong code stays counted


def redeem_device(device_code: str, client: str | None = None, *, address: str, request_id: str) -> Pair:
    """Answer one poll: a pair, once, or ``GrantRefused`` in the RFC's words (RFC 8628 §3.5).

    ``client``, when given, must be the text that asked for the code. Whoever approved must still be a member.
    """
    now = timezone.now()
    grant = _polled(device_code, client, now)
    approver = grant.account
    if approver is None or grant.workspace is None or not approver.is_active:
        raise _denied()
    actor = Actor(
        kind=ActorKind.ACCOUNT,
        account_id=approver.public_id,
        label=approver.email,
        workspace_id=grant.workspace.public_id,
        address=address,
        request_id=request_id,
    )
    try:
        with changing(actor, grant.workspace.public_id, Action.WORKSPACE_VIEW) as change:
            # The first of any number of parallel polls takes the grant; the row is what they compete for.
            taken = DeviceGrant.objects.filter(pk=grant.pk, redeemed_at=None, denied_at=None).update(redeemed_at=now)
            if not taken or change.role is None:
                raise invalid_grant()
            return begin_sign_in(
                change,
                approver,
                change.role,
                reach=grant.reach,
                client=grant.client,
                address=grant.address,
                now=now,
            )
    except NotFound:  # removed between approval and redemption
        raise _denied() from None


def _denied() -> GrantRefused:
    return GrantRefused(ErrorCode.ACCESS_DENIED, "the sign-in was not approved", hint="cmdop login")


def _polled(device_code: str, client: str | None, now: datetime) -> DeviceGrant:
    """Return an approved grant that waits for its redemption, or raise what the poll must be told."""
    if token_kind(device_code) != "device":
        raise invalid_grant()
    grant = (
        DeviceGrant.objects.select_related("account", "workspace").filter(device_hash=keyed_hash(device_code)).first()
    )
    if grant is None or grant.redeemed_at is not None or (client is not None and printable(client) != grant.client):
        raise invalid_grant()
    if grant.denied_at is not None:
        raise _denied()
    if grant.expires_at <= now:
        raise GrantRefused(ErrorCode.EXPIRED_TOKEN, "the code has expired", hint="cmdop login")
    if grant.approved_at is None:
        _keep_waiting(grant, now)
    return grant


def _keep_waiting(grant: DeviceGrant, now: datetime) -> None:
    """Raise ``authorization_pending``, or ``slow_down`` with a longer interval when the poll came too early."""
    mine = DeviceGrant.objects.filter(pk=grant.pk)
    if grant.polled_at is not None and now < grant.polled_at + timedelta(seconds=grant.interval):
        mine.update(polled_at=now, interval=F("interval") + PENALTY)
        raise GrantRefused(ErrorCode.SLOW_DOWN, "polled too early", interval=grant.interval + PENALTY)
    mine.update(polled_at=now)
    raise GrantRefused(ErrorCode.AUTHORIZATION_PENDING, "nobody has approved yet", interval=grant.interval)


def _pending(actor: Actor, user_code: str) -> DeviceGrant:
    """Return the grant that this code names and nobody has decided on, counting wrong codes against the actor."""
    if actor.kind is not ActorKind.ACCOUNT or actor.workspace_id is not None:
        # A key or token must not beget a sign-in that reaches further than itself.
        raise Refused(ErrorCode.FORBIDDEN, "only a person signed in to the cabinet decides on a sign-in")
    now = timezone.now()
    _refuse_guessing(actor, now)
    grant = DeviceGrant.objects.filter(
        user_hash=keyed_hash(fold_user_code(user_code)),
        expires_at__gt=now,
        approved_at=None,
        denied_at=None,
    ).first()
    if grant is None:
        for who in filter(None, (actor.account_id, actor.address)):
            WrongUserCode.objects.create(who=who, at=now)
        raise NotFound("code")
    return grant


def _refuse_guessing(actor: Actor, now: datetime) -> None:
    recent = WrongUserCode.objects.filter(at__gt=now - WRONG_CODE_WINDOW)
    for who, limit in ((actor.account_id, WRONG_CODES_PER_ACCOUNT), (actor.address, WRONG_CODES_PER_ADDRESS)):
        tries = list(recent.filter(who=who).order_by("-at").values_list("at", flat=True)[:limit])
        if who and len(tries) == limit:
            wait = (tries[-1] + WRONG_CODE_WINDOW - now).total_seconds()
            raise Refused(ErrorCode.RATE_LIMITED, "too many wrong codes", retry_after=max(1, int(wait)))


def _decide(grant: DeviceGrant, **decision: object) -> None:
    undecided = DeviceGrant.objects.filter(pk=grant.pk, approved_at=None, denied_at=None)
    if not undecided.update(**decision):
        raise NotFound("code")
