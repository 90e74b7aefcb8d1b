"""Keeping a pair fresh: one rotation for everybody who asks, and nobody is logged out."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from cmdop_sdk.auth import MemoryTokenSource, TokenPair, TokenSource
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import AuthenticationError, CMDOPError, ServiceUnavailable, Unreachable, WrongOrigin
from cmdop_sdk.store import FileTokenSource, Store
from tests.sdk.loopback import Loopback, loopback, refusal
from tests.sdk.pairs import OTHER_WORKSPACE, Rotation, pair, place_of


@pytest.fixture
def rotation() -> Rotation:
    """The control plane's rules."""
    return Rotation()


@pytest.fixture
def server(rotation: Rotation) -> Iterator[Loopback]:
    """The control plane."""
    with loopback(rotation) as running:
        yield running


@pytest.fixture
def stale(server: Loopback, rotation: Rotation) -> TokenPair:
    """A pair whose access token the server does not take any more, though the client cannot know."""
    tokens = pair(server.origin)
    rotation.start_with(tokens)
    return tokens


def with_source(
    source: TokenSource, tokens: TokenPair, call: Callable[[AsyncCMDOPClient], Awaitable[Any]], **options: Any
) -> Any:
    """Run ``call`` on a client that acts with ``source``."""

    async def once() -> Any:
        async with AsyncCMDOPClient.with_source(source, tokens.origin, tokens.workspace_id, **options) as client:
            return await call(client)

    return asyncio.run(once())


async def whoami(client: AsyncCMDOPClient) -> str:
    """Return the account's address, asked of the server."""
    account = (await client.me.show()).account
    return account.email if account else ""


def tokens_sent(server: Loopback) -> list[str | None]:
    """Return the credentials that came with API requests, in order."""
    return [seen.bearer for seen in server.seen if not seen.path.endswith("/auth/token")]


def test_a_401_is_answered_with_one_refresh_and_one_repeat(
    server: Loopback, rotation: Rotation, stale: TokenPair
) -> None:
    assert with_source(MemoryTokenSource(stale), stale, whoami) == "ana@example.com"
    assert [seen.path for seen in server.seen] == ["/api/v1/me", "/api/v1/auth/token", "/api/v1/me"]
    assert server.seen[1].bearer is None
    assert rotation.rotations == 1


@pytest.mark.parametrize("age", [3541, 3700])
def test_a_token_about_to_end_is_not_sent_any_more(server: Loopback, rotation: Rotation, age: float) -> None:
    ending = pair(server.origin, age=age)
    rotation.start_with(ending)
    assert with_source(MemoryTokenSource(ending), ending, whoami) == "ana@example.com"
    assert [seen.path for seen in server.seen] == ["/api/v1/auth/token", "/api/v1/me"]


def test_a_token_with_more_than_a_minute_left_is_used(server: Loopback, rotation: Rotation) -> None:
    good = pair(server.origin, age=3500)
    rotation._access = {good.access_token.reveal()}
    assert with_source(MemoryTokenSource(good), good, whoami) == "ana@example.com"
    assert rotation.rotations == 0


def test_a_second_401_is_the_answer(server: Loopback, stale: TokenPair, rotation: Rotation) -> None:
    server.answer = lambda seen: rotation(seen) if seen.path.endswith("token") else refusal(401, "unauthenticated")
    with pytest.raises(AuthenticationError):
        with_source(MemoryTokenSource(stale), stale, whoami)
    assert len(server.seen) == 3


def test_twenty_tasks_share_one_refresh(server: Loopback, rotation: Rotation, stale: TokenPair) -> None:
    rotation.delay = 0.1

    async def many(client: AsyncCMDOPClient) -> list[str]:
        return await asyncio.gather(*(whoami(client) for _ in range(20)))

    assert with_source(MemoryTokenSource(stale), stale, many) == ["ana@example.com"] * 20
    assert rotation.rotations == 1


