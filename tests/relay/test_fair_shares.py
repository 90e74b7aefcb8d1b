"""Whoever opens without end waits behind themselves, and takes no more than half of what others need, too."""

import asyncio
import resource
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import websockets

from cmdop_sdk.errors import LimitReached
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, LINK, CloseCode, Kind
from tests.agents import register, start_agent
from tests.processes import Server
from tests.relay.seats import SHELL, stream
from tests.relay.test_handshakes import AGENT, closed_with, dial, opening, take, told_to_wait
from tests.world import World, make_world

pytestmark = pytest.mark.timeout(120)
FLOOD = 150


def test_who_opens_without_end_is_served_in_turn_with_the_others(world: World) -> None:
    credentials = [world.token("member")] * FLOOD + [world.token("admin"), world.token("rival", "globex")]
    answered: list[str] = []

    async def play() -> None:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(dial(world.server, text)) for text in credentials]

            async def opened(socket: websockets.ClientConnection, who: str) -> None:
                assert (await take(socket))[1]["code"] == "not_found"
                answered.append(who)

            waiting = [
                asyncio.create_task(opened(socket, text)) for socket, text in zip(sockets, credentials, strict=True)
            ]
            for socket in sockets:  # those who are no flood come last
                await socket.send(opening(machine="nowhere"))
            await asyncio.gather(*waiting)

    asyncio.run(play())
    places = [answered.index(text) for text in credentials[FLOOD:]]
    assert max(places) < FLOOD // 2, places


@pytest.mark.parametrize("shared", [False, True])
def test_half_of_a_machine_s_channels_is_the_most_for_one(world: World, tmp_path: Path, shared: bool) -> None:
    machine, half = register(world, tmp_path / "web-1", "web-1"), LIMITS.channels // 2
    keys = [world.key("owner", "commands:execute", shared=shared)["text"] for _ in range(2)]
    whose = "the shared keys of this workspace" if shared else "you"

    async def play() -> None:
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(dial(world.server, machine.credential, AGENT))
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert (await take(link))[0] is Kind.WELCOME
            for number in range(half):  # with either of two keys: they are one lane
                socket = await stack.enter_async_context(dial(world.server, keys[number % 2]))
                await socket.send(opening())
                assert (await take(link))[0] is Kind.OPEN
            async with dial(world.server, keys[0]) as socket:
                await socket.send(opening())
                said, body = await take(socket)
                assert (said, body["code"], body["details"]) == (Kind.REFUSED, "limit_reached", {"limit": half})
                assert body["message"].startswith(f"{whose} take {half} of {LIMITS.channels} places on web-1 already")
                assert body["hint"]
                assert await closed_with(socket) == CloseCode.CONFLICT
            async with dial(world.server, world.token("member")) as socket:
                await socket.send(opening())
                assert (await take(link))[0] is Kind.OPEN

    asyncio.run(play())


def test_half_of_a_session_s_observers_is_the_most_for_one(world: World, tmp_path: Path) -> None:
    running, half = start_agent(world, tmp_path / "web", "web-1"), LIMITS.observers // 2
    watching = {"kind": "observe", "machine": "web-1"}

    async def play() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(stream(world, world.token("member"), machine="web-1", **SHELL))
            for _ in range(half):
                await stack.enter_async_context(stream(world, world.token("guest"), **watching))
            with pytest.raises(LimitReached, match=f"^you take {half} of {LIMITS.observers} places at this session"):
                await stack.enter_async_context(stream(world, world.token("guest"), **watching))
            await stack.enter_async_context(stream(world, world.token("admin"), **watching))

    try:
        asyncio.run(play())
    finally:
        running.stop()


def test_a_quarter_of_the_descriptors_is_the_most_for_one(new_server: Callable[..., Server]) -> None:
    world, few = make_world(new_server()), 200
    _, most = resource.prlimit(world.server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(world.server.process.pid, resource.RLIMIT_NOFILE, (few, most))
    mine, other = world.token("member"), world.token("guest")

    async def play() -> None:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(dial(world.server, mine)) for _ in range(few // 4)]
            with pytest.raises(websockets.InvalidStatus) as refused:
                await stack.enter_async_context(dial(world.server, mine))
            answer = refused.value.response
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
            assert answer.body == b"you have 50 streams open already, which is the most; end some and try again"
            await stack.enter_async_context(dial(world.server, other))
            await sockets[0].close()
            assert await told_to_wait(world.server, mine) == 0

    try:
        asyncio.run(play())
    finally:
        world.close()
