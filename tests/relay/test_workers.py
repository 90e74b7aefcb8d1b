"""Cuts that cross processes: workers tell the relay, which has a process of its own, and may not answer for a while."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import StreamClosed
from tests.agents import start_agent
from tests.processes import Postgres, Server
from tests.relay.causes import acme, newcomer
from tests.relay.seats import GENEROUS
from tests.world import make_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def relay_of(server: Server) -> int:
    """Return the process in which the relay of a server with workers runs."""
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (relay,) = (child for child in children if b"relay" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"))
    return int(relay)


def test_what_a_halted_relay_did_not_confirm_is_cut_as_soon_as_it_goes_on(
    postgres: Postgres, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server(postgres.database(), "--workers", "2")
    world = make_world(server)
    machine = start_agent(world, tmp_path / "web-1", "web-1")
    relay, held = relay_of(server), newcomer(world)
    keys = [
        world.api(held.text).post(f"{acme(world)}/keys", json={"kind": "personal", "name": name}).json()["secret"]
        for name in ("one", "two", "three")
    ]

    async def play() -> None:
        async with AsyncExitStack() as stack:
            commands = []
            for key in keys:
                client = await stack.enter_async_context(AsyncCMDOPClient.remote(api_key=key, server=server.url))
                commands.append(
                    await stack.enter_async_context(client.terminal.start("web-1", ["sleep", "600"], timeout=900))
                )
            os.kill(relay, signal.SIGSTOP)
            try:
                address = f"{acme(world)}/members/{held.account}"
                removed = await asyncio.to_thread(world.as_("owner").delete, address)
            finally:
                os.kill(relay, signal.SIGCONT)
            assert (removed.status_code, removed.json()["error"]["code"]) == (503, "unavailable")
            assert "the change stands" in removed.json()["error"]["message"]
            for key in keys:
                assert world.api(key).get("/me").status_code == 401
            for command in commands:
                async with asyncio.timeout(GENEROUS):
                    with pytest.raises(StreamClosed) as closed:
                        async for _ in command:
                            pass
                assert closed.value.reason == "member_removed"

    try:
        asyncio.run(play())
    finally:
        machine.stop()
        world.close()
