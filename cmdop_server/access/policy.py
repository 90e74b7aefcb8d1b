"""The one authoriser: three tables and one pure function, default deny.

``ROLE_ACTIONS`` is D-7, ``SCOPE_ACTIONS`` is D-13; both are printed into docs/reference/permissions.md and
retyped nowhere. An action that stands in no scope is closed to keys.
"""

from dataclasses import dataclass

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_wire.vocab import AccountAction, Action, Role, Scope, WorkspaceState

_GUEST = frozenset(
    {
        Action.WORKSPACE_VIEW,
        Action.MEMBER_LIST,
        Action.MEMBER_LEAVE,
        Action.MACHINE_VIEW,
        Action.SESSION_OBSERVE,
        Action.SESSION_LIST,
        Action.AUDIT_VIEW,
    }
)
_MEMBER = _GUEST | {
    Action.SESSION_OPERATE,
    Action.COMMAND_EXECUTE,
    Action.FILE_READ,
    Action.FILE_WRITE,
    Action.KEY_CREATE_PERSONAL,
    Action.KEY_LIST_OWN,
    Action.KEY_REVOKE_OWN,
}
_ADMIN = _MEMBER | {
    Action.KEY_CREATE_WORKSPACE,
    Action.KEY_LIST_ALL,
    Action.KEY_REVOKE_ANY,
    Action.MEMBER_INVITE,
    Action.MEMBER_UPDATE_ROLE,
    Action.MEMBER_REMOVE,
    Action.MACHINE_REGISTER,
    Action.MACHINE_UPDATE,
    Action.MACHINE_MOVE,
    Action.MACHINE_REMOVE,
    Action.MACHINE_ENROLL,
    Action.SESSION_TERMINATE_ANY,
    Action.AUDIT_EXPORT,
    Action.SETTINGS_VIEW,
    Action.INTEGRATION_VIEW,
}
_OWNER = _ADMIN | {
    Action.SETTINGS_EDIT,
    Action.POLICY_EDIT,
    Action.INTEGRATION_EDIT,
    Action.BILLING_VIEW,
    Action.BILLING_EDIT,
    Action.WORKSPACE_DELETE,
    Action.WORKSPACE_RESTORE,
    Action.OWNERSHIP_TRANSFER,
}

ROLE_ACTIONS: dict[Role, frozenset[Action]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.MEMBER: _MEMBER,
    Role.GUEST: _GUEST,
}

SCOPE_ACTIONS: dict[Scope, frozenset[Action]] = {
    Scope.MACHINES_READ: frozenset({Action.WORKSPACE_VIEW, Action.MACHINE_VIEW, Action.SESSION_LIST}),
    Scope.MACHINES_WRITE: frozenset(
        {Action.MACHINE_REGISTER, Action.MACHINE_UPDATE, Action.MACHINE_REMOVE, Action.MACHINE_ENROLL}
    ),
    Scope.COMMANDS_EXECUTE: frozenset({Action.COMMAND_EXECUTE, Action.SESSION_OPERATE}),
    Scope.SESSIONS_OBSERVE: frozenset({Action.SESSION_OBSERVE}),
    Scope.FILES_READ: frozenset({Action.FILE_READ}),
    Scope.FILES_WRITE: frozenset({Action.FILE_WRITE}),
    Scope.MEMBERS_READ: frozenset({Action.MEMBER_LIST}),
    Scope.MEMBERS_INVITE: frozenset({Action.MEMBER_INVITE}),
    Scope.KEYS_READ: frozenset({Action.KEY_LIST_OWN, Action.KEY_LIST_ALL}),
    Scope.AUDIT_READ: frozenset({Action.AUDIT_VIEW}),
    Scope.SCHEDULES_MANAGE: frozenset(),
    Scope.AGENT_INVOKE: frozenset(),
}

