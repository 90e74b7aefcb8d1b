"""Keys, pairs and secrets: refused offline when wrong, bound to one server, never printed."""

import asyncio
import pickle
from typing import Any

import pytest

from cmdop_sdk.auth import KeyCredential, MemoryTokenSource, Secret
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import AuthenticationError, CMDOPError, InvalidRequest, WrongOrigin
from cmdop_sdk.transport import Transport
from cmdop_wire.ids import make_key, make_token
from tests.sdk.loopback import Answer, loopback, refusal
from tests.sdk.pairs import pair

KEY = make_key("acme").text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cmd_acme_",
        KEY[:-1],
        KEY[:-1] + ("0" if KEY[-1] != "0" else "1"),
        KEY + "x",
        KEY.replace("acme", "akme"),
        KEY.replace("_", "-"),
        f"Bearer {KEY}",
        make_token("access"),
    ],
    ids=["empty", "head", "short", "mistyped", "long", "other-slug", "dashes", "with-scheme", "token"],
)
def test_a_wrong_key_is_refused_offline_and_not_repeated(text: str) -> None:
    with loopback() as server, pytest.raises(AuthenticationError) as caught:
        AsyncCMDOPClient.remote(api_key=text, server=server.origin)
    assert server.seen == []
    assert caught.value.code == "invalid_key"
    assert caught.value.__cause__ is None
    assert len(text) < 10 or text not in f"{caught.value!r} {caught.value} {caught.value.hint}"


def test_white_space_around_a_key_is_forgiven() -> None:
    client = AsyncCMDOPClient.remote(api_key=f" {KEY}\n")
    assert (client.workspace_ref, client.origin) == ("acme", "http://127.0.0.1:8787")


def test_from_env_reads_key_and_server() -> None:
    client = AsyncCMDOPClient.from_env({"CMDOP_API_KEY": KEY, "CMDOP_SERVER_URL": "https://cmdop.example"})
    assert (client.workspace_ref, client.origin) == ("acme", "https://cmdop.example")


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "no_credential"),
        ({"CMDOP_API_KEY": ""}, "invalid"),
        ({"CMDOP_API_KEY": "  "}, "invalid"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_SERVER_URL": ""}, "invalid"),
        ({"CMDOP_API_KEY": "nonsense"}, "invalid_key"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_SERVER_URL": "http://cmdop.example"}, "insecure_server"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_TIMEOUT": "soon"}, "invalid"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_RETRIES": "1.5"}, "invalid"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_TIMEOUT": "0"}, "invalid"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_TIMEOUT": "nan"}, "invalid"),
        ({"CMDOP_API_KEY": KEY, "CMDOP_RETRIES": "-1"}, "invalid"),
    ],
)
def test_from_env_refuses_what_is_empty_or_wrong(environ: dict[str, str], code: str) -> None:
    with pytest.raises(CMDOPError) as caught:
        AsyncCMDOPClient.from_env(environ)
    assert caught.value.code == code
    assert KEY not in str(caught.value)


def test_an_argument_beats_the_environment() -> None:
    with loopback(refusal(503, "unavailable")) as server:
        environ = {"CMDOP_API_KEY": KEY, "CMDOP_SERVER_URL": server.origin, "CMDOP_RETRIES": "4"}

        async def act() -> None:
            async with AsyncCMDOPClient.from_env(environ, retries=0) as client:
                await client.me.show()

        with pytest.raises(CMDOPError):
            asyncio.run(act())
    assert len(server.seen) == 1


def test_the_environment_sets_how_often_to_try() -> None:
    with loopback(refusal(503, "unavailable")) as server:
        environ = {
            "CMDOP_API_KEY": KEY,
            "CMDOP_SERVER_URL": server.origin,
            "CMDOP_RETRIES": "1",
            "CMDOP_TIMEOUT": "2.5",
        }

        async def act() -> None:
            async with AsyncCMDOPClient.from_env(environ) as client:
                await client.me.show()

        with pytest.raises(CMDOPError):
            asyncio.run(act())
    assert len(server.seen) == 2


