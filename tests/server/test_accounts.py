"""Accounts and what comes with them, through the services that the operator's commands and the sign-up page call."""

import pytest

from tests.inside import Inside


@pytest.mark.parametrize(
    ("email", "username", "slug"),
    [
        ("Ana.Lima@Example.org", "ana-lima", "ana-lima-personal"),
        ("_@example.org", "user", "user-personal"),
        (f"{'x' * 64}@example.org", "x" * 54, f"{'x' * 54}-personal"),
    ],
)
def test_an_account_gets_a_personal_workspace_named_after_it(db: None, email: str, username: str, slug: str) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.accounts.services import create_account
    from cmdop_server.audit.queries import events
    from cmdop_server.workspaces.queries import personal_workspace_of

    account = create_account(operator(), email=f"  {email} ", password=None)
    workspace = personal_workspace_of(account.public_id)
    assert workspace is not None
    assert (account.email, account.username, account.has_usable_password()) == (email.casefold(), username, False)
    assert (workspace.slug, workspace.kind, workspace.plan) == (slug, "personal", "personal")
    told = [(event.action, event.actor_id) for event in events(workspace.public_id, newest_first=False).items]
    assert told == [("workspace.created", "operator"), ("account.created", "operator")]


def test_taken_usernames_and_personal_slugs_get_a_suffix(db: None) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.accounts.services import create_account
    from cmdop_server.workspaces.queries import personal_workspace_of
    from cmdop_server.workspaces.services import create_workspace
    from tests.casting import person

    first = create_account(operator(), email="bob@one.example", password=None)
    create_workspace(person(first.public_id), name="Squatter", slug="bob-2-personal")
    second = create_account(operator(), email="bob@two.example", password=None)
    workspace = personal_workspace_of(second.public_id)
    assert workspace is not None
    assert (second.username, workspace.slug) == ("bob-2", "bob-2-personal-2")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": '"\x07"@example.org'}, "email"),
        ({"email": f"a@{'x' * 250}.example"}, "email"),
        ({"email": "a@example.org", "username": "Not A Username"}, "username"),
        ({"email": "a@example.org", "name": "two\nlines"}, "name"),
        ({"email": "a@example.org", "password": "short"}, "password"),
        ({"email": "a@example.org", "password": "x" * 5000}, "password"),
    ],
)
def test_what_no_account_may_be_made_of_is_named(db: None, given: dict[str, str], field: str) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.access.errors import Invalid
    from cmdop_server.accounts.models import Account
    from cmdop_server.accounts.services import create_account

    with pytest.raises(Invalid) as refused:
        create_account(operator(), **{"password": "a good long phrase", **given})
    assert refused.value.details["field"] == field
    assert not Account.objects.filter(email__startswith="a@").exists()


def test_racing_sign_ups_with_one_address_make_one_account(committed_db: None) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.access.errors import Conflict
    from cmdop_server.accounts.models import Account
    from cmdop_server.accounts.services import create_account
    from cmdop_server.workspaces.models import Workspace
    from tests.server.test_audit_log import in_parallel

    results = in_parallel(5, lambda _: create_account(operator(), email="same@example.org", password=None))
    assert sum(isinstance(result, Account) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 4
    assert [workspace.slug for workspace in Workspace.objects.all()] == ["same-personal"]


def test_racing_sign_ups_with_one_username_get_different_ones(committed_db: None) -> None:
    from cmdop_server.access.actor import operator
    from cmdop_server.accounts.models import Account
    from cmdop_server.accounts.services import create_account
    from tests.server.test_audit_log import in_parallel

    results = in_parallel(4, lambda number: create_account(operator(), email=f"eve@{number}.example", password=None))
    assert all(isinstance(result, Account) for result in results), results
    names = sorted(result.username for result in results if isinstance(result, Account))
    assert names == ["eve", "eve-2", "eve-3", "eve-4"]


def test_an_operator_s_account_counts_as_verified(db: None) -> None:
    from allauth.account.models import EmailAddress

    from cmdop_server.access.actor import SYSTEM, operator
    from cmdop_server.accounts.services import create_account

    made = create_account(operator(), email="made@example.org", password=None)
    create_account(SYSTEM, email="signed-up@example.org", password=None)
    assert [(row.user_id, row.email, row.verified) for row in EmailAddress.objects.all()] == [
        (made.pk, "made@example.org", True)
    ]


def test_a_new_password_is_told_in_the_personal_workspace_and_nowhere_else(inside: Inside, db: None) -> None:
    from cmdop_server.accounts.queries import account_by_id
    from cmdop_server.accounts.services import change_password
    from cmdop_server.audit.models import Event
    from cmdop_server.workspaces.queries import personal_workspace_of
    from tests import casting

    made = casting.cast("password", password=None)
    owner = made["people"]["owner"]["id"]
    account, personal = account_by_id(owner), personal_workspace_of(owner)
    assert account is not None
    assert personal is not None
    change_password(casting.person(owner), account, "quite another phrase")
    event = Event.objects.get(action="account.password_changed")
    assert (event.workspace_id, event.target_id, event.changes) == (personal.public_id, owner, {})
    account.refresh_from_db()
    assert account.check_password("quite another phrase")
