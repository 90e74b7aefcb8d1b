"""Between the upgrade and the first frame, and in odd first frames: nothing that died meanwhile opens anything."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from cmdop_agent.registration import RegistrationFile
from cmdop_wire import frames
from cmdop_wire.frames import LINK, PROTOCOL, STREAM, CloseCode, Kind
from tests.agents import Machine, register, start_agent
from tests.processes import Server
from tests.world import World, make_world

CLIENT, AGENT = "/relay/client", "/relay/agent"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine of acme with a running agent."""
    running = start_agent(world, tmp_path / "web-1", "web-1")
    yield running
    running.stop()


def dial(
    server: Server, credential: str, path: str = CLIENT, address: str = "127.0.0.1", **headers: str
) -> websockets.connect:
    """Return a websocket to the relay, as bare as a stranger would open it."""
    return websockets.connect(
        server.url.replace("http", "ws", 1) + path,
        subprotocols=[websockets.Subprotocol(PROTOCOL)],
        additional_headers={"Authorization": f"Bearer {credential}", **headers},
        compression=None,
        local_addr=(address, 0),
    )


async def take(socket: ClientConnection) -> tuple[Kind, dict[str, Any]]:
    """Return the next control frame; data frames are passed over."""
    while True:
        message = await asyncio.wait_for(socket.recv(), 10)
        assert isinstance(message, bytes)
        frame = frames.decode(message)
        if frame.kind not in frames.DATA:
            return frame.kind, frames.body_of(frame)


async def closed_with(socket: ClientConnection) -> int | None:
    """Return the code that the relay closes with."""
    await asyncio.wait_for(socket.wait_closed(), 10)
    return socket.close_code


async def in_thread(request: Any, *args: Any, **options: Any) -> httpx.Response:
    answer: httpx.Response = await asyncio.to_thread(request, *args, **options)
    assert answer.is_success, answer.text
    return answer


def opening(**more: Any) -> bytes:
    return frames.encode_json(Kind.OPEN, STREAM, **{"kind": "command", "machine": "web-1", "argv": ["true"], **more})


@pytest.mark.parametrize("kind", ["command", "session"])
def test_a_credential_that_dies_between_upgrade_and_open_opens_nothing(
    world: World, machine: Machine, kind: str
) -> None:
    key, pair = world.key("owner", "commands:execute", shared=True), world.sign_in("member", "acme")
    ticket = world.api(pair["access_token"]).post(
        f"/workspaces/{world.acme.id}/machines/{machine.id}/ticket", json={"right": "command.execute"}
    )

    texts = (key["text"], pair["access_token"], ticket.json()["secret"])

    async def play() -> None:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(dial(world.server, text)) for text in texts]
            await in_thread(world.as_("owner").delete, f"/workspaces/{world.acme.id}/keys/{key['id']}")
            await in_thread(world.api().post, "/auth/revoke", json={"token": pair["refresh_token"], "all": True})
            for socket in sockets:
                await socket.send(opening(kind=kind, argv=["/bin/sh"]))
                said, body = await take(socket)
                assert (said, body["code"]) == (Kind.REFUSED, "unauthenticated")
                assert await closed_with(socket) == CloseCode.AUTH

    asyncio.run(play())
    sessions = world.as_("owner").get(f"/workspaces/{world.acme.id}/sessions").json()["items"]
    assert [each for each in sessions if each["ended_at"] is None] == []


def test_a_machine_credential_that_dies_between_upgrade_and_hello_gets_no_link(world: World, tmp_path: Path) -> None:
    machine = register(world, tmp_path / "web-2", "web-2")

    async def play() -> None:
        async with dial(world.server, machine.credential, AGENT) as socket:
            again = {"hostname": "web-2", "credential": machine.credential}
            fresh = await in_thread(world.as_("owner").post, "/agent/register", json=again)
            await socket.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert await closed_with(socket) == CloseCode.AUTH
        async with dial(world.server, fresh.json()["credential"], AGENT) as socket:
            await socket.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert (await take(socket))[0] is Kind.WELCOME

    asyncio.run(play())


def test_a_key_that_only_opens_streams_has_been_used(world: World, machine: Machine) -> None:
    key = world.key("owner", "commands:execute", shared=True)

    def last_used() -> str | None:
        listed = world.as_("owner").get(f"/workspaces/{world.acme.id}/keys").json()["items"]
        found: str | None = next(each["last_used_at"] for each in listed if each["id"] == key["id"])
        return found

    async def play() -> None:
        async with dial(world.server, key["text"]) as socket:
            await socket.send(opening())
            assert (await take(socket))[0] is Kind.OPENED

    assert last_used() is None
    asyncio.run(play())
    assert last_used() is not None


def test_another_key_does_not_prolong_the_stream_of_a_key(world: World, machine: Machine) -> None:
    ends = world.as_("owner").post(
        f"/workspaces/{world.acme.id}/keys",
        json={"kind": "workspace", "name": "ends", "scopes": ["commands:execute"], "expires_in": 600},
    )
    other = world.key("owner", "audit:read", shared=True)["text"]

    async def play() -> None:
        text = ends.json()["secret"]
        for shown, expected in ((text, Kind.REAUTHED), (other, Kind.REFUSED)):
            async with dial(world.server, text) as socket:
                await socket.send(opening(argv=["sleep", "30"]))
                assert (await take(socket))[0] is Kind.OPENED
                await socket.send(frames.encode_json(Kind.REAUTH, STREAM, token=shown))
                said, body = await take(socket)
                assert said is expected
                assert body.get("expires_at") == (ends.json()["expires_at"] if said is Kind.REAUTHED else None)

    asyncio.run(play())


