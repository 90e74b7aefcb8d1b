"""The revocation grid: what ends a right ends every open stream on it, within two seconds, with its reason."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmdop_sdk.errors import CMDOPError
from cmdop_sdk.stream import Stream
from cmdop_wire.frames import Kind
from tests.agents import Machine, start_agent
from tests.relay.seats import read_until, stream
from tests.world import World

WITHIN = 2.0  # seconds (D-14)
pytestmark = [pytest.mark.both, pytest.mark.timeout(120)]


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Iterator[Machine]:
    """Two machines of acme with running agents; the first is the one that things happen to."""
    running = [start_agent(world, tmp_path / name, name) for name in ("web-1", "web-2")]
    yield running[0]
    for each in running:
        each.stop()


@dataclass
class Seat:
    """Someone at a stream, and how it ended for them."""

    name: str
    stream: Stream
    ended_at: float | None = None
    reason: str = ""

    async def watch(self) -> None:
        try:
            while await self.stream.read() is not None:
                pass
            self.reason = "ended"
        except CMDOPError as closed:
            self.reason = str(closed.details.get("reason", closed.code))
        self.ended_at = time.monotonic()


@dataclass
class Cause:
    """One way to lose a right: whose it is, what is done, and the reason that each seat hears (``None``: goes on).

    Operator and command are on the machine that it happens to; the observer watches somebody else on another one.
    """

    name: str
    credential: Callable[[World], tuple[str, str]]  # → text, and what the act needs to know
    act: Callable[[World, Machine, str], int]  # → status
    operator: str | None
    observer: str | None
    command: str | None


def shared_key(world: World) -> tuple[str, str]:
    key = world.key("owner", "machines:read", "commands:execute", "sessions:observe", shared=True)
    return key["text"], key["id"]


def signed_in(who: str) -> Callable[[World], tuple[str, str]]:
    def sign_in(world: World) -> tuple[str, str]:
        pair = world.sign_in(who, "acme")
        return pair["access_token"], pair["access_token"]

    return sign_in


def acme(world: World) -> str:
    return f"/workspaces/{world.acme.id}"


def end_session(world: World, machine: Machine) -> int:
    owner = world.as_("owner")
    (session,) = owner.get(f"{acme(world)}/sessions?active=true&machine=web-1").json()["items"]
    return owner.post(f"{acme(world)}/sessions/{session['id']}/terminate").status_code


CAUSES = [
    Cause(
        "key revoked",
        shared_key,
        lambda world, _, key: world.as_("owner").delete(f"{acme(world)}/keys/{key}").status_code,
        "revoked",
        "revoked",
        "revoked",
    ),
    Cause(
        "sign-in ended",
        signed_in("member"),
        lambda world, _, token: world.api().post("/auth/revoke", json={"token": token, "all": True}).status_code,
        "signed_out",
        "signed_out",
        "signed_out",
    ),
    Cause(
        "member removed",
        signed_in("member"),
        lambda world, _, __: world.as_("owner").delete(f"{acme(world)}/members/{world['member'].id}").status_code,
        "member_removed",
        "member_removed",
        "member_removed",
    ),
    Cause(
        "role lowered",
        signed_in("member"),
        lambda world, _, __: (
            world.as_("owner").patch(f"{acme(world)}/members/{world['member'].id}", json={"role": "guest"}).status_code
        ),
        "role_lowered",
        None,
        "role_lowered",
    ),
    Cause(
        "machine removed",
        signed_in("member"),
        lambda world, machine, _: world.as_("owner").delete(f"{acme(world)}/machines/{machine.id}").status_code,
        "machine_removed",
        None,
        "machine_removed",
    ),
    Cause(
        "ended by an admin",
        signed_in("member"),
        lambda world, machine, _: end_session(world, machine),
        "ended_by_admin",
        None,
        None,
    ),
]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name.replace(" ", "-"))
def test_what_ends_a_right_ends_its_streams(world: World, machine: Machine, cause: Cause, tmp_path: Path) -> None:
    credential, known = cause.credential(world)
    bystander = world.token("admin")
    marker = tmp_path / "marker"

    async def play() -> None:
        async with AsyncExitStack() as stack:
            seats = {}
            shell = {"kind": "session", "argv": ["/bin/sh"]}
            for name, text, opening in (
                ("operator", credential, {**shell, "machine": "web-1"}),
                ("watcher", bystander, {"kind": "observe", "machine": "web-1"}),
                (
                    "command",
                    credential,
                    {"kind": "command", "machine": "web-1", "argv": ["sleep", "60"], "timeout": 90},
                ),
                ("bystander", bystander, {**shell, "machine": "web-2"}),
                ("observer", credential, {"kind": "observe", "machine": "web-2"}),
            ):
                opened = await stack.enter_async_context(stream(world, text, **opening))
                seats[name] = Seat(name, opened)
            watching = [asyncio.create_task(seat.watch()) for name, seat in seats.items() if name != "bystander"]
            status = await asyncio.to_thread(cause.act, world, machine, known)
            acknowledged = time.monotonic()
            assert status in (200, 204), status
            if cause.operator is not None:
                # Typed after the acknowledgement: it must never reach the shell.
                await seats["operator"].stream._put(  # the public way refuses to send on a stream that has ended
                    b"".join(_typed(f"touch {marker}\n".encode()))
                )
            expected = {"operator": cause.operator, "observer": cause.observer, "command": cause.command}
            expected["watcher"] = cause.operator  # who watches a session sees it end
            await asyncio.wait(watching, timeout=WITHIN)
            for name, reason in expected.items():
                seat = seats[name]
                if reason is None:
                    assert seat.ended_at is None, (name, seat.reason)
                else:
                    assert seat.reason == reason, (name, seat.reason)
                    assert seat.ended_at is not None
                    assert seat.ended_at - acknowledged < WITHIN
            await seats["bystander"].stream.send(b"echo still $((40 + 2))\n")
            await read_until(seats["bystander"].stream, b"still 42")
            for task in watching:
                task.cancel()

    asyncio.run(play())
    assert not marker.exists()


def _typed(data: bytes) -> list[bytes]:
    from cmdop_wire.frames import STREAM, encode_data

    return [encode_data(Kind.INPUT, STREAM, 0, data)]
