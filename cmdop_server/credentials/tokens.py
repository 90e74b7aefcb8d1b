"""Token pairs: issue, rotate, exchange (D-16). Device codes and sign-ins as such live beside this file.

A *family* is what rotates under one sign-in in one workspace. Presenting a refresh token gives a fresh access token
and the family's newest refresh token; a token replaced long ago gives the end of its family.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Forbidden, GrantRefused, NotFound
from cmdop_server.credentials.endings import end_families
from cmdop_server.credentials.models import SignIn, Token, TokenFamily
from cmdop_server.credentials.secrets import keyed_hash, successor_of
from cmdop_server.workspaces.changes import changing
from cmdop_wire.ids import is_slug, make_token, token_kind
from cmdop_wire.vocab import AccountAction, Action, ErrorCode, Reach, Role

if TYPE_CHECKING:
    from cmdop_server.accounts.models import Account
    from cmdop_server.workspaces.changes import Change
    from cmdop_server.workspaces.models import Workspace

ACCESS_LIFE = timedelta(hours=1)
SIGN_IN_LIFE = timedelta(days=30)  # absolute; no refresh token outlives it
GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Pair:
    """An access and a refresh token for one workspace; the texts exist here and in the answer only."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_at: datetime
    refresh_expires_at: datetime
    family: TokenFamily  # with sign_in, its account, and workspace at hand
    role: Role


def invalid_grant() -> GrantRefused:
    """Return the one refusal for a token that is unknown, used, ended or expired (RFC 6749 §5.2)."""
    return GrantRefused(ErrorCode.INVALID_GRANT, "this code or token is unknown, used or ended", hint="cmdop login")


def actor_of(family: TokenFamily, *, address: str, request_id: str) -> Actor:
    """Return who acts with a token of ``family``."""
    account = family.sign_in.account
    return Actor(
        kind=ActorKind.ACCOUNT,
        account_id=account.public_id,
        label=account.email,
        credential_id=family.public_id,
        workspace_id=family.workspace.public_id,
        sign_in_id=family.sign_in.public_id,
        reach=Reach(family.sign_in.reach),
        address=address,
        request_id=request_id,
    )


def begin_sign_in(
    change: "Change", account: "Account", role: Role, *, reach: str, client: str, address: str, now: datetime
) -> Pair:
    """Make a sign-in with its first pair in the workspace of ``change``, and write it down there.

    ``client`` and ``address`` are of the program that asked, which need not be where it was approved.
    """
    sign_in = SignIn.objects.create(
        account=account, reach=reach, client=client, address=address, created_at=now, expires_at=now + SIGN_IN_LIFE
    )
    pair = open_family(sign_in, change.workspace, role, now)
    change.record(
        "sign_in.entered",
        target_type="sign_in",
        target_id=sign_in.public_id,
        target_label=sign_in.client,
        family=pair.family.public_id,
        reach=reach,
    )
    return pair


def open_family(sign_in: SignIn, workspace: "Workspace", role: Role, now: datetime) -> Pair:
    """Make a family with its first pair, inside the caller's transaction and after its membership check."""
    family = TokenFamily.objects.create(sign_in=sign_in, workspace=workspace, created_at=now)
    text = make_token("refresh")
    _store_refresh(family, text, now)
    return _pair(family, text, role, now)


def refresh(text: str, *, address: str, request_id: str) -> Pair:
    """Rotate the pair of a refresh token; ``invalid_grant`` when it is none, or no longer one.

    The replaced token is accepted until its successor was used once or 60 s have passed, whichever is later, and
    leads to the same successor each time; after that its reuse ends the family (D-16).
    """
    now = timezone.now()
    with transaction.atomic():
        family, token = _presented(text, now)
        if _reused(token, now):
            actor = actor_of(family, address=address, request_id=request_id)
            end_families(actor, [family], cause="reuse", now=now)
            pair = None  # raised below: the end of the family must not roll back
        else:
            pair = _rotated(family, token, text, _role_in(family), now)
    if pair is None:
        raise invalid_grant()
    return pair


