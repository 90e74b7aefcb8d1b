"""Who asks, with which credential; sign-ins and token pairs."""

from datetime import datetime
from typing import Annotated, Literal

from ninja import Field
from pydantic import StrictBool

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import NotFound
from cmdop_server.accounts.models import Account
from cmdop_server.api.schemas.common import LONGEST_TEXT, Answer, Body, BodyText, SecretText, Time, WorkspaceRef
from cmdop_server.api.schemas.workspaces import WorkspaceAnswer, shown_workspace
from cmdop_server.credentials.authenticate import Proof
from cmdop_server.credentials.devices import CLIENT_LENGTH
from cmdop_server.credentials.models import TokenFamily
from cmdop_server.credentials.queries import SignInSeen
from cmdop_server.credentials.tokens import Pair, actor_of
from cmdop_server.workspaces.queries import Seen, workspaces_of
from cmdop_wire.vocab import GRANT_DEVICE_CODE, GRANT_REFRESH, GRANT_SIGN_IN_TOKEN, Reach, Role, Scope, WorkspaceKind

ClientText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[!-~]", "maxLength": CLIENT_LENGTH})
]
GrantText = Annotated[
    str,
    Field(
        max_length=LONGEST_TEXT,
        json_schema_extra={"enum": [GRANT_DEVICE_CODE, GRANT_REFRESH, GRANT_SIGN_IN_TOKEN]},
    ),
]
CredentialKind = Literal["sign_in", "personal_key", "workspace_key"]


class AccountAnswer(Answer):
    """A person."""

    id: str
    email: str
    username: str
    name: str


class CredentialAnswer(Answer):
    """The credential of this very request; scopes are null unless it is a key."""

    kind: CredentialKind
    id: str
    name: str | None
    scopes: list[Scope] | None
    expires_at: Time | None
    sign_in_id: str | None
    reach: Reach | None


class IdentityAnswer(Answer):
    """Who one is: ``account`` is null for a workspace key, ``default_workspace`` for who cannot enter it."""

    account: AccountAnswer | None
    credential: CredentialAnswer
    workspace: WorkspaceAnswer
    default_workspace: WorkspaceRef | None


class SignInAnswer(Answer):
    """A sign-in and the slugs of the workspaces that were entered with it."""

    id: str
    client: str
    address: str
    created_at: Time
    expires_at: Time
    last_used_at: Time | None
    reach: Reach
    current: bool
    workspaces: list[str]


class SignInPage(Answer):
    """A page of sign-ins, newest first."""

    items: list[SignInAnswer]
    next: str | None


class ShortRef(Answer):
    """A workspace's id and slug."""

    id: str
    slug: str


class FamilyAnswer(Answer):
    """The rotating tokens of one sign-in in one workspace."""

    id: str
    sign_in_id: str
    workspace: ShortRef
    created_at: Time
    expires_at: Time
    current: bool


class FamilyPage(Answer):
    """A page of token families, newest first."""

    items: list[FamilyAnswer]
    next: str | None


class DeviceRequest(Body):
    """Who wants to sign in, as the approval page will show it, and which workspace it has in mind."""

    client: ClientText
    workspace: BodyText = ""


class DeviceAnswer(Answer):
    """Both codes and where to type one (RFC 8628 §3.2); times are seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class TokenRequest(Body):
    """One of three grants; which fields it needs depends on ``grant_type``."""

    grant_type: GrantText
    device_code: SecretText | None = None
    refresh_token: SecretText | None = None
    token: SecretText | None = None
    client: ClientText | None = None
    workspace: BodyText | None = None


class EnteredWorkspace(Answer):
    """The workspace that a token pair is for, with the account's role in it."""

    id: str
    slug: str
    name: str
    kind: WorkspaceKind
    role: Role


