"""Between the commit of a machine's move and the cut of its link: what it says then is in nobody's log."""

import asyncio
from pathlib import Path

import pytest

from cmdop_wire import frames
from cmdop_wire.frames import LINK, CloseCode, Kind
from tests.agents import register
from tests.relay.test_audited import awaited, told
from tests.relay.test_handshakes import AGENT, closed_with, dial, opening, take
from tests.world import World

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
GATE = ("gate.allowed", "gate.denied")


def event(request: str) -> bytes:
    """Return a machine's word about its gate."""
    return frames.encode_json(Kind.EVENT, LINK, verdict="deny", operation="session", request=request)


def test_what_a_machine_says_on_a_link_that_it_has_outlived_is_in_no_log(world: World, tmp_path: Path) -> None:
    machine = register(world, tmp_path / "web", "web-1")
    account = world["visitor"].id
    world.server.backstage("tests.casting:change_role", workspace=world.acme.slug, account=account, role="admin")
    mover = world.token("visitor", "acme", "all")
    there = world.token("visitor", "globex")

    async def play() -> None:
        async with dial(world.server, machine.credential, AGENT) as link:
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert (await take(link))[0] is Kind.WELCOME
            await link.send(event("before"))
            await asyncio.to_thread(awaited, world, 1, *GATE)
            move = {"bearer": mover, "machine": machine.id, "to": world.globex.slug}
            assert world.server.backstage("tests.relay.backstage:move_uncut", **move) == world.globex.slug
            await link.send(event("after"))
            # The link is still acme's, so nobody of globex reaches the machine through it.
            for kind in ("command", "session"):
                async with dial(world.server, there) as socket:
                    await socket.send(opening(kind=kind))
                    said, body = await take(socket)
                    assert (said, body["code"]) == (Kind.REFUSED, "agent_offline")
            assert world.server.backstage("tests.relay.backstage:cut_moved", machine_id=machine.id) == 1
            assert await closed_with(link) == CloseCode.GOING_AWAY
        async with dial(world.server, machine.credential, AGENT) as link:
            await link.send(frames.encode_json(Kind.HELLO, LINK, version=1))
            assert (await take(link))[1]["workspace"]["id"] == world.globex.id
            await link.send(event("at last"))  # what is queued is written in its order
            await asyncio.to_thread(awaited, world, 1, *GATE, workspace="globex", who="rival")

    asyncio.run(play())
    assert [each["changes"]["request"] for each in told(world, *GATE)] == ["before"]
    assert [each["changes"]["request"] for each in told(world, *GATE, workspace="globex", who="rival")] == ["at last"]
    assert told(world, "command.started", workspace="globex", who="rival") == []
