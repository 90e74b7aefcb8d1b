"""The link: how long it waits, how it says hello and goodbye, and how it takes what a relay may do to it."""

import asyncio
import contextlib
import socket
import time

import pytest
from websockets.asyncio.server import serve

from cmdop_agent.admission import Admission
from cmdop_agent.channels import Channels
from cmdop_agent.daemon import Agent, facts
from cmdop_agent.link import (
    CONFLICT_WAIT,
    FIRST_BOUND,
    GONE,
    GONE_WAIT,
    LONGEST_BOUND,
    LONGEST_BOUND_WITH_STREAMS,
    Link,
    Wait,
)
from cmdop_agent.metrics import metrics
from cmdop_agent.permissions import PermissionsFile
from cmdop_wire import frames
from cmdop_wire.frames import LINK, CloseCode, Kind
from tests.agent.relay import Relay, own_folder, registration, relay, run, running


def waits(count: int, fraction: float, **how: bool) -> list[float]:
    """Return the first waits of an agent whose dice always show ``fraction``."""
    wait = Wait(random=lambda: fraction)
    return [wait.next(**how) for _ in range(count)]


def test_waits_double_up_to_a_bound_and_never_vanish() -> None:
    assert waits(6, 1.0) == [2, 4, 8, 8, 8, 8]
    assert waits(6, 0.0) == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.8, 0.8])
    assert waits(6, 1.0, is_unanswered=True) == [2, 4, 8, 16, 30, 30]  # it may have too much to do
    wait = Wait(random=lambda: 1.0)
    for _ in range(2000):
        assert wait.next() <= LONGEST_BOUND
    wait.reset()
    assert wait.next() == FIRST_BOUND


def test_a_thousand_agents_do_not_come_back_at_once() -> None:
    first = sorted(Wait().next() for _ in range(1000))
    tenths = [int(wait / FIRST_BOUND * 10) for wait in first]
    assert max(tenths.count(tenth) for tenth in range(10)) < 200
    assert first[0] < 0.5 < 1.5 < first[-1] <= FIRST_BOUND


def test_who_waits_for_us_is_not_kept_waiting_beyond_the_grace() -> None:
    wait = Wait(random=lambda: 1.0)
    total = 0.0
    for _ in range(6):
        pause = wait.next(has_streams=True)
        assert pause <= LONGEST_BOUND_WITH_STREAMS
        total += pause
    assert total < 30


@pytest.mark.parametrize("code", sorted(GONE))
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_who_is_not_wanted_asks_once_an_hour_at_most(code: int, fraction: float) -> None:
    wait = Wait(random=lambda: fraction)
    assert GONE_WAIT <= wait.next(code) <= 2 * GONE_WAIT
    assert wait.next() <= FIRST_BOUND


def test_a_duplicate_waits_for_minutes() -> None:
    assert CONFLICT_WAIT / 2 <= Wait().next(CloseCode.CONFLICT) <= CONFLICT_WAIT * 2


def test_hello_and_the_first_heartbeat_say_what_the_machine_is() -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            (hello,) = there.hellos
            assert (hello["version"], hello["agent"], hello["hostname"]) == (1, "0.1", "web-1")
            assert hello["channels"] == []
            assert hello["gate"] == {"mode": "bypass", "seeded": True}
            assert (hello["os"], hello["boot"]) == (agent.machine.os, agent.machine.boot_id)
            await there.until(lambda there: there.told)
            kind, beat = there.told[0]
            assert kind is Kind.HEARTBEAT
            assert set(beat["metrics"]) == set(metrics(0))
            assert beat["metrics"]["memory_total"] > beat["metrics"]["memory_available"] > 0
            assert beat["metrics"]["uptime"] > 0
            assert len(beat["metrics"]["load"]) == 3

    run(whole)


def test_a_probe_is_answered_even_in_front_of_a_flood() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            flood = there.call(argv=["yes"], timeout=60)
            await flood.until(lambda call: len(call.out[Kind.OUTPUT]) > 1_000_000)
            for nonce in ("a", "b", "c"):
                there.send(frames.encode_json(Kind.PROBE, LINK, nonce=nonce))
                await there.until(lambda there, nonce=nonce: (Kind.PROBED, {"nonce": nonce}) in there.told)
            flood.close()

    run(whole)


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [
        (CloseCode.GOING_AWAY, False),
        (CloseCode.UNAVAILABLE, False),
        (CloseCode.MALFORMED, False),
        (CloseCode.AUTH, True),
        (CloseCode.GONE, True),
    ],
)
def test_how_the_relay_ends_the_link_decides_how_long_it_stays_away(code: CloseCode, is_refused: bool) -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            agent.link._wait = Wait(random=lambda: 1.0)
            await there.close(code, "because")
            async with asyncio.timeout(10):
                while agent.link.state.next_attempt is None:
                    await asyncio.sleep(0.01)
            left = agent.link.state.next_attempt - time.monotonic()
            assert (left > 3000) is is_refused
            assert left <= 2 * GONE_WAIT if is_refused else left <= FIRST_BOUND
            assert agent.link.state.is_refused is is_refused
            assert "because" in agent.link.state.last_problem

    run(whole)