def test_a_lost_answer_is_asked_for_again(server: Loopback, rotation: Rotation, stale: TokenPair) -> None:
    rotation.break_answers = 1
    assert with_source(MemoryTokenSource(stale), stale, whoami) == "ana@example.com"
    assert rotation.rotations == 1


def test_an_ended_sign_in_says_how_to_come_back(server: Loopback) -> None:
    unknown = pair(server.origin)
    with pytest.raises(AuthenticationError, match="has ended") as caught:
        with_source(MemoryTokenSource(unknown), unknown, whoami)
    assert (caught.value.code, caught.value.hint) == ("signed_out", "cmdop login --workspace acme")
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workspace", OTHER_WORKSPACE),
        ("account", {"id": "usr_00000000000000000009", "email": "eve@example.com"}),
        ("sign_in_id", "sig_00000000000000000009"),
    ],
)
def test_a_pair_for_anything_else_does_not_take_the_place_of_ours(
    server: Loopback, rotation: Rotation, stale: TokenPair, field: str, value: object
) -> None:
    rotation.changes = {field: value}
    source = MemoryTokenSource(stale)
    with pytest.raises(WrongOrigin, match="than the ones they replace"):
        with_source(source, stale, whoami)
    assert asyncio.run(source.pair()) == stale


def test_a_refresh_that_fails_is_not_multiplied_by_the_request_s_own_tries(server: Loopback, stale: TokenPair) -> None:
    server.answer = lambda seen: (
        refusal(401, "unauthenticated") if seen.path.endswith("/me") else refusal(503, "unavailable")
    )
    with pytest.raises(ServiceUnavailable) as caught:
        with_source(MemoryTokenSource(stale), stale, whoami, retries=2)
    assert [seen.path.rpartition("/")[2] for seen in server.seen] == ["me", "token", "token", "token"]
    assert caught.value.http_status == 503


def test_a_pair_of_another_origin_is_never_sent(server: Loopback) -> None:
    with loopback() as other:
        theirs = pair(other.origin)

        async def act() -> None:
            source = MemoryTokenSource(theirs)
            async with AsyncCMDOPClient.with_source(source, server.origin, theirs.workspace_id) as client:
                await client.me.show()

        with pytest.raises(WrongOrigin, match="is never sent to"):
            asyncio.run(act())
    assert (server.seen, other.seen) == ([], [])


@pytest.mark.parametrize(
    ("mode", "workspace"),
    [("dev", None), ("prod", OTHER_WORKSPACE["id"]), ("prod", "globex")],
    ids=["mode", "id", "slug"],
)
def test_a_pair_of_another_mode_or_workspace_is_never_sent(
    server: Loopback, stale: TokenPair, mode: str, workspace: str | None
) -> None:
    async def act() -> None:
        source = MemoryTokenSource(stale)
        async with AsyncCMDOPClient.with_source(source, server.origin, workspace, mode=mode) as client:
            await client.me.show()

    with pytest.raises(WrongOrigin):
        asyncio.run(act())
    assert server.seen == []


def test_another_spelling_of_the_origin_is_the_same_server(
    server: Loopback, rotation: Rotation, stale: TokenPair
) -> None:
    async def act() -> str:
        source = MemoryTokenSource(stale)
        async with AsyncCMDOPClient.with_source(source, f"{server.origin.upper()}/", stale.workspace_slug) as client:
            return await whoami(client)

    assert asyncio.run(act()) == "ana@example.com"


CHILD = """
import asyncio, sys
from cmdop_sdk import AsyncCMDOPClient, FileTokenSource, Store

origin, account, workspace = sys.argv[1:]

async def act():
    source = FileTokenSource(Store(), origin=origin, account_id=account, workspace_id=workspace, mode="prod")
    async with AsyncCMDOPClient.with_source(source, origin, workspace) as client:
        await source.pair()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(3):
            print((await client.me.show()).account.email)

asyncio.run(act())
"""


