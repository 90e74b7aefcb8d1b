"""The doors into a workspace: every row of a tenant leaves through one of these, actor first.

A stranger and a random id take the same path to the same «no such workspace» (D-9).
"""

from dataclasses import dataclass, field, replace
from functools import cache
from shlex import quote
from typing import NamedTuple, cast

from django.db.models import CharField, Count, IntegerField, Model, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import Forbidden, Invalid, NotFound
from cmdop_server.access.policy import Facts, authorized_actions, decide
from cmdop_server.accounts.queries import fold_email
from cmdop_server.prepared import Prepared
from cmdop_server.workspaces.models import Membership, SlugClaim, Workspace
from cmdop_server.workspaces.ranks import refusal_to_touch
from cmdop_wire.ids import check_slug, derive_slug, is_id, is_slug, suffixed_slug
from cmdop_wire.vocab import Action, Reach, Role, WorkspaceKind, WorkspaceState


@dataclass(frozen=True, slots=True)
class Seen:
    """A workspace as one actor sees it: with the facts that decisions are made of, and its number of members.

    ``role`` is ``None`` for a workspace key and for the operator. ``machines`` is counted only where it will be
    shown, because there may be ten thousand of them; ``None`` elsewhere.
    """

    workspace: Workspace
    facts: Facts
    role: Role | None
    members: int = field(compare=False, default=0)
    machines: int | None = field(compare=False, default=None)


class SlugPreview(NamedTuple):
    """What a slug would be, whether it is free, and a free one when it is not."""

    slug: str
    available: bool
    suggestion: str | None


def _with_facts(rows: QuerySet[Workspace], account_id: str | None, *, with_machines: bool) -> QuerySet[Workspace]:
    own = Membership.objects.filter(workspace=OuterRef("pk"), account__public_id=account_id)
    return rows.annotate(
        own_role=Subquery(own.values("role")[:1]) if account_id else Value(None, output_field=CharField()),
        member_count=_count_of("memberships"),
        # An upper app's rows, known here by the name of their relation only.
        machine_count=_count_of("machines") if with_machines else Value(None, output_field=IntegerField()),
    )


def _count_of(relation: str) -> Coalesce:
    """Return how many rows refer to a workspace through ``relation``, counted beside it rather than joined to it."""
    rows = cast(type[Model], Workspace._meta.get_field(relation).related_model)
    all_of_it = rows._default_manager.filter(workspace=OuterRef("pk")).order_by().values("workspace")
    return Coalesce(Subquery(all_of_it.annotate(count=Count("pk")).values("count"), output_field=IntegerField()), 0)


def _seen(actor: Actor, workspace: Workspace) -> Seen:
    stored: str | None = workspace.own_role  # type: ignore[attr-defined] # annotated in _with_facts
    members: int = workspace.member_count  # type: ignore[attr-defined]
    machines: int | None = workspace.machine_count  # type: ignore[attr-defined]
    facts = facts_about(actor, workspace, Role(stored) if stored else None)
    return Seen(workspace, facts, facts.role, members, machines)


def facts_about(actor: Actor, workspace: Workspace, role: Role | None) -> Facts:
    """Return what ``decide`` needs to know of this actor in this workspace, given the role read just now."""
    return Facts(
        role=role,
        state=WorkspaceState(workspace.state),
        bound=actor.workspace_id in (None, workspace.public_id),
    )


def check(actor: Actor, action: Action, seen_workspace: Workspace, facts: Facts) -> None:
    """Raise ``NotFound`` for a stranger, ``Forbidden`` for somebody who sees the workspace but lacks the right."""
    decision = decide(actor, action, facts)
    if not decision.visible:
        raise NotFound("workspace")
    if not decision.allowed:
        raise Forbidden(actor, action, seen_workspace.public_id, decision.reason)


def workspace_for(actor: Actor, ref: str, action: Action, *, with_machines: bool = False) -> Seen:
    """Return the workspace with this id or slug for an actor who may do ``action`` in it, in one query.

    Raises ``NotFound`` for strangers and unknown names alike, ``Forbidden`` for members without the right (D-9).
    """
    column = "public_id" if is_id(ref, "workspace") else "slug"
    is_possible = column == "public_id" or is_slug(ref)
    found = _found_by(actor, column, ref, with_machines=with_machines) if is_possible else []
    if not found:
        raise NotFound("workspace")
    seen = _seen(actor, found[0])
    check(actor, action, seen.workspace, seen.facts)
    return seen


def _found_by(actor: Actor, column: str, ref: str, *, with_machines: bool) -> list[Workspace]:
    """Return the workspaces whose ``column`` is ``ref``, by slug, with the facts about ``actor``."""
    given = {"account_id": actor.account_id} if actor.account_id else {}
    return _prepared(column, "account_id" in given, with_machines)(ref=ref, **given)


