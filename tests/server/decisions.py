"""What people do on pages, for ``Server.backstage``: approve and deny devices, change a password, leave a workspace."""

from typing import Any

from cmdop_server.access.errors import Refused
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.accounts.services import change_password
from cmdop_server.credentials import sign_ins
from cmdop_server.workspaces.members import add_member, remove_member
from cmdop_wire.vocab import Reach
from tests.casting import person


def approve(account: str, user_code: str, workspace: str, reach: str = "workspace") -> dict[str, Any] | None:
    """Approve a device; the refusal's code and details, or nothing."""
    try:
        sign_ins.approve_device(person(account), user_code, workspace, Reach(reach))
    except Refused as refused:
        return {"code": refused.code, "message": refused.message, **refused.details}
    return None


def deny(account: str, user_code: str) -> None:
    """Deny a device."""
    sign_ins.deny_device(person(account), user_code)


def look(account: str, user_code: str) -> dict[str, Any]:
    """Look at a device before deciding; what the page shows, or the refusal."""
    try:
        seen = sign_ins.pending_device(person(account), user_code)
    except Refused as refused:
        return {"code": refused.code, "message": refused.message, **refused.details}
    return {"client": seen.client, "address": seen.address, "workspace_hint": seen.workspace_hint}


def new_password(account: str, password: str, keep: str | None = None) -> None:
    """Change somebody's password, through the sign-in ``keep`` if there is one."""
    from dataclasses import replace

    found = account_by_id(account)
    assert found is not None
    change_password(replace(person(account), sign_in_id=keep), found, password)


def remove(by: str, account: str, workspace: str) -> None:
    """Remove somebody from a workspace."""
    remove_member(person(by), workspace, account)


def add(by: str, account: str, workspace: str, role: str) -> None:
    """Add somebody to a workspace."""
    found = account_by_id(account)
    assert found is not None
    add_member(person(by), workspace, found, role)
