"""What each scope of a key allows, in words: for ``cmdop help scopes``. The scopes themselves are the treaty's."""

from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, RESERVED_SCOPES, Scope

_MEANINGS = {
    Scope.MACHINES_READ: "see the workspace, its machines and their sessions",
    Scope.MACHINES_WRITE: "register, rename, tag and remove machines, and make join tokens",
    Scope.COMMANDS_EXECUTE: "run commands and open terminals",
    Scope.SESSIONS_OBSERVE: "watch terminals",
    Scope.FILES_READ: "bring files from machines",
    Scope.FILES_WRITE: "send files to machines",
    Scope.MEMBERS_READ: "see who is in the workspace",
    Scope.MEMBERS_INVITE: "invite people",
    Scope.KEYS_READ: "list keys, never their secrets",
    Scope.AUDIT_READ: "read the audit log",
    Scope.SCHEDULES_MANAGE: "manage schedules",
    Scope.AGENT_INVOKE: "call an agent",
}


def meaning(scope: Scope) -> str:
    """Return what ``scope`` allows; one that is reserved says that it does not yet."""
    if scope in RESERVED_SCOPES:
        return f"reserved: {_MEANINGS[scope]}; grants nothing yet"
    return _MEANINGS[scope] + (" (without --scope, too)" if scope in DEFAULT_KEY_SCOPES else "")
