"""The workspace that comes with every account, and what an account's own events do to it (D-4)."""

from cmdop_server.access.effects import AccountChanged, AccountCreated
from cmdop_server.access.errors import Conflict
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.audit import services as audit
from cmdop_server.workspaces.queries import free_slug, personal_workspace_of
from cmdop_server.workspaces.services import found
from cmdop_wire.vocab import Plan, WorkspaceKind

NAME = "Personal"
_ATTEMPTS = 10


def create_personal_workspace(effect: AccountCreated) -> None:
    """Give a new account its personal workspace, in the account's own transaction."""
    account = account_by_id(effect.account_id)
    assert account is not None, "announced in the transaction that created it"
    slug = f"{account.username}-personal"
    for _ in range(_ATTEMPTS):
        try:
            workspace = found(
                effect.actor, account, NAME, slug, WorkspaceKind.PERSONAL, Plan.PERSONAL, command="--slug"
            )
        except Conflict:
            slug = free_slug(f"{account.username}-personal")
            continue
        break
    else:
        raise Conflict("no free slug for the personal workspace")
    audit.append(
        effect.actor,
        workspace_id=workspace.public_id,
        action="account.created",
        target_type="account",
        target_id=account.public_id,
        target_label=account.email,
        changes={"email": account.email, "username": account.username, "name": account.name},
    )


def record_change(effect: AccountChanged) -> None:
    """Tell what happened to an account where its own events are told: in its personal workspace."""
    account, workspace = account_by_id(effect.account_id), personal_workspace_of(effect.account_id)
    assert account is not None, "announced in the transaction that changed it"
    assert workspace is not None, "every account has a personal workspace"
    audit.append(
        effect.actor,
        workspace_id=workspace.public_id,
        action=effect.event,
        target_type="account",
        target_id=account.public_id,
        target_label=account.email,
    )