def exchange(text: str, workspace_ref: str, *, address: str, request_id: str) -> Pair:
    """Open a family in another workspace under the same sign-in; the presented token stays as it is (D-16).

    Naming the token's own workspace is an ordinary refresh. Only a sign-in for all workspaces may go elsewhere, and
    only where its account is a member now.
    """
    now = timezone.now()
    with transaction.atomic():
        family, token = _presented(text, now)
        actor = actor_of(family, address=address, request_id=request_id)
        reused = _reused(token, now)
    if reused or workspace_ref in (family.workspace.public_id, family.workspace.slug):
        return refresh(text, address=address, request_id=request_id)
    if family.sign_in.reach != Reach.ALL:
        raise Forbidden(
            actor,
            AccountAction.ACCOUNT_VIEW,
            family.workspace.public_id,
            "this sign-in is for one workspace only",
            hint=f"cmdop login --workspace {workspace_ref}" if is_slug(workspace_ref) else "cmdop login",
        )
    # As a member of the target; its log has no business with where the person came from.
    traveller = replace(actor, workspace_id=None, credential_id=None)
    with changing(traveller, workspace_ref, Action.WORKSPACE_VIEW) as change:
        _presented(text, now)  # again: it may have ended while we waited for the workspace
        Token.objects.filter(pk=token.pk, used_at=None).update(used_at=now)  # its holder has it: the grace may end
        if change.role is None:
            raise NotFound("workspace")
        pair = open_family(family.sign_in, change.workspace, change.role, now)
        change.record(
            "sign_in.entered",
            target_type="sign_in",
            target_id=family.sign_in.public_id,
            target_label=family.sign_in.client,
            family=pair.family.public_id,
        )
    return pair


def _presented(text: str, now: datetime) -> tuple[TokenFamily, Token]:
    """Return the locked family and the row of a live refresh token, or raise ``invalid_grant``."""
    if token_kind(text) != "refresh":
        raise invalid_grant()
    hashed = keyed_hash(text)
    family = (
        TokenFamily.objects.select_for_update(of=("self",))
        .select_related("sign_in__account", "workspace")
        .filter(
            tokens__secret_hash=hashed,
            tokens__kind="refresh",
            tokens__expires_at__gt=now,
            revoked_at=None,
            sign_in__ended_at=None,
            sign_in__expires_at__gt=now,
            sign_in__account__is_active=True,
        )
        .first()
    )
    if family is None:
        raise invalid_grant()
    return family, family.tokens.select_related("successor").get(secret_hash=hashed)


def _reused(token: Token, now: datetime) -> bool:
    """Tell whether a replaced token comes back after its grace."""
    if token.successor is None or token.rotated_at is None:
        return False
    return token.successor.used_at is not None and now >= token.rotated_at + GRACE


def _rotated(family: TokenFamily, token: Token, text: str, role: Role, now: datetime) -> Pair:
    """Return a pair with the newest refresh token of the family, made now if the presented one was the newest."""
    while token.successor is not None:  # a replay inside the grace: walk to the end of what was handed out
        text = successor_of(text)
        token = family.tokens.select_related("successor").get(pk=token.successor.pk)
        if token.successor is None:
            return _pair(family, text, role, now)
    text = successor_of(text)
    token.successor = _store_refresh(family, text, now)
    token.rotated_at = now
    token.used_at = token.used_at or now
    token.save(update_fields=["successor", "rotated_at", "used_at"])
    family.tokens.filter(kind="access", expires_at__lte=now).delete()
    return _pair(family, text, role, now)


def _store_refresh(family: TokenFamily, text: str, now: datetime) -> Token:
    return family.tokens.create(
        kind="refresh", secret_hash=keyed_hash(text), created_at=now, expires_at=family.sign_in.expires_at
    )


def _pair(family: TokenFamily, refresh_token: str, role: Role, now: datetime) -> Pair:
    access_token = make_token("access")
    ends = min(now + ACCESS_LIFE, family.sign_in.expires_at)
    family.tokens.create(kind="access", secret_hash=keyed_hash(access_token), created_at=now, expires_at=ends)
    return Pair(access_token, refresh_token, ends, family.sign_in.expires_at, family, role)


def _role_in(family: TokenFamily) -> Role:
    """Return the account's role in the family's workspace; no member, no grant."""
    role = (
        family.sign_in.account.memberships.filter(workspace=family.workspace_id).values_list("role", flat=True).first()
    )
    if role is None:
        raise invalid_grant()
    return Role(role)
