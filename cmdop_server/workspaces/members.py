"""People of a workspace: add, promote, remove, leave. Rank and last-owner rules hold under the lock (D-8, D-17)."""

from shlex import quote

from cmdop_server.access.actor import Actor
from cmdop_server.access.effects import MemberRemoved, RoleChanged, announce
from cmdop_server.access.errors import Conflict, NotFound
from cmdop_server.accounts.models import Account
from cmdop_server.workspaces.changes import Change, changing
from cmdop_server.workspaces.fields import checked_role
from cmdop_server.workspaces.models import Membership
from cmdop_server.workspaces.plans import LIMITS
from cmdop_server.workspaces.ranks import refusal_to_grant, refusal_to_touch
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import Action, ErrorCode, Plan, Role, WorkspaceKind


def add_member(actor: Actor, ref: str, account: Account, role: str) -> Membership:
    """Make ``account`` a member; nobody gives a role above their own, no plan is exceeded (D-8)."""
    wanted = checked_role(role)
    with changing(actor, ref, Action.MEMBER_INVITE) as change:
        _check_grant(change, wanted, account.public_id)
        members = change.workspace.memberships
        already = members.filter(account=account).first()
        if already is not None:
            slug = change.workspace.slug
            raise Conflict(
                f"{account.email} is {already.role} of {slug} already",
                hint=""
                if already.role == wanted
                else f"cmdop workspace set-role {quote(account.email)} {wanted} --workspace {slug}",
                role=str(already.role),
                workspace={"id": change.workspace.public_id, "slug": slug},
            )
        limit = LIMITS[Plan(change.workspace.plan)].members
        if limit is not None and members.count() >= limit:
            raise _full(change, limit)
        membership = Membership.objects.create(workspace=change.workspace, account=account, role=wanted)
        _record(change, "member.added", account, role=str(wanted))
    return membership


def set_role(actor: Actor, ref: str, account_id: str, role: str) -> Membership:
    """Give the member ``account_id`` another role; the same role again changes nothing (D-8)."""
    wanted = checked_role(role)
    with changing(actor, ref, Action.MEMBER_UPDATE_ROLE) as change:
        membership = _member(change, account_id)
        before = Role(membership.role)
        _check_touch(change, membership)
        _check_grant(change, wanted, account_id)
        if before is wanted:
            change.nothing_changed()
            return membership
        if before is Role.OWNER:
            _keep_an_owner(change, membership, "cannot lose its owner's role")
        membership.role = wanted
        membership.save(update_fields=["role"])
        _record(change, "member.role_changed", membership.account, role={"from": str(before), "to": str(wanted)})
        announce(RoleChanged(actor, change.workspace.public_id, account_id, str(wanted)))
    return membership


def remove_member(actor: Actor, ref: str, account_id: str) -> None:
    """Remove a member: everything of theirs in the workspace ends for ever (D-17); oneself: ``leave``."""
    if actor.account_id is not None and account_id == actor.account_id:
        leave(actor, ref)
        return
    with changing(actor, ref, Action.MEMBER_REMOVE) as change:
        membership = _member(change, account_id)
        _check_touch(change, membership)
        _end(change, membership, "member.removed", "cannot lose its owner")


def leave(actor: Actor, ref: str) -> None:
    """Give up one's own membership; the last owner cannot, and nobody leaves their personal workspace (D-4, D-8)."""
    with changing(actor, ref, Action.MEMBER_LEAVE) as change:
        membership = _member(change, actor.account_id or "")
        _end(change, membership, "member.left", "cannot be left by its owner")


def _end(change: Change, membership: Membership, event: str, personal_reason: str) -> None:
    role, account = Role(membership.role), membership.account
    if role is Role.OWNER:
        _keep_an_owner(change, membership, personal_reason)
    membership.delete()
    # Announced before it is recorded: credentials lock their rows first and the chain last, everywhere.
    announce(MemberRemoved(change.actor, change.workspace.public_id, account.public_id))
    _record(change, event, account, role=str(role))


def _member(change: Change, account_id: str) -> Membership:
    if not is_id(account_id, "account"):
        raise NotFound("member")
    found = change.workspace.memberships.select_related("account").filter(account__public_id=account_id).first()
    if found is None:
        raise NotFound("member")
    return found


def _check_touch(change: Change, membership: Membership) -> None:
    refusal = refusal_to_touch(change.actor, change.role, Role(membership.role))
    if refusal:
        raise change.forbid(refusal, membership.account.public_id)


def _check_grant(change: Change, wanted: Role, account_id: str) -> None:
    refusal = refusal_to_grant(change.actor, change.role, wanted)
    if refusal:
        raise change.forbid(refusal, account_id)


def _full(change: Change, limit: int) -> Conflict:
    workspace = change.workspace
    if workspace.kind == WorkspaceKind.PERSONAL:
        message, hint = "a personal workspace has one member", 'cmdop workspace create "Our team"'
    else:
        message = f"the plan {workspace.plan} has room for {limit} members"
        hint = f"cmdop workspace members --workspace {workspace.slug}"
    return Conflict(message, code=ErrorCode.LIMIT_REACHED, hint=hint, limit=limit)


def _keep_an_owner(change: Change, leaving: Membership, personal_reason: str) -> None:
    """Refuse when no other owner would remain; exact, because every writer holds the workspace's lock."""
    workspace = change.workspace
    if workspace.kind == WorkspaceKind.PERSONAL:
        raise Conflict(f"a personal workspace {personal_reason}", code=ErrorCode.PERSONAL_WORKSPACE)
    others = workspace.memberships.exclude(pk=leaving.pk)
    if others.filter(role=Role.OWNER).exists():
        return
    # Who is proposed has a say already: an admin, if there is one, and never a guest.
    heirs = others.select_related("account").filter(role__in=(Role.ADMIN, Role.MEMBER))
    heir = heirs.order_by("role", "pk").first()
    raise Conflict(
        "a workspace keeps at least one owner",
        code=ErrorCode.LAST_OWNER,
        hint=f"cmdop workspace set-role {quote(heir.account.email)} owner --workspace {workspace.slug}"
        if heir
        else f"cmdop workspace members --workspace {workspace.slug}",
    )


def _record(change: Change, event: str, account: Account, **changes: object) -> None:
    change.record(event, target_type="account", target_id=account.public_id, target_label=account.email, **changes)
