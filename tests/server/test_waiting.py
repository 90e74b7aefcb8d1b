"""Whoever holds the lock that a change needs, also one whose process was halted, holds it up for a while only."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import websockets

from cmdop_wire.frames import CloseCode, Kind
from tests.agents import start_agent
from tests.browsing import Browser
from tests.processes import REPOSITORY, STOP_SECONDS, Postgres, Server, read_line, server_environment
from tests.relay.test_handshakes import closed_with, dial, opening, take
from tests.server.cabinet import ask, decide, look_up
from tests.world import PASSWORD, World, make_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SOON = "&options=-c%20lock_timeout%3D300ms"  # an operator's own limit, which ours gives way to
BUSY = "the server is busy: another change is not done yet, and this one waited for it in vain"
# What a worker does that is halted in the midst of a change.
CHANGES = """
import django; django.setup()
from django.db import DatabaseError, transaction
from cmdop_server.database import refusal_of
from cmdop_server.workspaces.models import Workspace
try:
    with transaction.atomic():
        workspace = Workspace.objects.select_for_update(no_key=True).get(public_id=input())
        print("held", flush=True); input()
        workspace.save()
except DatabaseError as failure:
    print(refusal_of(failure).code, flush=True)
print(Workspace.objects.count() > 0, flush=True)
"""


@pytest.fixture
def busy_world(postgres: Postgres, new_server: Callable[..., Server]) -> Iterator[World]:
    """The cast on a server of which a change waits for a third of a second."""
    made = make_world(new_server(_with(postgres.database(), SOON)), passwords=True)
    yield made
    made.close()


def _with(url: str, option: str) -> str:
    return url + (option if "?" in url else option.replace("&", "?", 1))


@contextmanager
def held(world: World, table: str, condition: str) -> Iterator[None]:
    """Hold rows of the server's database as somebody would who changes them."""
    with psycopg.connect(world.server.environ["CMDOP_DATABASE_URL"]) as other:
        assert other.execute(f"SELECT 1 FROM {table} WHERE {condition} FOR UPDATE").fetchone()  # type: ignore[arg-type]
        yield
        other.rollback()


@contextmanager
def held_workspace(world: World) -> Iterator[None]:
    """Hold the rows that every change of acme needs: its own, and its log's."""
    one, two = (f"{column} = '{world.acme.id}'" for column in ("public_id", "workspace_id"))
    with held(world, "workspaces_workspace", one), held(world, "audit_chain", two):
        yield


def make_key(world: World, who: str, tenant: str) -> httpx.Response:
    """Ask for a change of a workspace."""
    name = {"kind": "personal", "name": f"key-{time.monotonic_ns()}"}
    return world.as_(who, tenant).post(f"/workspaces/{world.tenant(tenant).slug}/keys", json=name)


def test_a_change_that_waits_in_vain_is_a_503_that_says_so_and_nobody_else_notices(busy_world: World) -> None:
    assert make_key(busy_world, "rival", "globex").status_code == 201
    assert make_key(busy_world, "owner", "acme").status_code == 201
    with held_workspace(busy_world):
        refused = make_key(busy_world, "owner", "acme")
        assert refused.status_code == 503
        told = refused.json()["error"]
        assert (told["code"], told["message"]) == ("unavailable", BUSY)
        assert told["hint"] == "wait a few seconds and try again"
        assert told["request_id"] == refused.headers["X-Request-Id"]
        assert int(refused.headers["Retry-After"]) >= 1
        assert busy_world.as_("owner", "acme").get(f"/workspaces/{busy_world.acme.slug}/keys").status_code == 200
        assert make_key(busy_world, "rival", "globex").status_code == 201
    assert make_key(busy_world, "owner", "acme").status_code == 201


