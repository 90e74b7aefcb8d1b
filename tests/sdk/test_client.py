"""What a client does with the API's shapes: lists, the workspace of a key, signing in, and running without a loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from cmdop_sdk.auth import Secret
from cmdop_sdk.blocking import run_blocking
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import (
    CMDOPError,
    GrantError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    UnexpectedAnswer,
    WrongOrigin,
)
from cmdop_sdk.models import DeviceCode, Member
from cmdop_wire.ids import make_key, make_token
from tests.sdk.loopback import ACCOUNT, ME, WORKSPACE, Answer, Loopback, Seen, in_turn, loopback, refusal
from tests.sdk.pairs import OTHER_WORKSPACE, Rotation, pair

KEY = make_key("old-name").text
MEMBER = {"email": "ana@example.com", "role": "owner", "joined_at": "2026-01-02T03:04:05Z"}


def members(first: int, count: int, following: str | None) -> Answer:
    """Return a page of members with numbered ids."""
    items = [{**MEMBER, "id": f"usr_{number:020}"} for number in range(first, first + count)]
    return Answer(body={"items": items, "next": following})


def ask(server: Loopback, call: Callable[[AsyncCMDOPClient], Awaitable[Any]], *, key: str = KEY, **options: Any) -> Any:
    """Run ``call`` on a client that acts with a key."""
    return run_blocking(AsyncCMDOPClient.remote(api_key=key, server=server.origin, **options), call)


def queries(server: Loopback) -> list[dict[str, str]]:
    """Return the queries of all requests."""
    return [dict(httpx.URL(seen.path).params) for seen in server.seen]


def test_a_list_is_walked_to_its_end() -> None:
    with loopback(in_turn(members(0, 200, "c1"), members(200, 200, "c2"), members(400, 1, None))) as server:
        found = ask(server, lambda client: client.members.list().all())
    assert [member.id for member in found] == [f"usr_{number:020}" for number in range(401)]
    assert queries(server) == [{"limit": "200"}, {"cursor": "c1", "limit": "200"}, {"cursor": "c2", "limit": "200"}]


def test_a_part_of_a_list_asks_for_no_more_than_it_needs() -> None:
    with loopback(in_turn(members(0, 200, "c1"), members(200, 50, "c2"))) as server:
        part = ask(server, lambda client: client.members.list(email="a+b@example.com").first(250))
    assert (len(part.items), part.next) == (250, "c2")
    assert queries(server) == [
        {"limit": "200", "email": "a+b@example.com"},
        {"cursor": "c1", "limit": "50", "email": "a+b@example.com"},
    ]


def test_a_list_that_leads_in_a_circle_ends() -> None:
    with loopback(lambda _: members(0, 1, "same")) as server, pytest.raises(UnexpectedAnswer, match="circle"):
        ask(server, lambda client: client.members.list().all())
    assert len(server.seen) == 2


def test_an_empty_list_is_no_error() -> None:
    with loopback(Answer(body={"items": [], "next": None})) as server:
        assert ask(server, lambda client: client.audit.list().all()) == []


def test_filters_travel_as_the_api_spells_them() -> None:
    empty = Answer(body={"items": [], "next": None})
    since = datetime.fromisoformat("2026-03-29T01:30:00+05:45")
    with loopback(empty) as server:
        ask(server, lambda client: client.keys.list(all=True, state="live", unused_days=90).page(limit=10))
        ask(server, lambda client: client.audit.list(since=since, action="key.created", order="asc").page())
        ask(server, lambda client: client.keys.list().page())
    assert queries(server) == [
        {"limit": "10", "all": "true", "state": "live", "unused_days": "90"},
        {"since": "2026-03-28T19:45:00Z", "action": "key.created", "order": "asc"},
        {},
    ]


def test_a_moment_without_a_zone_is_refused() -> None:
    with loopback() as server, pytest.raises(InvalidRequest, match="time zone"):
        ask(server, lambda client: client.audit.list(since=datetime(2026, 1, 1)).page())
    assert server.seen == []


def by_path(**answers: Answer) -> Callable[[Seen], Answer]:
    """Answer by what stands after ``/workspaces/`` or, for ``me``, ``/me``."""

    def answer(seen: Seen) -> Answer:
        if seen.path == "/api/v1/me":
            return answers["me"]
        ref = seen.path.removeprefix("/api/v1/workspaces/").partition("/")[0]
        return answers.get(ref.replace("-", "_"), refusal(404, "not_found"))

    return answer


def test_a_key_of_a_renamed_workspace_finds_it_by_id() -> None:
    answers = by_path(me=Answer(body=ME), **{WORKSPACE["id"]: Answer(body=WORKSPACE)})
    with loopback(answers) as server:

        async def twice(client: AsyncCMDOPClient) -> tuple[str | None, str, str, str | None]:
            before = client.workspace_ref
            first = (await client.workspace.show()).slug
            return before, first, (await client.workspace.show()).slug, client.workspace_ref

        assert ask(server, twice) == ("old-name", "acme", "acme", WORKSPACE["id"])
    assert [seen.path.removeprefix("/api/v1") for seen in server.seen] == [
        "/workspaces/old-name",
        "/me",
        f"/workspaces/{WORKSPACE['id']}",
        f"/workspaces/{WORKSPACE['id']}",
    ]


def test_a_missing_object_in_the_key_s_own_workspace_is_just_missing() -> None:
    same_name = {**ME, "workspace": {**WORKSPACE, "slug": "old-name"}}
    with loopback(by_path(me=Answer(body=same_name))) as server:

        async def twice(client: AsyncCMDOPClient) -> None:
            for _ in range(2):
                with pytest.raises(NotFound):
                    await client.keys.show("key_00000000000000000001")

        ask(server, twice)
    assert len(server.seen) == 3  # the question who we are is asked once


def test_a_named_workspace_is_never_replaced_by_another() -> None:
    with loopback(by_path(me=Answer(body=ME), **{WORKSPACE["id"]: Answer(body=WORKSPACE)})) as server:
        with pytest.raises(NotFound):
            ask(server, lambda client: client.workspace.show(), workspace="old-name")
    assert len(server.seen) == 1


def test_leaving_is_a_delete_without_an_answer() -> None:
    with loopback(Answer(204, b"")) as server:
        assert ask(server, lambda client: client.workspace.leave(), workspace="acme") is None
    assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/api/v1/workspaces/acme/members/me")


def test_an_update_sends_only_what_is_given() -> None:
    with loopback(Answer(body=WORKSPACE)) as server:
        ask(server, lambda client: client.workspace.update(description="", timezone="Asia/Kathmandu"))
    assert server.seen[0].json == {"description": "", "timezone": "Asia/Kathmandu"}


def test_members_come_as_structs() -> None:
    with loopback(members(1, 1, None)) as server:
        (member,) = ask(server, lambda client: client.members.list().all())
    assert member == Member(
        id="usr_00000000000000000001",
        email="ana@example.com",
        role="owner",
        joined_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    with pytest.raises(AttributeError):
        member.role = "guest"


def device(**changes: Any) -> DeviceCode:
    """Return the start of a device grant that is polled quickly."""
    fields = {
        "device_code": Secret(make_token("device")),
        "user_code": "BCDF-GHJK",
        "verification_uri": "http://127.0.0.1/device",
    }
    return DeviceCode(**{**fields, "expires_in": 30, "interval": 0, **changes})


def sign_in(server: Loopback, call: Callable[[AsyncCMDOPClient], Awaitable[Any]]) -> Any:
    """Run ``call`` on a client without a credential."""
    return run_blocking(AsyncCMDOPClient.anonymous(server.origin, retries=0), call)


GRANT = Rotation()._grant()


def test_the_device_grant_is_polled_until_somebody_approves() -> None:
    pending = refusal(400, "authorization_pending")
    away = Answer(503, b"")
    heard: list[float] = []
    with loopback(in_turn(pending, away, pending, Answer(body=GRANT))) as server:
        signed = sign_in(server, lambda client: client.sign_in.wait(device(), waiting=heard.append))
    assert signed.pair.workspace_slug == "acme"
    assert (signed.pair.origin, signed.pair.mode, signed.pair.reach) == (server.origin, "prod", "all")
    assert signed.account.email == ACCOUNT["email"]
    assert abs(signed.pair.expires_at - time.time() - 3600) < 30
    assert [seen.json["grant_type"] for seen in server.seen] == ["urn:ietf:params:oauth:grant-type:device_code"] * 4
    assert {seen.bearer for seen in server.seen} == {None}
    assert len(heard) == 4


def test_slow_down_grows_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps: list[float] = []
    really = asyncio.sleep

    async def noted(seconds: float) -> None:
        gaps.append(seconds)
        await really(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    slow = refusal(400, "slow_down", details={"interval": 12})
    with loopback(
        in_turn(slow, refusal(400, "slow_down"), refusal(400, "authorization_pending"), Answer(body=GRANT))
    ) as server:
        sign_in(server, lambda client: client.sign_in.wait(device(interval=5, expires_in=600)))
    assert gaps == [5, 12, 17, 17]


@pytest.mark.parametrize("code", ["access_denied", "expired_token", "invalid_grant"])
def test_a_refusal_ends_the_wait(code: str) -> None:
    with loopback(refusal(400, code)) as server, pytest.raises(GrantError) as caught:
        sign_in(server, lambda client: client.sign_in.wait(device()))
    assert (caught.value.code, len(server.seen)) == (code, 1)


def test_a_wait_ends_when_the_code_does() -> None:
    with loopback(refusal(400, "authorization_pending")) as server, pytest.raises(GrantError) as caught:
        sign_in(server, lambda client: client.sign_in.wait(device(expires_in=0.3)))
    assert caught.value.code == "expired_token"
    assert 1 < len(server.seen) < 20


def test_a_one_time_token_is_redeemed_with_the_workspace_that_is_wanted() -> None:
    token = make_token("sign_in")
    with loopback(Answer(body=GRANT)) as server:
        sign_in(
            server, lambda client: client.sign_in.with_token(Secret(token), workspace="acme", client="cmdop on box")
        )
    assert server.seen[0].json == {
        "grant_type": "sign_in_token",
        "token": token,
        "workspace": "acme",
        "client": "cmdop on box",
    }


def test_exchange_gives_another_workspace_and_never_the_wrong_one() -> None:
    there = {name: OTHER_WORKSPACE[name] for name in ("id", "slug", "name", "kind", "role")}
    with loopback(Answer(body={**GRANT, "workspace": there})) as server:
        tokens = pair(server.origin)
        for ref in ("globex", OTHER_WORKSPACE["id"]):
            entered = sign_in(server, lambda client, ref=ref: client.sign_in.exchange(tokens, ref))
            assert entered.pair.workspace_id == OTHER_WORKSPACE["id"]
        with pytest.raises(WrongOrigin):
            sign_in(server, lambda client: client.sign_in.exchange(tokens, "acme"))
    assert server.seen[0].json["workspace"] == "globex"


def test_a_sign_in_for_one_workspace_is_refused_with_its_reason() -> None:
    refused = refusal(403, "forbidden", hint="cmdop login --workspace globex")
    with loopback(refused) as server, pytest.raises(PermissionDenied) as caught:
        sign_in(server, lambda client: client.sign_in.exchange(pair(server.origin), "globex"))
    assert caught.value.hint == "cmdop login --workspace globex"


@pytest.mark.parametrize("verb", ["refresh", "exchange"])
@pytest.mark.parametrize("changes", [{"origin": "https://other.example"}, {"mode": "dev"}])
def test_a_refresh_token_goes_only_to_its_own_server_and_mode(verb: str, changes: dict[str, str]) -> None:
    with loopback(Answer(body=GRANT)) as server:
        tokens = pair(**{"origin": server.origin, **changes})
        more = ("globex",) if verb == "exchange" else ()
        with pytest.raises(WrongOrigin):
            sign_in(server, lambda client: getattr(client.sign_in, verb)(tokens, *more))
    assert server.seen == []


def test_revoking_sends_the_token_in_the_body_only() -> None:
    tokens = pair()
    with loopback(Answer(body={"revoked": True})) as server:
        sign_in(server, lambda client: client.sign_in.revoke(tokens.refresh_token, all=True))
    assert server.seen[0].json == {"token": tokens.refresh_token.reveal(), "all": True}
    assert tokens.refresh_token.reveal() not in f"{server.seen[0].path}{server.seen[0].headers}"


def test_blocking_inside_a_loop_is_refused_and_asks_nothing() -> None:
    async def wrong() -> None:
        run_blocking(AsyncCMDOPClient.anonymous(), lambda client: client.version())

    with pytest.raises(InvalidRequest, match="await"):
        asyncio.run(wrong())


def test_a_client_runs_against_an_application_in_this_process() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b'{"name": "cmdop", "version": "0.1.0", "api": "v1"}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    transport = httpx.ASGITransport(application)
    assert run_blocking(AsyncCMDOPClient.anonymous(transport=transport), lambda client: client.version()).api == "v1"


def test_a_refusal_in_the_middle_of_a_list_is_the_list_s(tmp_path: object) -> None:
    with (
        loopback(in_turn(members(0, 200, "c1"), refusal(403, "forbidden"))) as server,
        pytest.raises(CMDOPError) as caught,
    ):
        ask(server, lambda client: client.members.list().all())
    assert caught.value.code == "forbidden"
