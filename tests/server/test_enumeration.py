"""Nobody learns who has an account, neither by text nor by what an answer costs: hashes are counted, not timed."""

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.browsing import Browser
from tests.inside import Inside
from tests.processes import STOP_SECONDS, Server
from tests.world import make_world

LOGIN, SIGNUP, RESET = "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"
PASSWORD = "a phrase to keep"


@pytest.fixture
def hashes(inside: Inside, committed_db: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that is hashed while the test runs, in a database of accounts of every kind."""
    from allauth.account.models import EmailAddress
    from django.conf import settings

    from cmdop_server.access.actor import operator
    from cmdop_server.accounts.services import create_account
    from cmdop_server.passwords import BoundedArgon2Hasher

    create_account(operator(), email="known@example.com", password=PASSWORD)
    create_account(operator(), email="keyless@example.com", password=None)
    unproved = create_account(operator(), email="unproved@example.com", password=PASSWORD)
    EmailAddress.objects.filter(user=unproved).update(verified=False)
    idle = create_account(operator(), email="idle@example.com", password=PASSWORD)
    idle.is_active = False
    idle.save(update_fields=["is_active"])
    seen: list[str] = []

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def count(hasher: Any, password: str, *rest: Any) -> Any:
            seen.append(password)
            return original(hasher, password, *rest)

        return count

    for name in ("encode", "verify"):
        monkeypatch.setattr(BoundedArgon2Hasher, name, counted(getattr(BoundedArgon2Hasher, name)))
    monkeypatch.setattr(settings, "CMDOP_SIGNUP", "open")
    return seen


@pytest.mark.parametrize("who", ["nobody", "known", "keyless", "unproved", "idle"])
def test_a_failed_sign_in_costs_one_hash_whoever_it_is(hashes: list[str], who: str) -> None:
    from django.test import Client

    answer = Client().post(LOGIN, {"login": f"{who}@example.com", "password": "not it, but long"})
    assert answer.status_code == 200
    assert b"The e-mail address or the password is wrong." in answer.content
    assert len(hashes) == 1


def test_signing_up_costs_the_same_whether_the_address_is_taken_or_not(hashes: list[str]) -> None:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.accounts.models import Account
    from cmdop_server.audit.models import Event
    from cmdop_server.workspaces.models import Workspace

    def tables() -> list[int]:
        return [model.objects.count() for model in (Account, Workspace, Event)]

    answers, costs, before = {}, {}, tables()
    for email in ("known@example.com", "new@example.com"):
        with CaptureQueriesContext(connection) as captured:
            sent = Client().post(SIGNUP, {"email": email, "password1": PASSWORD})
        answers[email] = (sent.status_code, sent["location"], len(hashes))
        costs[email] = len([each for each in captured if "INSERT" in each["sql"].split()[:1]])
        if email == "known@example.com":
            assert tables() == before, "what was made for its cost alone is taken back"
        hashes.clear()
    assert answers["known@example.com"] == answers["new@example.com"]
    assert answers["new@example.com"][2] == 1
    assert abs(costs["known@example.com"] - costs["new@example.com"]) <= 1, costs
    assert tables()[0] == before[0] + 1


@pytest.mark.slow
def test_a_mail_server_that_hangs_tells_nobody_whose_password_may_be_reset(new_server: Callable[..., Server]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        server = new_server(CMDOP_SMTP_URL=f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        world = make_world(server)
        emails = [world["owner"].email, "nobody@example.org"]
        world.close()
        with Browser(server.url) as browser:
            form = browser.open(RESET).form(RESET)
            answers = [browser.submit(form, email=email) for email in emails]
            assert [(each.status, each.location) for each in answers] == [(302, f"{RESET}done/")] * 2
        silent.settimeout(STOP_SECONDS)
        silent.accept()[0].close()  # only now, and for one of the two
        silent.settimeout(0.5)
        with pytest.raises(TimeoutError):
            silent.accept()
