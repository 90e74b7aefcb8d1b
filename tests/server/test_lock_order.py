"""Changes of one account at the same moment wait for each other, never in a circle: nobody is told that it is busy."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.inside import Inside
from tests.processes import STOP_SECONDS

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
ADDRESS = "127.0.0.1"
ROUNDS = 50


class Together:
    """Threads with a connection of their own each, whose failures reach the test."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, act: Callable[[], Any]) -> None:
        """Begin to do something beside whatever else is done."""
        thread = threading.Thread(target=self._run, args=(act,))
        self._threads.append(thread)
        thread.start()

    def _run(self, act: Callable[[], Any]) -> None:
        from django.db import connection

        try:
            act()
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            connection.close()

    def join(self) -> None:
        """Wait for all of them; none may have failed."""
        for thread in self._threads:
            thread.join(STOP_SECONDS)
            assert not thread.is_alive()
        assert self.failures == []


def waiting() -> int:
    """Return how many connections wait for a lock now."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


def until_waiting(count: int) -> None:
    """Return when so many connections wait."""
    for _ in range(int(STOP_SECONDS * 100)):
        if waiting() == count:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{waiting()} wait instead of {count}")


@contextmanager
def held(workspace_id: str) -> Iterator[None]:
    """Hold the log of a workspace, as somebody who writes to it does."""
    from django.db import transaction

    from cmdop_server.audit.models import Chain

    with transaction.atomic():
        Chain.objects.select_for_update().get(workspace_id=workspace_id)
        yield


@pytest.fixture
def alice(inside: Inside, committed_db: None, monkeypatch: pytest.MonkeyPatch) -> "Alice":
    """Somebody with a personal workspace and a place in two teams; passwords are hashed fast, locks are the subject."""
    from django.conf import settings

    monkeypatch.setattr(settings, "PASSWORD_HASHERS", ["django.contrib.auth.hashers.MD5PasswordHasher"])
    return Alice()


class Alice:
    """What one person's programs and pages do, through the services."""

    def __init__(self) -> None:
        from cmdop_server.workspaces.queries import personal_workspace_of
        from tests import casting

        made = casting.cast("locks", password=None)
        self.id: str = made["people"]["visitor"]["id"]
        self.teams = [tenant["slug"] for tenant in made["tenants"].values()]
        self.owner: str = made["people"]["owner"]["id"]
        personal = personal_workspace_of(self.id)
        assert personal is not None
        self.personal = personal

    def sign_in(self) -> dict[str, str]:
        """Sign in everywhere; return the pair of the personal workspace."""
        from cmdop_server.credentials import sign_ins
        from tests import casting

        pair = casting.sign_in(self.id, self.personal.slug, "all")
        for team in self.teams:
            sign_ins.exchange(pair["refresh_token"], team, address=ADDRESS, request_id="")
        return pair

    def change_password(self) -> None:
        """Choose another password."""
        from cmdop_server.accounts.queries import account_by_id
        from cmdop_server.accounts.services import change_password
        from tests import casting

        account = account_by_id(self.id)
        assert account is not None
        change_password(casting.person(self.id), account, "quite another phrase")

    def sign_out(self, pair: dict[str, str], *, all_of_it: bool) -> None:
        """Log out, here or everywhere."""
        from cmdop_server.credentials import sign_ins

        sign_ins.revoke_token(pair["access_token"], all_of_it=all_of_it, address=ADDRESS, request_id="")

    def redemption(self) -> Callable[[], None]:
        """Return the redemption of a one-time token into the personal workspace; it may come too late."""
        from cmdop_server.access.errors import GrantRefused
        from cmdop_server.credentials import sign_ins

        token = sign_ins.make_sign_in_token(self.id)

        def redeem() -> None:
            with suppress(GrantRefused):
                sign_ins.redeem_sign_in_token(token, None, "a terminal", address=ADDRESS, request_id="")

        return redeem

    def approved(self, workspace: str) -> Callable[[], None]:
        """Return the redemption of an approved device; it may come too late."""
        from cmdop_server.access.errors import GrantRefused
        from cmdop_server.credentials import sign_ins
        from cmdop_wire.vocab import Reach
        from tests import casting

        started = sign_ins.start_device("a terminal", address=ADDRESS)
        sign_ins.approve_device(casting.person(self.id), started.user_code, workspace, Reach.ALL)

        def redeem() -> None:
            with suppress(GrantRefused):
                sign_ins.redeem_device(started.device_code, address=ADDRESS, request_id="")

        return redeem

    def is_removed_and_added(self, team: str) -> None:
        """Be removed from a team and come back."""
        from cmdop_server.accounts.queries import account_by_id
        from cmdop_server.workspaces.members import add_member, remove_member
        from tests import casting

        account = account_by_id(self.id)
        assert account is not None
        remove_member(casting.operator(), team, self.id)
        add_member(casting.operator(), team, account, "member")


def test_a_new_password_and_signing_out_everywhere_do_not_wait_in_a_circle(alice: Alice) -> None:
    pair, together = alice.sign_in(), Together()
    with held(alice.personal.public_id):
        together.start(alice.change_password)
        until_waiting(1)
        together.start(lambda: alice.sign_out(pair, all_of_it=True))
        until_waiting(2)
    together.join()


@pytest.mark.parametrize("how", ["redemption", "approved"])
def test_a_new_password_and_a_redemption_do_not_wait_in_a_circle(alice: Alice, how: str) -> None:
    redeem = alice.redemption() if how == "redemption" else alice.approved(alice.personal.slug)
    together = Together()
    with held(alice.personal.public_id):
        together.start(alice.change_password)
        until_waiting(1)
        together.start(redeem)
        until_waiting(2)
    together.join()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_happens_to_one_account_at_once_fifty_times(alice: Alice) -> None:
    for _ in range(ROUNDS):
        pairs = [alice.sign_in() for _ in range(2)]
        late = [alice.redemption(), alice.approved(alice.personal.slug), alice.approved(alice.teams[0])]
        acts: list[Callable[[], None]] = [
            alice.change_password,
            alice.change_password,
            lambda pair=pairs[0]: alice.sign_out(pair, all_of_it=True),  # type: ignore[misc]
            lambda pair=pairs[1]: alice.sign_out(pair, all_of_it=False),  # type: ignore[misc]
            lambda: alice.is_removed_and_added(alice.teams[0]),
            *late,
        ]
        together, barrier = Together(), threading.Barrier(len(acts))

        def at_once(act: Callable[[], None], barrier: threading.Barrier = barrier) -> None:
            barrier.wait(STOP_SECONDS)
            act()

        for act in acts:
            together.start(lambda act=act: at_once(act))  # type: ignore[misc]
        together.join()
