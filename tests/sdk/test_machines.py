"""Machines, join tokens and sessions of the SDK against a real control plane."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cmdop_sdk.auth import MemoryTokenSource, Secret
from cmdop_sdk.blocking import run_blocking
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import AuthenticationError, Conflict, InvalidRequest, NotFound, PermissionDenied
from cmdop_wire.ids import make_id
from tests.sdk.test_against_server import signed_in
from tests.world import World

Call = Callable[[AsyncCMDOPClient], Awaitable[Any]]


def as_key(world: World, call: Call, *scopes: str, who: str = "owner", workspace: str | None = None) -> Any:
    """Run ``call`` with a key of ``who``."""
    key = world.key(who, *(scopes or ("machines:read", "machines:write")), workspace=workspace)["text"]
    return run_blocking(AsyncCMDOPClient.remote(api_key=key, server=world.server.url), call)


def as_person(world: World, call: Call, who: str, workspace: str) -> Any:
    """Run ``call`` with a sign-in of ``who``."""
    pair = signed_in(world, who, workspace).pair
    return run_blocking(AsyncCMDOPClient.with_source(MemoryTokenSource(pair), pair.origin, pair.workspace_id), call)


def test_a_machine_s_life(world: World) -> None:
    async def live(client: AsyncCMDOPClient) -> None:
        made = await client.machines.register("Web-1", os="linux", arch="x86_64", version="1.0", boot_id="b")
        assert made.credential is not None
        assert made.credential.reveal().startswith("cmdmc_")
        assert "cmdmc_" not in repr(made)
        assert (made.workspace.id, made.relay.url.endswith("/relay/agent")) == (world.acme.id, True)
        assert made.seeds is not None
        machine = made.machine
        assert (machine.hostname.lower(), machine.os, machine.state, machine.session) == (
            "web-1",
            "linux",
            "offline",
            None,
        )

        renamed = await client.machines.rename(machine.id, "frontend")
        assert (renamed.id, renamed.name) == (machine.id, "frontend")
        tagged = await client.machines.tag("frontend", {"role": "web", "rack": "7"})
        assert tagged.tags == {"role": "web", "rack": "7"}
        for ref in (machine.id, "web-1", "frontend"):
            assert (await client.machines.show(ref)).id == machine.id
        await client.machines.register("db-1", name="database")
        assert [each.name for each in await client.machines.list().all()] == ["database", "frontend"]
        assert [each.name for each in await client.machines.list(tags={"role": "web", "rack": "7"}).all()] == [
            "frontend"
        ]
        assert await client.machines.list(tags={"role": "web", "rack": "8"}).all() == []
        assert [each.name for each in await client.machines.list(text="data").all()] == ["database"]
        assert await client.machines.list(online=True).all() == []
        with pytest.raises(Conflict) as taken:
            await client.machines.register("WEB-1")
        assert taken.value.code == "hostname_taken"
        again = await client.machines.register("web-1", credential=made.credential)
        assert (again.machine.id, again.credential != made.credential) == (machine.id, True)
        await client.machines.remove("web-1")
        with pytest.raises(NotFound) as unknown:
            await client.machines.show(machine.id)
        assert str(unknown.value) == f"no machine of workspace {world.acme.slug} is called {machine.id}"
        assert unknown.value.details["machine"] == machine.id
        with pytest.raises(NotFound, match=f"of workspace {world.acme.slug} is called web-9$"):
            await client.sessions.list(machine="web-9").all()

    as_key(world, live)


def test_a_lost_answer_holds_no_second_credential(world: World) -> None:
    async def lose(client: AsyncCMDOPClient) -> None:
        first = await client.machines.register("web-1", idempotency_key="once")
        second = await client.machines.register("web-1", idempotency_key="once")
        assert first.machine.id == second.machine.id
        assert second.credential is None

    as_key(world, lose)


def test_join_tokens_bring_machines_in(world: World) -> None:
    async def enroll(client: AsyncCMDOPClient) -> str:
        made = await client.machines.join_tokens.create(name="image", expires_in=600)
        assert made.secret is not None
        unused = await client.machines.join_tokens.create()
        assert (await client.machines.join_tokens.revoke(unused.id)).state == "revoked"
        return made.secret.reveal()

    async def join(client: AsyncCMDOPClient) -> None:
        made = await client.machines.register("web-1", join_token=token)
        assert made.workspace.id == world.acme.id
        with pytest.raises((AuthenticationError, Conflict)):
            await client.machines.register("web-2", join_token=token)

    async def look(client: AsyncCMDOPClient) -> None:
        states = {each.name: each.state for each in await client.machines.join_tokens.list().all()}
        assert states == {"image": "redeemed", "": "revoked"}

    token = Secret(as_key(world, enroll))
    run_blocking(AsyncCMDOPClient.anonymous(world.server.url), join)
    as_key(world, look)


def test_a_machine_moves_only_with_rights_in_both(world: World) -> None:
    async def register(client: AsyncCMDOPClient) -> str:
        return str((await client.machines.register("web-1")).machine.id)

    async def move(client: AsyncCMDOPClient) -> None:
        moved = await client.machines.move("web-1", world["visitor"].personal)
        assert moved.id == machine
        with pytest.raises(NotFound):
            await client.machines.show(machine)

    machine = as_key(world, register, who="visitor", workspace="globex")
    with pytest.raises(PermissionDenied):
        as_key(world, move, who="visitor", workspace="globex")
    as_person(world, move, "visitor", "globex")


def test_a_machine_that_nobody_operates_has_no_sessions(world: World) -> None:
    async def look(client: AsyncCMDOPClient) -> None:
        await client.machines.register("web-1")
        assert await client.terminal.get_active_session("web-1") is None
        assert await client.terminal.list_sessions("web-1").all() == []
        assert await client.terminal.list_sessions("web-1") == []
        assert [each.hostname for each in await client.machines.list()] == ["web-1"]
        assert await client.sessions.list(active=True).all() == []
        for unknown in ("web-9", make_id("machine")):
            with pytest.raises(NotFound):
                await client.terminal.get_active_session(unknown)
        with pytest.raises(NotFound):
            await client.sessions.show(make_id("session"))
        with pytest.raises(InvalidRequest, match="no id"):
            await client.machines.show("")

    as_key(world, look)


def test_a_ticket_is_for_whoever_has_the_right(world: World) -> None:
    async def ask(client: AsyncCMDOPClient) -> None:
        ticket = await client.machines.ticket("web-1", "command.execute")
        assert ticket.secret is not None
        assert ticket.secret.reveal().startswith("cmdtk_")
        assert ticket.relay.url.endswith("/relay/client")
        with pytest.raises(PermissionDenied):
            await client.machines.ticket("web-1", "file.read")

    async def register(client: AsyncCMDOPClient) -> None:
        await client.machines.register("web-1")

    as_key(world, register)
    as_key(world, ask, "machines:read", "commands:execute")


def test_a_client_without_a_credential_opens_no_stream(world: World) -> None:
    async def attempt(client: AsyncCMDOPClient) -> None:
        with pytest.raises(AuthenticationError) as refused:
            await client.terminal.execute("web-1", ["true"])
        assert refused.value.code == "no_credential"

    run_blocking(AsyncCMDOPClient.anonymous(world.server.url), attempt)
