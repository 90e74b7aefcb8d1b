"""How requests travel: tried again or not, bounded in time and size, never led away, failures in our words."""

import asyncio
import gzip
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from cmdop_sdk.auth import KeyCredential
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import (
    CMDOPError,
    InvalidRequest,
    LimitReached,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
    WrongOrigin,
)
from cmdop_sdk.models import Identity
from cmdop_sdk.transport import Transport, segment
from cmdop_wire.ids import make_key
from tests.sdk.loopback import ME, WORKSPACE, Answer, Loopback, Seen, in_turn, loopback, refusal

KEY = make_key("acme").text
SECRET_KEY = {
    "id": "key_00000000000000000001",
    "kind": "personal",
    "name": "laptop",
    "prefix": "cmd_acme_abcd",
    "scopes": [],
    "created_at": "2026-01-02T03:04:05Z",
    "state": "live",
}


def transport_to(server: Loopback | str, **options: Any) -> Transport:
    """Return a transport with a key and no waiting between tries."""
    origin = server if isinstance(server, str) else server.origin
    made = Transport(origin, **{"backoff": 0.001, **options})
    made.use_key(KeyCredential.from_text(KEY, made.origin))
    return made


def ask(server: Loopback | str, method: str = "GET", path: str = "/api/v1/me", **options: Any) -> Any:
    """Send one request and return its decoded answer."""
    request = {
        name: options.pop(name) for name in ("body", "query", "idempotency_key", "is_repeatable") if name in options
    }
    transport = transport_to(server, **options)

    async def once() -> Any:
        try:
            return (await transport.request(method, path, Identity, **request)).value
        finally:
            await transport.close()

    return asyncio.run(once())


def with_client(server: Loopback, call: Callable[[AsyncCMDOPClient], Awaitable[Any]], **options: Any) -> Any:
    """Run ``call`` on a client that acts with a key."""

    async def once() -> Any:
        async with AsyncCMDOPClient.remote(api_key=KEY, server=server.origin, **options) as client:
            return await call(client)

    return asyncio.run(once())


def test_an_answer_is_decoded_and_fields_of_newer_servers_are_ignored() -> None:
    with loopback() as server:
        me = ask(server)
    assert (me.workspace.slug, me.account.email) == ("acme", "ana@example.com")
    assert me.workspace.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert server.seen[0].bearer == KEY
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_is_tried_four_more_times_after_a_transient_answer(status: int) -> None:
    bad = refusal(status, "rate_limited" if status == 429 else "unavailable")
    with loopback(in_turn(bad, bad, bad, bad, Answer(body=ME))) as server:
        assert ask(server).workspace.slug == "acme"
    assert len(server.seen) == 5


def test_a_read_gives_up_after_the_fifth_try_and_keeps_the_last_reason() -> None:
    with loopback(refusal(503, "unavailable")) as server, pytest.raises(ServiceUnavailable) as caught:
        ask(server)
    assert len(server.seen) == 5
    assert (caught.value.http_status, caught.value.request_id, caught.value.transient) == (503, "req_1", True)


def test_retries_can_be_switched_off() -> None:
    with loopback(refusal(503, "unavailable")) as server, pytest.raises(ServiceUnavailable):
        ask(server, retries=0)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 415, 422])
def test_what_will_not_change_is_asked_once(status: int) -> None:
    with loopback(refusal(status, "invalid")) as server, pytest.raises(CMDOPError):
        ask(server)
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_write_without_a_key_is_never_tried_again(method: str) -> None:
    with loopback(refusal(503, "unavailable")) as server, pytest.raises(ServiceUnavailable):
        ask(server, method)
    assert len(server.seen) == 1


def test_every_try_of_a_create_carries_the_same_idempotency_key_and_another_create_another() -> None:
    created = Answer(201, {**SECRET_KEY, "secret": KEY})
    with loopback(in_turn(refusal(503, "unavailable"), refusal(502, "unavailable"), created)) as server:
        key = with_client(server, lambda client: client.keys.create("laptop"))
        with_client(server, lambda client: client.keys.create("laptop"))
    keys = [seen.headers["idempotency-key"] for seen in server.seen]
    assert key.secret.reveal() == KEY
    assert len(keys) == 4
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_replayed_create_says_so_and_has_no_secret() -> None:
    with loopback(Answer(201, SECRET_KEY, {"Idempotent-Replayed": "true"})) as server:
        key = with_client(server, lambda client: client.keys.create("laptop"))
    assert (key.replayed, key.secret) == (True, None)