@cache
def _prepared(column: str, has_account: bool, with_machines: bool) -> Prepared[Workspace]:
    def rows(ref: str, account_id: str | None = None) -> QuerySet[Workspace]:
        found = Workspace.objects.filter(**{column: ref}).order_by("slug")
        return _with_facts(found, account_id, with_machines=with_machines)

    return Prepared(rows, ref=str, **({"account_id": str} if has_account else {}))


def workspaces_of(actor: Actor) -> list[Seen]:
    """Return the workspaces that the actor may enter, by slug, in one query.

    One for a key or a sign-in for one workspace; all memberships for a cabinet session or a sign-in for all (D-16);
    everything for the operator.
    """
    if actor.workspace_id is not None and (actor.is_key or actor.reach is not Reach.ALL):
        rows = _found_by(actor, "public_id", actor.workspace_id, with_machines=True)
    elif actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM):
        everything = Workspace.objects.order_by("slug")
        rows = list(_with_facts(everything, actor.account_id, with_machines=True))
    elif actor.account_id is not None:
        rows = _found_by(actor, "memberships__account__public_id", actor.account_id, with_machines=True)
    else:
        rows = []
    found = []
    for workspace in rows:
        seen = _seen(actor, workspace)
        if not actor.is_key:  # a sign-in for all enters each of its workspaces through a family bound to it
            seen = replace(seen, facts=Facts(seen.role, seen.facts.state))
        if decide(actor, Action.WORKSPACE_VIEW, seen.facts).visible:
            found.append(seen)
    return found


def members_for(
    actor: Actor, ref: str, *, email: str | None = None, after: int = 0, limit: int | None = None
) -> list[Membership]:
    """Return the workspace's memberships with their accounts, in order of joining, for who may list them.

    ``email`` narrows to one address; ``after`` and ``limit`` page by the membership's primary key.
    """
    seen = workspace_for(actor, ref, Action.MEMBER_LIST)
    rows = seen.workspace.memberships.select_related("account", "workspace").filter(pk__gt=after).order_by("pk")
    if email is not None:
        folded = fold_email(email)
        rows = rows.filter(account__email=folded) if folded.isprintable() else rows.none()
    return list(rows if limit is None else rows[:limit])


def member_actions(actor: Actor, facts: Facts, membership: Membership) -> list[Action]:
    """Return what the actor may do to this member by role and rank (D-8); to oneself: leave, or step down."""
    theirs = Role(membership.role)
    is_self = actor.account_id == membership.account.public_id
    among = {Action.MEMBER_UPDATE_ROLE, Action.MEMBER_LEAVE if is_self else Action.MEMBER_REMOVE}
    if refusal_to_touch(actor, facts.role, theirs) is not None:
        among = set()
    return authorized_actions(actor, facts, frozenset(among))


def personal_workspace_of(account_id: str) -> Workspace | None:
    """Return the account's personal workspace, where account-level events are recorded (D-4)."""
    return Workspace.objects.filter(
        kind=WorkspaceKind.PERSONAL, memberships__account__public_id=account_id, memberships__role=Role.OWNER
    ).first()


def owner_ids(workspace: Workspace) -> list[str]:
    """Return the ids of the accounts that own a workspace, which is one at least (D-8)."""
    owners = workspace.memberships.filter(role=Role.OWNER).order_by("pk")
    return list(owners.values_list("account__public_id", flat=True))


def free_slug(slug: str) -> str:
    """Return the first of ``slug-2``, ``slug-3`` … that nobody has ever used."""
    number = 2
    while True:
        candidates = [suffixed_slug(slug, number + step) for step in range(50)]
        taken = set(SlugClaim.objects.filter(slug__in=candidates).values_list("slug", flat=True))
        for candidate in candidates:
            if candidate not in taken:
                return candidate
        number += len(candidates)


def slug_preview(*, name: str = "", slug: str = "") -> SlugPreview:
    """Return what ``slug``, or else the slug that ``name`` suggests, would come to; ``Invalid`` when nothing does."""
    wanted = slug or derive_slug(name)
    if not wanted:
        hint = f"cmdop workspace create {quote(name)} --slug my-team"
        raise Invalid("no slug can be made of this name; give one with --slug", hint=hint, field="slug")
    try:
        check_slug(wanted)
    except ValueError as broken:
        if not is_slug(wanted):
            raise Invalid(str(broken), field="slug") from None
        return SlugPreview(wanted, False, free_slug(wanted))  # a reserved word
    if SlugClaim.objects.filter(slug=wanted).exists():
        return SlugPreview(wanted, False, free_slug(wanted))
    return SlugPreview(wanted, True, None)