def test_a_key_bound_to_one_server_is_not_taken_by_a_transport_to_another() -> None:
    transport = Transport("https://cmdop.example")
    with pytest.raises(WrongOrigin):
        transport.use_key(KeyCredential.from_text(KEY, "https://other.example"))


@pytest.mark.parametrize("server", ["http://cmdop.example", "http://10.0.0.1:8787", "http://0.0.0.0:8787"])
def test_plain_http_to_another_machine_is_refused_before_a_byte(server: str) -> None:
    with pytest.raises(WrongOrigin):
        AsyncCMDOPClient.remote(api_key=KEY, server=server)
    with pytest.raises(WrongOrigin):
        AsyncCMDOPClient.anonymous(server)


def test_public_requests_carry_no_credential() -> None:
    with loopback(Answer(body={"name": "cmdop", "version": "0.1.0", "api": "v1"})) as server:

        async def act() -> None:
            async with AsyncCMDOPClient.remote(api_key=KEY, server=server.origin) as client:
                assert (await client.version()).api == "v1"

        asyncio.run(act())
    assert "authorization" not in server.seen[0].headers


def test_a_client_without_a_credential_asks_nobody() -> None:
    with loopback() as server:

        async def act(call: str) -> None:
            async with AsyncCMDOPClient.anonymous(server.origin) as client:
                await (client.me.show() if call == "me" else client.workspace.show())

        for call in ("me", "workspace"):
            with pytest.raises(AuthenticationError) as caught:
                asyncio.run(act(call))
            assert caught.value.code == "no_credential"
    assert server.seen == []


SECRET = "cmdat_hunter2"
HOLDERS: list[Any] = [
    Secret(SECRET),
    [Secret(SECRET)],
    KeyCredential.from_text(KEY, "https://cmdop.example"),
    pair(),
    MemoryTokenSource(pair()),
    AsyncCMDOPClient.remote(api_key=KEY),
    AsyncCMDOPClient.remote(api_key=KEY)._transport,
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_secret_is_in_any_text(holder: Any) -> None:
    shown = f"{holder!r} {holder} {holder!s} {[holder]}"
    for secret in (SECRET, KEY, "cmdat_", "cmdrt_"):
        assert secret not in shown


def test_a_secret_prints_as_stars_however_it_is_asked() -> None:
    secret = Secret(SECRET)
    assert (f"{secret}", f"{secret:>5}", "%s" % secret, repr(secret)) == ("***", "  ***", "***", "Secret(***)")  # noqa: UP031
    assert secret == Secret(SECRET) != Secret("other")
    assert hash(secret) == hash(Secret(SECRET))
    assert secret != SECRET
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == SECRET


def test_a_failure_s_whole_traceback_holds_no_secret() -> None:
    tokens = pair("http://127.0.0.1:1")

    async def act() -> None:
        source = MemoryTokenSource(tokens)
        async with AsyncCMDOPClient.with_source(source, tokens.origin, tokens.workspace_id, retries=0) as client:
            await client.me.show()

    with pytest.raises(CMDOPError) as caught:
        asyncio.run(act())
    failure: BaseException | None = caught.value
    while failure is not None:
        shown = f"{failure!r} {failure.args} {getattr(failure, 'request', None)!r}"
        assert tokens.access_token.reveal() not in shown
        failure = failure.__cause__ or failure.__context__


def test_a_password_in_the_server_s_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        AsyncCMDOPClient.anonymous("https://user:hunter2@cmdop.example")
    assert "hunter2" not in f"{caught.value!r}"


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("inf")}, {"retries": -1}])
def test_time_outs_and_tries_are_within_reason(options: Any) -> None:
    with pytest.raises(InvalidRequest):
        AsyncCMDOPClient.anonymous(**options)