def test_a_create_whose_connection_broke_is_tried_again_with_the_same_key() -> None:
    def answer(seen: Seen) -> Answer:
        if len(server.seen) == 1:
            return Answer(201, b"", {"Content-Length": "500"}, iter([b"{"]))
        return Answer(201, {**SECRET_KEY, "secret": KEY})

    with loopback(answer) as server:
        assert with_client(server, lambda client: client.keys.create("laptop")).name == "laptop"
    assert server.seen[0].headers["idempotency-key"] == server.seen[1].headers["idempotency-key"]


def test_retry_after_is_waited_for() -> None:
    with loopback(in_turn(refusal(429, "rate_limited", headers={"Retry-After": "1"}), Answer(body=ME))) as server:
        begun = time.monotonic()
        ask(server)
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("wait", ["3600", "99999999999999999999", "date"])
def test_a_wait_beyond_reason_is_reported_and_not_waited_for(wait: str) -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True) if wait == "date" else wait
    with loopback(refusal(429, "rate_limited", headers={"Retry-After": header})) as server:
        with pytest.raises(RateLimited) as caught:
            ask(server)
    assert len(server.seen) == 1
    assert caught.value.details["retry_after"] > 3500


@pytest.mark.parametrize("header", ["soon", "-1", "1e9", "٣"])
def test_a_retry_after_that_means_nothing_is_ignored(header: str) -> None:
    answer = refusal(503, "unavailable", headers={"Retry-After": header.encode().decode("latin-1")})
    with loopback(in_turn(answer, Answer(body=ME))) as server:
        assert ask(server).workspace.slug == "acme"


def test_nobody_listening_is_unreachable_and_the_cause_is_kept() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"^cannot reach http://127\.0\.0\.1:\d+: .*refused") as caught:
            ask(origin)
    assert (caught.value.code, caught.value.http_status, caught.value.transient) == ("unreachable", None, True)
    assert type(caught.value.__cause__).__module__.startswith("httpx")


def test_a_silent_server_is_given_up_in_time() -> None:
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimedOut) as caught:
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2, retries=0)
    assert time.monotonic() - begun < 5
    assert caught.value.code == "time_out"


def test_a_server_that_drips_is_given_up_in_time() -> None:
    def drip() -> Iterator[bytes]:
        while True:
            time.sleep(0.05)
            yield b" "

    begun = time.monotonic()
    with loopback(lambda _: Answer(pieces=drip())) as server, pytest.raises(TimedOut):
        ask(server, timeout=0.3, retries=0)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_endless_answer_is_cut_whatever_its_status(status: int) -> None:
    endless = lambda _: Answer(status, pieces=itertools.repeat(b" " * 65536))  # noqa: E731
    with loopback(endless) as server, pytest.raises(UnexpectedAnswer, match="larger than 100000 bytes"):
        ask(server, answer_limit=100_000, retries=0)


def test_a_compressed_answer_is_refused() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    with loopback(Answer(200, bomb, {"Content-Encoding": "gzip"})) as server:
        with pytest.raises(UnexpectedAnswer, match="compressed"):
            ask(server)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"",
        b"null",
        b"[]",
        b'{"workspace": 3}',
        b"{" * 100_000,
        b"[" * 100_000,
        b"\xff\xfe",
        b"1" * 9999,
    ],
)
def test_an_answer_that_is_not_the_api_is_a_clear_error(body: bytes) -> None:
    with loopback(Answer(200, body, {"Content-Type": "text/html; charset=utf-8"})) as server:
        with pytest.raises(UnexpectedAnswer, match="does not answer as a cmdop server does") as caught:
            ask(server)
    assert (caught.value.request_id, caught.value.http_status) == ("req_header", 200)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(404, UnexpectedAnswer), (403, UnexpectedAnswer), (502, ServiceUnavailable)]
)
def test_a_stranger_s_refusal_says_nothing_about_our_objects(status: int, kind: type[CMDOPError]) -> None:
    with loopback(Answer(status, b"<html>")) as server, pytest.raises(kind) as caught:
        ask(server, retries=0)
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_refused_and_that_server_hears_nothing(status: int) -> None:
    with loopback() as thief:
        redirect = Answer(status, b"", {"Location": f"{thief.origin}/api/v1/me"})
        with loopback(redirect) as server, pytest.raises(UnexpectedAnswer) as caught:
            ask(server)
    assert caught.value.code == "redirected"
    assert server.origin in caught.value.message
    assert thief.origin in caught.value.message
    assert (len(server.seen), thief.seen) == (1, [])


