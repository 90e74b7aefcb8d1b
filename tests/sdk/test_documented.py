"""The SDK as the documents show it, line by line, against a real server and real agents of two workspaces."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmdop_sdk import AsyncCMDOPClient, CMDOPError, NotFound
from tests.agents import Machine, register, run
from tests.world import World


@pytest.fixture
def machines(world: World, tmp_path: Path) -> Iterator[dict[str, Machine]]:
    """``web-1`` of acme and ``globex-server`` of globex, both online."""
    running = {
        name: run(register(world, tmp_path / name, name, workspace, who))
        for name, workspace, who in (("web-1", "acme", "owner"), ("globex-server", "globex", "rival"))
    }
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture
def keys(world: World) -> dict[str, str]:
    """A key of each workspace, with what the examples do."""
    scopes = ("machines:read", "commands:execute", "sessions:observe", "files:read", "files:write")
    return {
        "acme": world.key("owner", *scopes)["text"],
        "globex": world.key("rival", *scopes, workspace="globex")["text"],
    }


def test_the_key_decides_which_workspace(world: World, machines: dict[str, Machine], keys: dict[str, str]) -> None:
    server = world.server.url

    async def example() -> None:
        async with AsyncCMDOPClient.remote(api_key=keys["acme"], server=server) as client:
            # None when there is none …
            assert await client.terminal.get_active_session("web-1") is None
            async with client.terminal.attach("web-1", argv=["/bin/sh"]) as term:
                # … success: web-1 exists in the acme workspace …
                session = await client.terminal.get_active_session("web-1")
                assert session is not None
                assert (session.id, session.machine.hostname) == (term.session_id, "web-1")
            # … error: globex-server is not in the acme workspace, and says no more than for a name that nobody has.
            with pytest.raises(NotFound) as refused:
                await client.terminal.get_active_session("globex-server")
            with pytest.raises(NotFound) as unknown:
                await client.terminal.get_active_session("nobody-s")
            same = refused.value.message.replace("globex-server", "nobody-s")
            assert (same, refused.value.code) == (unknown.value.message, unknown.value.code)
            for attempt in (
                client.terminal.execute("globex-server", ["true"]),
                client.machines.run("globex-server", ["true"]),
                client.machines.show(machines["globex-server"].id),
                client.files.get("globex-server", "x"),
            ):
                with pytest.raises(NotFound):
                    await attempt
        # Another workspace is another client.
        async with AsyncCMDOPClient.remote(api_key=keys["globex"], server=server) as client:
            assert [each.hostname for each in await client.machines.list().all()] == ["globex-server"]
            assert (await client.terminal.execute("globex-server", ["echo", "here"])).text == "here\n"
            assert await client.terminal.get_active_session("globex-server") is None

    asyncio.run(example())


def test_a_command_and_a_terminal(world: World, machines: dict[str, Machine], keys: dict[str, str]) -> None:
    async def example() -> None:
        async with AsyncCMDOPClient.remote(api_key=keys["acme"], server=world.server.url) as client:
            result = await client.terminal.execute("web-1", ["uptime"])
            assert (result.exit_code, result.stderr) == (0, b"")
            assert b"load average" in result.stdout
            assert result.duration > 0
            async with client.terminal.attach("web-1", argv=["/bin/sh"]) as term:
                await term.resize(120, 40)
                await term.send("stty size; sleep 100\n")
                shown = b""
                async for data in term:  # output as an async iterator
                    shown += data
                    if b"40 120" in shown:
                        break
                async with client.terminal.attach("web-1", mode="observer") as view:
                    assert view.operator is not None
                    await term.signal("INT")
                    await term.send("echo after-$((40 + 2)); exit\n")
                    seen = b""
                    async for data in view:
                        seen += data
                    assert b"after-42" in seen
                async for _ in term:
                    pass
                assert term.exit is not None
                assert term.exit.exit_code == 0
            sent = await client.files.put("web-1", "notes.txt", b"kept")
            assert (await client.files.get("web-1", "notes.txt")).content == b"kept"
            assert sent.size == 4
            sessions = await client.sessions.list(machine="web-1").all()
            listed = await client.terminal.list_sessions("web-1").all()
            assert [each.id for each in listed] == [each.id for each in sessions]
            assert [each.operator.kind for each in sessions] == ["personal_key"]

    asyncio.run(example())


@pytest.mark.slow
def test_a_key_out_of_the_environment(
    world: World, machines: dict[str, Machine], keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMDOP_API_KEY", keys["acme"])
    monkeypatch.setenv("CMDOP_SERVER_URL", world.server.url)

    async def example() -> None:
        async with AsyncCMDOPClient.from_env() as client:
            assert [each.hostname for each in await client.machines.list(online=True).all()] == ["web-1"]

    asyncio.run(example())


@pytest.mark.slow
def test_the_machine_s_own_agent_without_a_server(machines: dict[str, Machine]) -> None:
    async def example() -> None:
        async with AsyncCMDOPClient.local(machines["web-1"].directory.parent) as here:
            status = await here.status()
            assert (status.machine.hostname, status.workspace.slug.split("-")[0], status.link.up) == (
                "web-1", "acme", True,
            )  # fmt: skip
            assert (await here.permissions()).mode == "bypass"

    asyncio.run(example())


def test_every_error_has_a_code_a_request_and_a_hint(world: World, keys: dict[str, str]) -> None:
    async def example() -> CMDOPError:
        async with AsyncCMDOPClient.remote(api_key=keys["acme"], server=world.server.url) as client:
            with pytest.raises(CMDOPError) as refused:
                await client.members.list().all()
            return refused.value

    error = asyncio.run(example())
    assert (error.code, bool(error.request_id), bool(error.hint)) == ("forbidden", True, True)