@pytest.mark.parametrize("age", [0, pytest.param(3700, marks=pytest.mark.slow)])
def test_ten_processes_refreshing_at_once_make_one_rotation(server: Loopback, rotation: Rotation, age: float) -> None:
    tokens = pair(server.origin, age=age)
    rotation.start_with(tokens)
    rotation.delay = 0.2
    store = Store()
    store.save(tokens, "file")
    bystander = pair(server.origin, workspace_id=OTHER_WORKSPACE["id"], workspace_slug="globex")
    untouched = store.save(bystander, "file").path.read_bytes()
    command = [sys.executable, "-c", CHILD, tokens.origin, tokens.account_id, tokens.workspace_id]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        said, complaints = child.communicate(timeout=60)
        assert (said, complaints, child.returncode) == ("ana@example.com\n" * 3, "", 0)
    assert rotation.rotations == 1
    assert len([seen for seen in server.seen if seen.path.endswith("/auth/token")]) == 1
    assert store.token_file(**place_of(bystander)).read() == untouched


def test_a_refresh_is_kept_for_the_next_process(server: Loopback, rotation: Rotation, stale: TokenPair) -> None:
    store = Store()
    store.save(stale, "file")
    assert with_source(FileTokenSource(store, **place_of(stale)), stale, whoami) == "ana@example.com"
    assert with_source(FileTokenSource(store, **place_of(stale)), stale, whoami) == "ana@example.com"
    assert rotation.rotations == 1
    kept = store.pair(**place_of(stale))
    assert kept is not None
    assert kept.access_token.reveal() == tokens_sent(server)[-1]
    assert abs(kept.expires_at - time.time() - 3600) < 30


def test_a_cancelled_refresh_leaves_no_lock(server: Loopback, rotation: Rotation, stale: TokenPair) -> None:
    store = Store()
    store.save(stale, "file")
    rotation.delay = 0.5

    async def impatient(client: AsyncCMDOPClient) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(whoami(client), 0.2)

    with_source(FileTokenSource(store, **place_of(stale)), stale, impatient)
    rotation.delay = 0
    with store.token_file(**place_of(stale)).locked(wait=0):
        pass
    assert with_source(FileTokenSource(store, **place_of(stale)), stale, whoami) == "ana@example.com"
    assert rotation.rotations == 1  # the lost answer was asked for again


def test_a_refresh_that_fails_leaves_the_file_as_it_was(server: Loopback, stale: TokenPair) -> None:
    store = Store()
    before = store.save(stale, "file").path.read_bytes()
    server.answer = lambda seen: (
        refusal(401, "unauthenticated") if seen.path.endswith("/me") else refusal(503, "unavailable")
    )
    with pytest.raises(CMDOPError):
        with_source(FileTokenSource(store, **place_of(stale)), stale, whoami, retries=0)
    assert store.token_file(**place_of(stale)).read() == before


def test_signed_out_in_another_terminal_is_said(server: Loopback, rotation: Rotation, stale: TokenPair) -> None:
    store = Store()
    stored = store.save(stale, "file")
    source = FileTokenSource(store, **place_of(stale))
    asyncio.run(source.pair())
    store.forget(stored)
    with pytest.raises(AuthenticationError) as caught:
        with_source(source, stale, whoami)
    assert caught.value.code == "signed_out"
    assert rotation.rotations == 0
    assert store.token(**place_of(stale)) is None


def test_an_unreachable_server_is_not_a_lost_sign_in() -> None:
    with loopback() as gone:
        tokens = pair(gone.origin, age=3700)
    store = Store()
    before = store.save(tokens, "file").path.read_bytes()
    with pytest.raises(Unreachable):
        with_source(FileTokenSource(store, **place_of(tokens)), tokens, whoami, retries=0)
    assert store.token_file(**place_of(tokens)).read() == before