@pytest.mark.parametrize("location", ["/elsewhere", "//[", "javascript:1", "", "http://\x1b[31m/"])
def test_any_other_redirect_is_refused_too(location: str) -> None:
    with loopback(Answer(302, b"", {"Location": location})) as server, pytest.raises(UnexpectedAnswer) as caught:
        ask(server)
    assert len(server.seen) == 1
    assert caught.value.message.isprintable()


def test_cookies_are_not_kept() -> None:
    with loopback(Answer(body=ME, headers={"Set-Cookie": "spy=1"})) as server:

        async def twice(client: AsyncCMDOPClient) -> None:
            await client.me.show()
            await client.me.show()

        with_client(server, twice)
    assert [seen.headers.get("cookie") for seen in server.seen] == [None, None]


def test_netrc_is_never_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ana password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with loopback() as server:

        async def public() -> None:
            async with AsyncCMDOPClient.anonymous(server.origin) as client:
                with pytest.raises(UnexpectedAnswer):
                    await client.version()

        asyncio.run(public())
    assert "authorization" not in server.seen[0].headers


def test_loopback_goes_past_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(Answer(500, b"")) as proxy, loopback() as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        assert ask(server).workspace.slug == "acme"
    assert proxy.seen == []


def test_another_host_goes_through_the_proxy_which_sees_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(Answer(502, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin.replace("//", "//ana:hunter2@"))
        with pytest.raises(Unreachable, match="proxy"):
            ask("https://cmdop.example", retries=0)
    assert [(seen.method, seen.path) for seen in proxy.seen] == [("CONNECT", "cmdop.example:443")]
    assert KEY not in json.dumps(proxy.seen[0].headers)


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(Answer(502, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with pytest.raises(Unreachable):
            ask("https://cmdop.invalid", retries=0)
    assert proxy.seen == []


def test_an_unusable_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://ana:hunter2@proxy.example")
    with pytest.raises(InvalidRequest) as caught:
        ask("https://cmdop.example")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("ref", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_refused(ref: str) -> None:
    with loopback() as server, pytest.raises(InvalidRequest):
        with_client(server, lambda client: client.keys.show(ref))
    assert server.seen == []


@pytest.mark.parametrize("ref", ["../../me", "a/b", "a?b=c", "a#b", "a%2fb", "\r\nX: 1", "ü", "a b"])
def test_a_hostile_name_stays_one_segment(ref: str) -> None:
    with loopback(refusal(404, "not_found")) as server, pytest.raises(NotFound):
        asyncio.run(_show_member_role(server, ref))
    path = server.seen[0].path
    assert path == f"/api/v1/workspaces/ws_00000000000000000001/members/{segment(ref)}"
    assert path.count("/") == 6


async def _show_member_role(server: Loopback, ref: str) -> None:
    async with AsyncCMDOPClient.remote(api_key=KEY, server=server.origin, workspace=WORKSPACE["id"]) as client:
        await client.members.set_role(ref, "guest")


def test_a_request_for_another_server_does_not_leave() -> None:
    with loopback() as other, loopback() as server, pytest.raises(WrongOrigin):
        ask(server, path=f"{other.origin}/api/v1/me")
    assert (server.seen, other.seen) == ([], [])


def test_the_envelope_s_parts_reach_the_exception() -> None:
    envelope = refusal(
        409, "limit_reached", message="ten keys are live", hint="cmdop auth list-keys", details={"limit": 10}
    )
    with loopback(envelope) as server, pytest.raises(LimitReached) as caught:
        with_client(server, lambda client: client.keys.create("laptop"))
    failure = caught.value
    assert (failure.code, failure.message, failure.hint, failure.details, failure.request_id) == (
        "limit_reached",
        "ten keys are live",
        "cmdop auth list-keys",
        {"limit": 10},
        "req_1",
    )
