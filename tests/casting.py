"""Builds the cast through the real services, inside ``tests.backstage``; answers are plain JSON."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind, operator
from cmdop_server.accounts.models import Account
from cmdop_server.accounts.queries import account_by_id
from cmdop_server.accounts.services import change_password, create_account
from cmdop_server.credentials import keys, sign_ins
from cmdop_server.credentials.models import Key
from cmdop_server.workspaces.members import add_member, remove_member, set_role
from cmdop_server.workspaces.queries import personal_workspace_of
from cmdop_server.workspaces.services import create_workspace
from cmdop_wire.vocab import KeyKind, Plan, Reach, Role
from tests.world import CAST, TENANTS

ADDRESS = "127.0.0.1"


def person(account_id: str) -> Actor:
    """Return the actor of somebody who sits at the cabinet."""
    account = account_by_id(account_id)
    assert account is not None
    return Actor(kind=ActorKind.ACCOUNT, account_id=account.public_id, label=account.email, address=ADDRESS)


def arrive(who: str, tag: str, password: str | None) -> dict[str, str]:
    """Create the account of one of the cast."""
    return shown(create_account(operator(), email=f"{who}-{tag}@example.org", password=password, name=who.title()))


def shown(account: Account) -> dict[str, str]:
    """Return what ``World`` wants to know of a person."""
    personal = personal_workspace_of(account.public_id)
    assert personal is not None
    return {
        "id": account.public_id,
        "email": account.email,
        "username": account.username,
        "personal": personal.slug,
    }


@transaction.atomic  # one commit instead of thirty
def found(tenant: str, tag: str, password: str | None, people: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Create ``tenant`` and its members, but for those in ``people``, who are there; ``tag`` makes names unique."""
    roles = {who: places[tenant] for who, places in CAST.items() if places.get(tenant)}
    everybody = people | {who: arrive(who, tag, password) for who in roles if who not in people}
    founder = next(who for who, role in roles.items() if role is Role.OWNER)
    actor = person(everybody[founder]["id"])
    workspace = create_workspace(actor, name=tenant.title(), slug=f"{tenant}-{tag}", plan=Plan.ENTERPRISE).workspace
    for who, role in roles.items():
        if who != founder:
            come_and_go(
                founder=actor.account_id or "", workspace=workspace.slug, account=everybody[who]["id"], role=role
            )
    made = {"id": workspace.public_id, "slug": workspace.slug, "name": workspace.name}
    return {"people": everybody, "tenant": made}


def cast(tag: str, password: str | None) -> dict[str, Any]:
    """Create everybody and both tenants at once; for tests that have no ``World``."""
    people: dict[str, dict[str, str]] = {}
    tenants = {}
    for tenant in TENANTS:
        made = found(tenant, tag, password, people)
        people |= made["people"]
        tenants[tenant] = made["tenant"]
    for who in CAST.keys() - people.keys():
        people[who] = arrive(who, tag, password)
    gone = {"founder": people["owner"]["id"], "workspace": tenants["acme"]["slug"], "account": people["former"]["id"]}
    come_and_go(**gone, role=None)
    return {"people": people, "tenants": tenants}


def come_and_go(founder: str, workspace: str, account: str, role: str | None) -> None:
    """Make somebody a member; without ``role`` an admin, who is removed again."""
    member, actor = account_by_id(account), person(founder)
    assert member is not None
    add_member(actor, workspace, member, role or Role.ADMIN)
    if role is None:
        remove_member(actor, workspace, account)


def sign_in(account: str, workspace: str, reach: str, client: str = "cmdop test") -> dict[str, str]:
    """Start a device grant, approve it as the account, redeem it."""
    started = sign_ins.start_device(client, address=ADDRESS)
    sign_ins.approve_device(person(account), started.user_code, workspace, Reach(reach))
    pair = sign_ins.redeem_device(started.device_code, address=ADDRESS, request_id="")
    return {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "sign_in_id": pair.family.sign_in.public_id,
        "family_id": pair.family.public_id,
    }


def one_time_token(account: str) -> str:
    """Make the operator's one-time sign-in token."""
    return sign_ins.make_sign_in_token(account)


def make_key(account: str, workspace: str, kind: str, name: str, scopes: list[str] | None) -> dict[str, str]:
    """Make a key as the account."""
    _, key, text = keys.create_key(person(account), workspace, kind=KeyKind(kind), name=name, scopes=scopes)
    return {"id": key.public_id, "text": text, "prefix": key.prefix}


def join(workspace: str, role: str, tag: str) -> dict[str, str]:
    """Make a new account a member of ``workspace``; return what ``cast`` says of a person."""
    account = create_account(operator(), email=f"{role}-{tag}@example.org", password=None)
    add_member(operator(), workspace, account, role)
    return shown(account)


def change_role(workspace: str, account: str, role: str) -> None:
    """Give a member another role, as the operator."""
    set_role(operator(), workspace, account, role)


def remove(workspace: str, account: str) -> None:
    """Remove a member, as the operator."""
    remove_member(operator(), workspace, account)


def expire_key(key: str) -> None:
    """Move the end of a key into the past."""
    Key.objects.filter(public_id=key).update(expires_at=timezone.now() - timedelta(seconds=1))


def give_password(account: str, password: str) -> None:
    """Give an account a password."""
    found = account_by_id(account)
    assert found is not None
    change_password(operator(), found, password)
