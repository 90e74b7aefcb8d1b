"""The vocabulary both ends share: each word once, spelled as it travels.

Tables that *interpret* these words live elsewhere: role and scope → action in ``cmdop_server.access.policy``,
code → HTTP status in ``cmdop_server.api.errors``, code → exit status in ``cmdop_cli.failures``.
"""

from enum import IntEnum, StrEnum


class Role(StrEnum):
    """What a member is in a workspace, highest rank first (D-6)."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    GUEST = "guest"

    @property
    def rank(self) -> int:
        """Return 3 for owner down to 0 for guest; nobody acts on a higher rank (D-8)."""
        return 3 - list(Role).index(self)


ROLE_ALIASES = {"viewer": Role.GUEST, "reader": Role.GUEST, "contributor": Role.MEMBER}


def parse_role(text: str) -> Role:
    """Return the role that a person meant, aliases included; ``ValueError`` names the choices (D-6)."""
    word = text.strip().lower()
    if word in ROLE_ALIASES:
        return ROLE_ALIASES[word]
    try:
        return Role(word)
    except ValueError:
        raise ValueError(f"unknown role; choose one of {', '.join(Role)}") from None


class Action(StrEnum):
    """Everything that can be asked of the authoriser (D-7)."""

    WORKSPACE_VIEW = "workspace.view"
    WORKSPACE_DELETE = "workspace.delete"
    WORKSPACE_RESTORE = "workspace.restore"
    OWNERSHIP_TRANSFER = "ownership.transfer"
    SETTINGS_VIEW = "settings.view"
    SETTINGS_EDIT = "settings.edit"
    POLICY_EDIT = "policy.edit"
    INTEGRATION_VIEW = "integration.view"
    INTEGRATION_EDIT = "integration.edit"
    BILLING_VIEW = "billing.view"
    BILLING_EDIT = "billing.edit"
    MEMBER_LIST = "member.list"
    MEMBER_INVITE = "member.invite"
    MEMBER_UPDATE_ROLE = "member.update_role"
    MEMBER_REMOVE = "member.remove"
    MEMBER_LEAVE = "member.leave"
    KEY_CREATE_PERSONAL = "key.create_personal"
    KEY_LIST_OWN = "key.list_own"
    KEY_REVOKE_OWN = "key.revoke_own"
    KEY_CREATE_WORKSPACE = "key.create_workspace"
    KEY_LIST_ALL = "key.list_all"
    KEY_REVOKE_ANY = "key.revoke_any"
    MACHINE_VIEW = "machine.view"
    MACHINE_REGISTER = "machine.register"
    MACHINE_UPDATE = "machine.update"
    MACHINE_MOVE = "machine.move"
    MACHINE_REMOVE = "machine.remove"
    MACHINE_ENROLL = "machine.enroll"
    SESSION_LIST = "session.list"
    SESSION_OBSERVE = "session.observe"
    SESSION_OPERATE = "session.operate"
    SESSION_TERMINATE_ANY = "session.terminate_any"
    COMMAND_EXECUTE = "command.execute"
    FILE_READ = "file.read"
    FILE_WRITE = "file.write"
    AUDIT_VIEW = "audit.view"
    AUDIT_EXPORT = "audit.export"


# What each kind of stream, as OPEN names it, needs the right to.
STREAM_RIGHTS = {
    "session": Action.SESSION_OPERATE,
    "observe": Action.SESSION_OBSERVE,
    "command": Action.COMMAND_EXECUTE,
    "read_file": Action.FILE_READ,
    "write_file": Action.FILE_WRITE,
}


class AccountAction(StrEnum):
    """Operations that concern no workspace: who I am, what I am signed in to, making a new workspace."""

    PUBLIC = "public"
    ACCOUNT_VIEW = "account.view"
    ACCOUNT_EDIT = "account.edit"
    WORKSPACE_CREATE = "workspace.create"


class Scope(StrEnum):
    """What a key may do (D-13)."""

    MACHINES_READ = "machines:read"
    MACHINES_WRITE = "machines:write"
    COMMANDS_EXECUTE = "commands:execute"
    SESSIONS_OBSERVE = "sessions:observe"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    MEMBERS_READ = "members:read"
    MEMBERS_INVITE = "members:invite"
    KEYS_READ = "keys:read"
    AUDIT_READ = "audit:read"
    SCHEDULES_MANAGE = "schedules:manage"
    AGENT_INVOKE = "agent:invoke"


DEFAULT_KEY_SCOPES = (Scope.MACHINES_READ, Scope.COMMANDS_EXECUTE, Scope.SESSIONS_OBSERVE)
RESERVED_SCOPES = frozenset({Scope.SCHEDULES_MANAGE, Scope.AGENT_INVOKE})


class WorkspaceKind(StrEnum):
    """``personal`` comes with every account (D-4); ``team`` is made by people."""

    PERSONAL = "personal"
    TEAM = "team"


class WorkspaceState(StrEnum):
    """Pending deletion lasts 24 hours (D-29)."""

    ACTIVE = "active"
    PENDING_DELETION = "pending_deletion"


class Plan(StrEnum):
    """Sets the limits on members and machines."""

    PERSONAL = "personal"
    STARTER = "starter"
    SCALE = "scale"
    ENTERPRISE = "enterprise"


class KeyKind(StrEnum):
    """A personal key is one member's; a workspace key survives member churn."""

    PERSONAL = "personal"
    WORKSPACE = "workspace"