def test_the_relay_says_so_too(busy_world: World, tmp_path: Path) -> None:
    world, machine = busy_world, start_agent(busy_world, tmp_path / "web-1", "web-1")
    key = world.key("member", "commands:execute")["text"]
    asked = {"right": "command.execute"}
    path = f"/workspaces/{world.acme.id}/machines/{machine.id}/ticket"
    ticket = world.as_("member").post(path, json=asked).raise_for_status().json()["secret"]

    async def play() -> None:
        async with dial(world.server, key) as socket:
            with held_workspace(world):
                await socket.send(opening())
                said, body = await take(socket)
                assert (said, body["code"], body["message"]) == (Kind.REFUSED, "unavailable", BUSY)
                assert await closed_with(socket) == CloseCode.UNAVAILABLE
        with held(world, "machine_sessions_ticket", "true"), pytest.raises(websockets.InvalidStatus) as refused:
            async with dial(world.server, ticket):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        async with dial(world.server, ticket) as socket:
            await socket.send(opening())
            assert (await take(socket))[0] is Kind.OPENED

    try:
        asyncio.run(play())
    finally:
        machine.stop()


def test_a_page_says_so_too(busy_world: World) -> None:
    with Browser(busy_world.server.url) as browser:
        browser.sign_in(busy_world["owner"].email, PASSWORD)
        grant = ask(busy_world)
        page = look_up(browser, grant["user_code"])
        with held(busy_world, "credentials_devicegrant", "true"):
            refused = decide(browser, page)
        assert refused.status == 503
        assert "Busy just now" in refused.text


def test_a_command_of_the_operator_says_so_too(busy_world: World) -> None:
    line = [sys.executable, "-m", "cmdop_server", "user", "create", busy_world["outsider"].email]
    line += ["--workspace", busy_world.acme.slug]
    with held_workspace(busy_world):
        tried = subprocess.run(line, env=busy_world.server.environ, cwd=REPOSITORY, capture_output=True, text=True)
    assert (tried.returncode, tried.stdout) == (75, "")
    assert f"error: {BUSY}\nfix: wait a few seconds and try again\n" in tried.stderr
    assert "Traceback" not in tried.stderr


def test_a_process_that_was_halted_in_a_change_loses_it_and_who_waits_goes_on(
    postgres: Postgres, new_server: Callable[..., Server]
) -> None:
    server = new_server(postgres.database())
    world = make_world(server)
    url = _with(server.environ["CMDOP_DATABASE_URL"], "&options=-c%20idle_in_transaction_session_timeout%3D1s")
    halted = subprocess.Popen(
        [sys.executable, "-c", CHANGES],
        env=server.environ | {"CMDOP_DATABASE_URL": url},
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert halted.stdin is not None
    assert halted.stdout is not None
    try:
        world.token("owner", "acme")
        halted.stdin.write(f"{world.acme.id}\n")
        halted.stdin.flush()
        assert read_line(halted.stdout, halted) == "held\n"
        os.kill(halted.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert make_key(world, "owner", "acme").status_code == 201
        assert time.monotonic() - began > 0.3  # it did wait
        os.kill(halted.pid, signal.SIGCONT)
        said, _ = halted.communicate("go on\n", timeout=STOP_SECONDS)
        assert said == "unavailable\nTrue\n"  # its change is undone, and it goes on with another connection
    finally:
        halted.kill()
        halted.wait()
        world.close()


def test_every_connection_has_limits_unless_somebody_set_others(postgres: Postgres, tmp_path: Path) -> None:
    asked = "import django; django.setup(); from django.db import connection as c; k = c.cursor();"
    asked += "print(*(k.execute(f'SHOW {n}').fetchone()[0] for n in"
    asked += " ('lock_timeout', 'idle_in_transaction_session_timeout')))"
    shown = []
    for option in ("", SOON):
        folder = tmp_path / f"of{len(shown)}"
        folder.mkdir()
        environ = server_environment(folder, _with(postgres.database(), option))
        ran = subprocess.run([sys.executable, "-c", asked], env=environ, cwd=REPOSITORY, capture_output=True, text=True)
        shown.append(ran.stdout)
    assert shown == ["20s 15s\n", "300ms 15s\n"]