def test_what_was_run_is_told_whatever_it_was_asked_with(world: World, machine: Machine) -> None:
    nested: Any = 1.5
    for _ in range(200):
        nested = [nested]

    async def play() -> None:
        for more in ({"timeout": 1.5}, {"timeout": 2**60}, {"cwd": {"a": nested}}, {"path": "a\x00b"}):
            async with dial(world.server, world.token("member")) as socket:
                await socket.send(opening(argv=["echo", next(iter(more))], **more))
                said, _ = await take(socket)
                assert said in (Kind.OPENED, Kind.REFUSED)
                if said is Kind.OPENED:
                    assert (await take(socket))[0] is Kind.EXIT
        for _ in range(40):
            path = f"/workspaces/{world.acme.id}/events?action=command.executed"
            told = (await in_thread(world.as_("owner").get, path)).json()["items"]
            if len(told) == 4:
                break
            await asyncio.sleep(0.25)
        assert sorted(event["changes"]["argv"][1] for event in told) == ["cwd", "path", "timeout", "timeout"]
        timeouts = {event["changes"]["timeout"] for event in told if "timeout" in event["changes"]}
        assert timeouts == {"1.5", "…"}

    asyncio.run(play())


def test_odd_origins_and_secrets_are_refusals_and_no_failures(world: World, machine: Machine) -> None:
    async def play() -> None:
        token = world.token("member")
        for origin in ("http://[", "null", "", "https://evil.example"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with dial(world.server, token, Origin=origin):
                    pass
            assert refused.value.response.status_code == 403
        async with dial(world.server, token) as holder:
            await holder.send(opening(kind="session", argv=["/bin/sh"]))
            _, opened = await take(holder)
            for secret in ("é", "", "x" * 43):
                async with dial(world.server, token) as socket:
                    resume = {"stream_id": opened["stream_id"], "resume": secret, "received": {"OUTPUT": 0}}
                    await socket.send(frames.encode_json(Kind.RESUME, STREAM, **resume))
                    said, body = await take(socket)
                    assert (said, body["code"]) == (Kind.REFUSED, "gone")

    asyncio.run(play())


async def told_to_wait(server: Server, *how: str) -> int:
    """Return after how many seconds an upgrade that came too soon may be tried again; 0: it did not."""
    try:
        async with dial(server, *how):
            return 0
    except websockets.InvalidStatus as refused:
        return int(refused.response.headers["Retry-After"]) if refused.response.status_code == 429 else -1


def test_who_dials_without_end_must_wait_and_others_need_not(new_server: Callable[..., Server], tmp_path: Path) -> None:
    limits = "relay_credential=3/minute,relay_account=5/minute,relay_address=12/minute,relay_machine=2/minute"
    world = make_world(new_server(CMDOP_RATE_LIMITS=limits))
    first, second, shared = world.key("owner")["text"], world.key("owner")["text"], world.key(shared=True)["text"]
    one, two = (register(world, tmp_path / name, name).credential for name in ("web-1", "web-2"))

    async def play() -> None:
        async def dialled(times: int, *how: str) -> list[bool]:
            return [1 <= await told_to_wait(world.server, *how) <= 60 for _ in range(times)]

        assert await dialled(4, first) == [False, False, False, True]
        assert await dialled(3, second) == [False, False, True]  # it is the same account's
        assert await dialled(4, shared) == [False, False, False, True]
        elsewhere = (AGENT, "127.0.0.2")
        assert await dialled(3, one, *elsewhere) == [False, False, True]
        assert await dialled(1, two, *elsewhere) == [False]
        key = world.key("member")["text"]
        assert await dialled(1, key, CLIENT, "127.0.0.1") == [False]  # the twelfth of this address
        assert await dialled(1, key, CLIENT, "127.0.0.1") == [True]
        assert await dialled(1, key, CLIENT, "127.0.0.2") == [False]

    try:
        asyncio.run(play())
    finally:
        world.close()


def test_a_stream_and_its_machine_s_link_are_the_same_over_tls(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    world = make_world(new_server(None, "--tls", "self-signed"))
    machine = start_agent(world, tmp_path / "web-1", "web-1")

    async def play() -> None:
        trusted = ssl.create_default_context(cafile=RegistrationFile(machine.directory).read().ca_file)  # type: ignore[union-attr]
        async with websockets.connect(
            world.server.url.replace("http", "ws", 1) + CLIENT,
            subprotocols=[websockets.Subprotocol(PROTOCOL)],
            additional_headers={"Authorization": f"Bearer {world.token('member')}"},
            compression=None,
            ssl=trusted,
        ) as socket:
            await socket.send(opening())
            assert (await take(socket))[0] is Kind.OPENED
            said, body = await take(socket)
            assert (said, body["status"]) == (Kind.EXIT, 0)

    try:
        asyncio.run(play())
    finally:
        machine.stop()
        world.close()