# A workspace key belongs to nobody, so no role bounds it; it never reaches above an admin.
WORKSPACE_KEY_CEILING = ROLE_ACTIONS[Role.ADMIN]

# Whoever made a join token was asked for machine.enroll; the token itself brings one machine in.
JOIN_TOKEN_CEILING = frozenset({Action.MACHINE_REGISTER})

PENDING_ACTIONS = frozenset({Action.WORKSPACE_VIEW, Action.WORKSPACE_RESTORE})


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read about actor and workspace inside the deciding transaction.

    ``role`` is the account's current role in the workspace, ``None`` when it is no member;
    ``bound`` tells whether the credential belongs to this very workspace.
    """

    role: Role | None
    state: WorkspaceState = WorkspaceState.ACTIVE
    bound: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its reason; ``visible`` decides between «forbidden» and «no such thing» (D-9)."""

    allowed: bool
    reason: str
    visible: bool = True


_STRANGER = Decision(False, "not a member of this workspace", visible=False)


def decide(actor: Actor, action: Action, facts: Facts) -> Decision:
    """Answer whether ``actor`` may do ``action`` given ``facts``: role ∩ scopes ∩ workspace state (D-10)."""
    if actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM):
        return Decision(True, f"the {actor.kind} acts on the host")
    if not facts.bound:
        return _STRANGER
    if actor.kind is ActorKind.WORKSPACE_KEY:
        ceiling, whose = WORKSPACE_KEY_CEILING, "a workspace key"
    elif actor.kind is ActorKind.JOIN_TOKEN:
        ceiling, whose = JOIN_TOKEN_CEILING, "a join token"
    elif facts.role is None:
        return _STRANGER
    else:
        ceiling, whose = ROLE_ACTIONS[facts.role], f"the role {facts.role}"
    if facts.state is WorkspaceState.PENDING_DELETION and (facts.role is not Role.OWNER or actor.is_key):
        return _STRANGER
    if facts.state is WorkspaceState.PENDING_DELETION and action not in PENDING_ACTIONS:
        return Decision(False, "the workspace is pending deletion")
    if action not in ceiling:
        return Decision(False, f"{whose} does not include {action}")
    if actor.scopes is not None and not any(action in SCOPE_ACTIONS[scope] for scope in actor.scopes):
        opener = scope_for(action)
        return Decision(False, f"the key lacks the scope {opener}" if opener else f"{action} is closed to keys")
    return Decision(True, f"{whose} includes {action}")


def scope_for(action: Action) -> Scope | None:
    """Return the scope that opens ``action`` to keys, or ``None`` when it is closed to them."""
    return next((scope for scope, actions in SCOPE_ACTIONS.items() if action in actions), None)


def remedy(actor: Actor, action: Action | AccountAction) -> str:
    """Return what whoever was refused ``action`` can do about it: another key, or a word with somebody."""
    opener = None if isinstance(action, AccountAction) else scope_for(action)
    if actor.scopes is not None and opener is not None and opener not in actor.scopes:
        # What the key may already is needed, too: the other one takes its place.
        scopes = "".join(f" --scope {each}" for each in Scope if each in actor.scopes or each is opener)
        shared = " --shared" if actor.kind is ActorKind.WORKSPACE_KEY else ""
        return f"cmdop auth create-key --name NAME{shared}{scopes}"
    if actor.kind is not ActorKind.ACCOUNT and (opener is None or actor.kind is not ActorKind.PERSONAL_KEY):
        return "cmdop login"  # what no key may do, or not this kind, a person may
    who = "an owner" if action in _OWNER - _ADMIN else "an owner or admin"
    return f"{who} can change your role: cmdop workspace members"


def authorized_actions(actor: Actor, facts: Facts, among: frozenset[Action] | None = None) -> list[Action]:
    """Return, in the vocabulary's order, the actions among ``among`` (default: all) that ``decide`` allows."""
    return [action for action in Action if (among is None or action in among) and decide(actor, action, facts).allowed]
