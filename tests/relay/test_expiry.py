"""What ends by the clock: keys, sign-ins, tokens not renewed; and that a session outlives its tokens (D-14)."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from cmdop_sdk.auth import Refresh, Secret, TokenPair
from cmdop_sdk.client import AsyncCMDOPClient
from tests.agents import Machine
from tests.relay.causes import CLOCKS, Clock, acme
from tests.relay.seats import GENEROUS, Seat, is_alive, seated, stream
from tests.world import World

SOON = 5.0  # seconds until the clock strikes: enough to show a credential once more
CONCERNED = ("operator", "observer", "command")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda clock: clock.name.replace(" ", "-"))
def test_what_has_its_time_ends_its_streams_then_and_not_before(
    world: World, machines: tuple[Machine, Machine], clock: Clock
) -> None:
    held = clock.hold(world)
    command = {"kind": "command", "machine": "web-2", "argv": ["cat"], "timeout": 300}

    async def play() -> None:
        async with AsyncExitStack() as stack:
            seats = await stack.enter_async_context(seated(world, held.text, world.token("admin")))
            due = {}
            for name in CONCERNED:  # the relay learns of the end when the credential is shown again …
                text, due[name] = await asyncio.to_thread(clock.let, world, machines[0], held, seats[name], SOON)
                await seats[name].show(text)
            late = Seat("late", None, "command.execute")  # type: ignore[arg-type] # it is opened with what it shows
            text, due["late"] = await asyncio.to_thread(clock.let, world, machines[1], held, late, SOON)
            late.stream = await stack.enter_async_context(stream(world, text, **command))  # … or for the first time
            stack.push_async_callback(late.leave)
            late.watch()
            for seat in (*(seats[name] for name in CONCERNED), late):
                await seat.end()
                assert seat.reason == clock.reason, seat.name
                assert seat.ended_at is not None
                ended = time.time() - (time.monotonic() - seat.ended_at)
                assert ended > due[seat.name] - 0.5, "ended before its time"
            await seats["watcher"].end()
            await is_alive(seats, "bystander")

    asyncio.run(play())


def test_a_stream_that_shows_a_fresh_token_in_time_goes_on(world: World, machines: tuple[Machine, Machine]) -> None:
    (missed,) = (clock for clock in CLOCKS if clock.reason == "reauth_missed")
    held = missed.hold(world)

    async def play() -> None:
        async with seated(world, held.text, world.token("admin")) as seats:
            for name in CONCERNED:
                text, _ = await asyncio.to_thread(missed.let, world, machines[0], held, seats[name], SOON)
                await seats[name].show(text)
            for name in ("operator", "observer"):
                await seats[name].show(held.text)
            await seats["command"].end()
            assert seats["command"].reason == "reauth_missed"
            for name in ("operator", "observer", "watcher", "bystander"):
                await is_alive(seats, name)

    asyncio.run(play())


class Hourly:
    """A sign-in whose access tokens end a second after they were made; the client hears of it half a second late."""

    LIFE, LATE = 1.0, 0.5

    def __init__(self, world: World, pair: TokenPair) -> None:
        self._world = world
        self._pair = pair
        self.ended: list[Secret] = []  # tokens that were replaced

    async def pair(self) -> TokenPair:
        """Return the present pair."""
        return self._pair

    async def refreshed(self, stale: TokenPair, refresh: Refresh) -> TokenPair:
        """Trade the pair for the next one, as everybody does, and let an hour pass for its access token."""
        if stale.access_token == self._pair.access_token:
            fresh = await refresh(self._pair)
            here = {"token": fresh.access_token.reveal(), "seconds": self.LIFE}
            ends = await asyncio.to_thread(self._world.server.backstage, "tests.ageing:token_ends_in", **here)
            self.ended.append(self._pair.access_token)
            self._pair = replace(fresh, expires_at=ends + 60 + self.LATE)  # it is renewed a minute before that
        return self._pair


def test_a_session_outlives_its_access_tokens(world: World, machines: tuple[Machine, Machine]) -> None:
    """Six hours, seen from the tokens: the shell answers after every one, and every answer is the next."""
    hours = 6
    signed_in = world.sign_in("member", "acme")
    workspace = world.acme

    async def play() -> None:
        first = TokenPair(
            origin=world.server.url,
            mode="prod",
            account_id=world["member"].id,
            account_email=world["member"].email,
            workspace_id=workspace.id,
            workspace_slug=workspace.slug,
            sign_in_id=signed_in["sign_in_id"],
            family_id=signed_in["family_id"],
            reach="workspace",
            access_token=Secret(signed_in["access_token"]),
            refresh_token=Secret(signed_in["refresh_token"]),
            expires_at=time.time() + 60,
            refresh_expires_at=time.time() + 86_400,
        )
        source = Hourly(world, first)
        client = AsyncCMDOPClient.with_source(source, world.server.url, workspace.slug)
        async with client, client.terminal.attach("web-1", argv=["/bin/sh"]) as terminal:
            seen = ""
            await terminal.send("PS1=; stty -echo; echo re''ady\n")
            async with asyncio.timeout(GENEROUS):
                async for data in terminal:
                    seen += data.decode()
                    if seen.endswith("ready\r\n"):
                        break
            answers = ""
            for hour in range(hours):
                async with asyncio.timeout(GENEROUS):
                    while len(source.ended) <= hour:
                        await asyncio.sleep(0.02)
                    await terminal.send(f"echo hour $(({hour} + 100)) of $$\n")
                    while answers.count("\n") <= hour:
                        answers += (await anext(terminal)).decode()
        pids = {line.split()[3] for line in answers.splitlines()}
        assert len(pids) == 1, "it is another shell"
        (pid,) = pids
        assert answers == "".join(f"hour {hour + 100} of {pid}\r\n" for hour in range(hours))
        for ended in source.ended[1:-1]:
            assert world.api(ended.reveal()).get(f"{acme(world)}/machines").status_code == 401, "it has really ended"

    asyncio.run(play())