class TokenAnswer(Answer):
    """A token pair (RFC 6749 §5.1); lives are seconds, ``scope`` is the sign-in's reach."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    scope: Reach
    sign_in_id: str
    family_id: str
    account: AccountAnswer
    workspace: EnteredWorkspace
    default_workspace: WorkspaceRef | None


class RevokeRequest(Body):
    """A token to end; ``all`` ends its whole sign-in."""

    token: SecretText
    all: StrictBool = False


class RevokeAnswer(Answer):
    """The same whether the token was known or not (RFC 7009 §2.2)."""

    revoked: Literal[True]


class TokenInfo(Answer):
    """What the presented credential is."""

    kind: CredentialKind
    id: str
    workspace: ShortRef
    scopes: list[Scope] | None
    expires_at: Time | None
    reach: Reach | None
    sign_in_id: str | None


def shown_account(account: Account) -> AccountAnswer:
    """Return a person as they see themselves."""
    return AccountAnswer(id=account.public_id, email=account.email, username=account.username, name=account.name)


def shown_identity(proof: Proof) -> IdentityAnswer:
    """Return who asks, and the workspace and default workspace that this credential may enter."""
    actor = proof.actor
    enterable = workspaces_of(actor)
    seen = next((each for each in enterable if each.workspace.public_id == actor.workspace_id), None)
    if seen is None:
        raise NotFound("workspace")
    return IdentityAnswer(
        account=None if proof.account is None else shown_account(proof.account),
        credential=CredentialAnswer(
            kind=_kind(actor),
            id=actor.credential_id or "",
            name=actor.label if actor.is_key else None,
            scopes=_scopes(actor),
            expires_at=proof.expires_at,
            sign_in_id=actor.sign_in_id,
            reach=actor.reach,
        ),
        workspace=shown_workspace(actor, seen),
        default_workspace=_default_among(enterable, actor),
    )


def shown_session(actor: Actor, seen: SignInSeen) -> SignInAnswer:
    """Return a sign-in of the actor's own."""
    sign_in = seen.sign_in
    return SignInAnswer(
        id=sign_in.public_id,
        client=sign_in.client,
        address=sign_in.address,
        created_at=sign_in.created_at,
        expires_at=sign_in.expires_at,
        last_used_at=seen.last_used_at,
        reach=Reach(sign_in.reach),
        current=sign_in.public_id == actor.sign_in_id,
        workspaces=seen.slugs,
    )


def shown_family(actor: Actor, family: TokenFamily) -> FamilyAnswer:
    """Return a token family of the actor's own; it can be refreshed until its sign-in ends."""
    return FamilyAnswer(
        id=family.public_id,
        sign_in_id=family.sign_in.public_id,
        workspace=ShortRef(id=family.workspace.public_id, slug=family.workspace.slug),
        created_at=family.created_at,
        expires_at=family.sign_in.expires_at,
        current=family.public_id == actor.credential_id,
    )


def shown_pair(pair: Pair, now: datetime) -> TokenAnswer:
    """Return a fresh pair with whom and what it is for."""
    family, actor = pair.family, actor_of(pair.family, address="", request_id="")
    return TokenAnswer(
        access_token=pair.access_token,
        token_type="Bearer",  # noqa: S106 - the word of RFC 6750
        expires_in=_seconds(now, pair.access_expires_at),
        refresh_token=pair.refresh_token,
        refresh_expires_in=_seconds(now, pair.refresh_expires_at),
        scope=Reach(family.sign_in.reach),
        sign_in_id=family.sign_in.public_id,
        family_id=family.public_id,
        account=shown_account(family.sign_in.account),
        workspace=EnteredWorkspace(
            id=family.workspace.public_id,
            slug=family.workspace.slug,
            name=family.workspace.name,
            kind=WorkspaceKind(family.workspace.kind),
            role=pair.role,
        ),
        default_workspace=_default_among(workspaces_of(actor), actor),
    )


def shown_token_info(proof: Proof) -> TokenInfo:
    """Return what the presented credential is."""
    actor = proof.actor
    return TokenInfo(
        kind=_kind(actor),
        id=actor.credential_id or "",
        workspace=ShortRef(id=proof.workspace.public_id, slug=proof.workspace.slug),
        scopes=_scopes(actor),
        expires_at=proof.expires_at,
        reach=actor.reach,
        sign_in_id=actor.sign_in_id,
    )


def _kind(actor: Actor) -> CredentialKind:
    if not actor.is_key:
        return "sign_in"
    return "personal_key" if actor.account_id is not None else "workspace_key"


def _scopes(actor: Actor) -> list[Scope] | None:
    return None if actor.scopes is None else [scope for scope in Scope if scope in actor.scopes]


def _default_among(enterable: list[Seen], actor: Actor) -> WorkspaceRef | None:
    """Return the account's personal workspace if this credential may enter it (D-18)."""
    for seen in enterable:
        workspace = seen.workspace
        if seen.role is Role.OWNER and workspace.kind == WorkspaceKind.PERSONAL and actor.account_id is not None:
            return WorkspaceRef(id=workspace.public_id, slug=workspace.slug, name=workspace.name)
    return None


def _seconds(now: datetime, until: datetime) -> int:
    return max(0, int((until - now).total_seconds()))