@pytest.mark.parametrize(("status", "is_refused"), [(401, True), (403, True), (404, False), (500, False), (503, False)])
def test_how_the_upgrade_is_refused_decides_too(status: int, is_refused: bool) -> None:
    async def whole() -> None:
        async with relay() as there:
            there.answer = lambda: status
            agent, task = await started(there)
            async with asyncio.timeout(10):
                while agent.link.state.next_attempt is None:
                    await asyncio.sleep(0.01)
            assert agent.link.state.is_refused is is_refused
            assert agent.link.state.last_problem
            if is_refused:
                await asyncio.sleep(0.5)
                assert len(there.attempts) == 1
            there.answer = lambda: None
            agent.link.dial_now()
            await there.linked()
            agent.stopping.set()
            await task

    run(whole)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_leads_the_link_elsewhere(status: int) -> None:
    async def whole() -> None:
        async with relay() as there, relay() as elsewhere:
            there.answer, there.location = lambda: status, elsewhere.url
            agent, task = await started(there)
            async with asyncio.timeout(10):
                while agent.link.state.next_attempt is None:
                    await asyncio.sleep(0.01)
            assert str(status) in agent.link.state.last_problem
            assert elsewhere.attempts == []
            agent.stopping.set()
            await task

    run(whole)


@pytest.mark.parametrize("asks", ["probes", "unknown streams"])
def test_a_relay_that_asks_without_reading_is_left(asks: str) -> None:
    question = {
        "probes": frames.encode_json(Kind.PROBE, LINK, nonce="n" * 1000),
        "unknown streams": frames.encode_json(Kind.RESUME, 7, stream_id="ses_unknown", received={}),
    }[asks]

    async def whole() -> None:
        async with running() as (agent, there):
            first = there.socket
            assert first is not None
            first.transport.pause_reading()  # the kernel takes some megabytes for it, and then nobody does
            for _ in range(200_000):
                there.send(question)
            async with asyncio.timeout(30):
                while "does not read" not in agent.link.state.last_problem and there.socket is first:
                    await asyncio.sleep(0.02)
            first.transport.abort()
            await there.until(lambda relay: relay.socket is not None and relay.socket is not first)

    run(whole)


async def started(there: Relay, url: str | None = None) -> tuple[Agent, "asyncio.Task[None]"]:
    """Start an agent whose link may not come up."""
    agent = Agent(own_folder(), registration(url or there.url), facts("0.1", "web-1"), say=lambda _: None)
    return agent, asyncio.create_task(agent.run())


def test_a_relay_that_is_not_there_is_told_and_tried_again() -> None:
    async def whole() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with relay() as there:
                agent, task = await started(there, f"ws://127.0.0.1:{unused.getsockname()[1]}/relay/agent")
                async with asyncio.timeout(10):
                    while not agent.link.state.last_problem:
                        await asyncio.sleep(0.01)
                assert "refused" in agent.link.state.last_problem
                agent.stopping.set()
                await task

    run(whole)


@pytest.mark.parametrize(
    "answer",
    [
        b"text",
        b"",
        b"\xff\xff\xff\xff\xff",
        frames.encode_json(Kind.PROBE, LINK, nonce="x"),
        bytes([Kind.WELCOME, 0, 0, 0, 0]) + b"[]",
        b"x" * 300_000,
    ],
    ids=lambda answer: repr(answer[:8]),
)
def test_a_relay_that_talks_nonsense_is_left_and_dialled_again(answer: bytes) -> None:
    async def whole() -> None:
        attempts = 0

        async def nonsense(connection: object) -> None:
            nonlocal attempts
            attempts += 1
            await connection.recv()  # type: ignore[attr-defined]
            await connection.send(answer.decode() if answer == b"text" else answer)  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):
                await connection.wait_closed()  # type: ignore[attr-defined]

        async with serve(nonsense, "127.0.0.1", 0, subprotocols=["cmdop.v1"]) as server:  # type: ignore[list-item]
            port = next(iter(server.sockets)).getsockname()[1]
            channels = Channels(Admission(PermissionsFile(own_folder()), own_folder(), "/"))
            link = Link(f"ws://127.0.0.1:{port}/relay/agent", lambda: "cmdmc_x", channels, dict,
                        wait=Wait(random=lambda: 0.0))  # fmt: skip
            keeping = asyncio.create_task(link.keep())
            async with asyncio.timeout(20):
                while attempts < 2:
                    await asyncio.sleep(0.02)
            assert link.state.last_problem
            assert not link.state.is_up
            await link.stop()
            await keeping

    run(whole)


def test_new_labels_of_workspace_and_machine_are_kept() -> None:
    async def whole() -> None:
        async with relay() as there:
            made = registration(there.url)
            there.welcome = {
                "workspace": {"id": made.workspace_id, "slug": "acme-new"},
                "machine": {"id": made.machine_id, "hostname": "web-9", "name": "front"},
            }
            async with running(at=there, machine_id=made.machine_id, workspace_id=made.workspace_id) as (agent, _):
                assert (agent.registration.workspace_slug, agent.registration.hostname, agent.registration.name) == (
                    "acme-new", "web-9", "front",
                )  # fmt: skip
                assert "acme-new" in (own_folder() / "machine.json").read_text()

    run(whole)