class KeyState(StrEnum):
    """Revoked and expired keys free their place (D-12)."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


class MachineState(StrEnum):
    """Whether a machine's agent was heard of within 90 seconds and has not said goodbye (D-28)."""

    ONLINE = "online"
    OFFLINE = "offline"


class SessionState(StrEnum):
    """A machine has at most one active session (D-26)."""

    ACTIVE = "active"
    ENDED = "ended"


class JoinTokenState(StrEnum):
    """A join token registers one machine, within a day at most."""

    LIVE = "live"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class GateMode(StrEnum):
    """The permission check on the machine itself (D-25)."""

    DEFAULT = "default"
    STRICT = "strict"
    BYPASS = "bypass"


class GateVerdict(StrEnum):
    """What a rule of the gate says; deny stands before ask, ask before allow (D-25)."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class GateOperation(StrEnum):
    """Every remote operation that the gate checks (D-25)."""

    EXECUTE_COMMAND = "execute_command"
    SESSION = "session"
    READ_FILE = "read_file"
    WRITE_FILE = "write_file"


class Reach(StrEnum):
    """What an approved sign-in may enter (D-16)."""

    WORKSPACE = "workspace"
    ALL = "all"


class EventResult(StrEnum):
    """Whether the audited action happened: it did, somebody refused it, or it came to nothing."""

    OK = "ok"
    DENIED = "denied"
    FAILED = "failed"


class ErrorCode(StrEnum):
    """Every code that the error envelope can carry."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    SLUG_TAKEN = "slug_taken"
    NAME_TAKEN = "name_taken"
    LIMIT_REACHED = "limit_reached"
    LAST_OWNER = "last_owner"
    PERSONAL_WORKSPACE = "personal_workspace"
    HOSTNAME_TAKEN = "hostname_taken"
    DUPLICATE_CREDENTIAL = "duplicate_credential"
    SESSION_CONFLICT = "session_conflict"
    AGENT_OFFLINE = "agent_offline"
    GATE_DENIED = "gate_denied"
    APPROVAL_UNAVAILABLE = "approval_unavailable"
    GONE = "gone"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID = "invalid"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    # Device grant and refresh, RFC 8628 §3.5 and RFC 6749 §5.2.
    AUTHORIZATION_PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    ACCESS_DENIED = "access_denied"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - the RFC's word, no secret
    INVALID_GRANT = "invalid_grant"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"


class MachineCode(StrEnum):
    """Codes of a machine's own refusals; they travel on streams, never in the envelope of the API."""

    NO_SUCH_FILE = "no_such_file"
    OUTSIDE_ROOT = "outside_root"
    NOT_A_FILE = "not_a_file"
    CANNOT_OPEN = "cannot_open"
    COMMAND_NOT_FOUND = "command_not_found"
    CANNOT_START = "cannot_start"
    UNKNOWN_OPERATION = "unknown_operation"


class Exit(IntEnum):
    """Exit statuses of the command line, as in ``cmdop help exit-codes``."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    NO_CREDENTIAL = 4
    FORBIDDEN = 5
    CONFLICT = 6
    GUARD = 7
    PARTIAL = 8
    UNREACHABLE = 69
    TEMPORARY = 75
    LOCAL_STATE = 78
    TIME_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143
    REMOTE = 255


GRANT_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_REFRESH = "refresh_token"
GRANT_SIGN_IN_TOKEN = "sign_in_token"  # noqa: S105 - the name of a grant, no secret
