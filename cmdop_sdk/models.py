"""What the API answers, as frozen structs: names as on the wire, unknown fields ignored (a newer server may send more).

Words with a closed vocabulary (role, state, kind …) are plain texts here for the same reason; ``cmdop_wire.vocab``
has the values known today, and they compare equal. Times are aware datetimes in UTC.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

from cmdop_sdk.auth import Secret

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """One page of a list; ``next`` is the cursor of the following one, ``None`` on the last."""

    items: list[T]
    next: str | None = None


class ShortRef(Struct, frozen=True):
    """A workspace named in passing."""

    id: str
    slug: str


class WorkspaceRef(ShortRef, frozen=True):
    """A workspace with the name that people gave it."""

    name: str


class EnteredWorkspace(WorkspaceRef, frozen=True):
    """The workspace that a token pair is for, and what its account is there."""

    kind: str
    role: str


class Workspace(Struct, frozen=True, kw_only=True):
    """A workspace as the caller sees it; ``role`` is ``None`` for a workspace key."""

    id: str
    slug: str
    name: str
    kind: str
    state: str
    plan: str
    description: str = ""
    timezone: str = ""
    locale: str = ""
    role: str | None = None
    members: int = 0
    machines: int = 0
    created_at: datetime
    authorized_actions: list[str] = field(default_factory=list)


class Account(Struct, frozen=True):
    """A person's account."""

    id: str
    email: str
    username: str = ""
    name: str = ""


class PersonRef(Struct, frozen=True):
    """An account named in passing."""

    id: str
    email: str


class CredentialInfo(Struct, frozen=True, kw_only=True):
    """The credential that a request was made with; ``kind`` is sign_in, personal_key or workspace_key."""

    kind: str
    id: str
    name: str | None = None
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    sign_in_id: str | None = None
    reach: str | None = None


class Identity(Struct, frozen=True, kw_only=True):
    """Who one is: ``account`` is ``None`` for a workspace key."""

    account: Account | None
    credential: CredentialInfo
    workspace: Workspace
    default_workspace: WorkspaceRef | None = None


class SignIn(Struct, frozen=True, kw_only=True):
    """A sign-in: one approved device and the workspaces that were entered with it (``workspaces`` holds slugs)."""

    id: str
    client: str = ""
    address: str = ""
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    reach: str
    current: bool = False
    workspaces: list[str] = field(default_factory=list)


class TokenFamily(Struct, frozen=True, kw_only=True):
    """The rotating tokens of one sign-in in one workspace."""

    id: str
    sign_in_id: str
    workspace: ShortRef
    created_at: datetime
    expires_at: datetime
    current: bool = False


class TokenInfo(Struct, frozen=True, kw_only=True):
    """What the presented credential is, as ``/auth/token/info`` tells."""

    kind: str
    id: str
    workspace: ShortRef
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    reach: str | None = None
    sign_in_id: str | None = None


class DeviceCode(Struct, frozen=True, kw_only=True):
    """The start of a device grant (RFC 8628 §3.2); ``expires_in`` and ``interval`` are seconds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5


class TokenGrant(Struct, frozen=True, kw_only=True):
    """A token pair as ``/auth/token`` sends it; ``auth.TokenPair`` is the same bound to origin and mode."""

    access_token: Secret
    refresh_token: Secret
    expires_in: float
    refresh_expires_in: float
    scope: str
    sign_in_id: str
    family_id: str
    account: Account
    workspace: EnteredWorkspace
    default_workspace: WorkspaceRef | None = None


class Member(Struct, frozen=True, kw_only=True):
    """An account inside a workspace; ``id`` is the account's, ``you`` marks the caller."""

    id: str
    email: str
    name: str = ""
    role: str
    joined_at: datetime
    you: bool = False
    authorized_actions: list[str] = field(default_factory=list)


class Key(Struct, frozen=True, kw_only=True):
    """An API key without its secret; ``prefix`` is what may be shown of it."""

    id: str
    kind: str
    name: str
    prefix: str
    scopes: list[str]
    reserved_scopes: list[str] = field(default_factory=list)
    owner: PersonRef | None = None
    created_by: PersonRef | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_address: str | None = None
    revoked_at: datetime | None = None
    state: str
    authorized_actions: list[str] = field(default_factory=list)


class CreatedKey(Key, frozen=True, kw_only=True):
    """A key as its creation answers: ``secret`` is here once.

    It is ``None`` when the first answer was lost and this one is a replay (``replayed``): the key exists, nobody
    knows its text, so revoke it and create another (D-12).
    """

    secret: Secret | None = None
    replayed: bool = False


class SlugPreview(Struct, frozen=True):
    """What a name or slug would become; ``suggestion`` is a free one when it is taken (D-2)."""

    slug: str
    available: bool
    suggestion: str | None = None


class Onboarding(Struct, frozen=True, kw_only=True):
    """What a new machine starts with; ``gate_rules`` are in the form of permissions.yaml."""

    auto_tags: dict[str, str] = field(default_factory=dict)
    name_pattern: str = ""
    gate_mode: str = ""
    gate_rules: list[Any] = field(default_factory=list)


class Quota(Struct, frozen=True):
    """How much of a limit is used; ``limit`` is ``None`` where there is none."""

    used: int
    limit: int | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """The plan and how much of it is used."""

    plan: str
    members: Quota
    machines: Quota
    workspace_keys: Quota
    personal_keys: Quota


class EventActor(Struct, frozen=True):
    """Who acted, as the audit log knows them."""

    kind: str
    id: str | None = None
    label: str = ""


class EventTarget(Struct, frozen=True):
    """What was acted on."""

    type: str
    id: str
    label: str = ""


class Event(Struct, frozen=True, kw_only=True):
    """One entry of a workspace's audit log; ``seq`` has no gaps, ``hash`` covers ``previous`` (D-30).

    ``at`` is a text, exactly as it was hashed: UTC with six decimals, which ``datetime.fromisoformat`` reads.
    """

    id: str
    seq: int
    at: str
    actor: EventActor
    credential_id: str | None = None
    action: str
    result: str
    reason: str = ""
    target: EventTarget
    changes: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    address: str = ""
    previous: str = ""
    hash: str = ""


class AuditHead(Struct, frozen=True, kw_only=True):
    """The signed end of a workspace's chain; keep it elsewhere to notice a cut tail (docs/reference/audit-chain.md)."""

    workspace_id: str
    seq: int
    hash: str
    signature: str
    key_id: str
    public_key: str
    signed_at: datetime


class Version(Struct, frozen=True, kw_only=True):
    """What answers."""

    name: str
    version: str
    api: str


class Discovery(Struct, frozen=True, kw_only=True):
    """What ``/.well-known/cmdop`` tells about a server."""

    issuer: str
    api: str
    version: str = ""
    modes: list[str] = field(default_factory=list)
    device_uri: str = ""
    relay: str = ""  # where streams go
    audit_public_key: str = ""  # base64; keep it: a head that is signed by another key proves nothing
    limits: dict[str, Any] = field(default_factory=dict)
