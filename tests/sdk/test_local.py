"""The local agent: a real one in a process of its own, a real control socket with our answers, and bad sockets."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmdop_agent.control import Caller, Control, Refused
from cmdop_sdk import AsyncCMDOPClient
from cmdop_sdk.agent_socket import socket_path
from cmdop_sdk.errors import (
    AgentNotRunning,
    InvalidRequest,
    LocalStateError,
    NotFound,
    PermissionDenied,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from cmdop_sdk.local import GateRule, LocalAgent
from tests.processes import REPOSITORY, stop


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a configuration directory without an agent."""
    made = tmp_path / "configuration"
    made.mkdir(mode=0o700)
    return made


def answers(path: Path) -> bool:
    """Tell whether somebody listens on a socket; it is there a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def agent(home: Path, isolated: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real agent, whose relay is out of reach."""
    process = subprocess.Popen([sys.executable, "-m", "tests.sdk.lone_agent", str(home)], cwd=REPOSITORY, env=isolated)
    deadline = time.monotonic() + 30
    while not answers(socket_path(home)):
        assert process.poll() is None, "the agent ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    stop(process)


def ask(home: Path, use: Callable[[LocalAgent], Awaitable[None]], **options: Any) -> None:
    """Run ``use`` with the agent of a configuration directory."""

    async def test() -> None:
        async with LocalAgent(home, **options) as agent:
            await use(agent)

    asyncio.run(test())


def test_a_real_agent_tells_how_it_is(home: Path, agent: subprocess.Popen[bytes]) -> None:
    async def use(here: LocalAgent) -> None:
        status = await here.status()
        assert (status.machine.hostname, status.machine.name, status.workspace.slug) == ("web-1", "Web 1", "acme")
        assert (status.server, status.pid, status.directory) == (
            "http://127.0.0.1:9", agent.pid, str(home / "agent"),
        )  # fmt: skip
        assert (status.link.up, status.versions.agent, status.gate.mode) == (False, "1.2.3", "strict")
        assert status.link.problem
        assert status.active_workspace is None
        active = await here.reload(workspace_id="ws_1", slug="globex")
        assert active is not None
        assert (active.id, active.slug) == ("ws_1", "globex")
        assert (await here.status()).active_workspace == active
        assert await here.reload() is None

    ask(home, use)


def test_a_real_gate_is_moved(home: Path, agent: subprocess.Popen[bytes]) -> None:
    async def use(here: LocalAgent) -> None:
        assert ((await here.permissions()).mode, (await here.permissions()).rules) == ("strict", [])
        added = await here.add_rule("allow", "execute_command", "git status")
        assert added.rules == [GateRule("allow", "execute_command", "git status")]
        assert (await here.permissions()).rules == added.rules
        assert (await here.set_mode("default")).mode == "default"
        assert (await here.revoke_rule("allow", "execute_command", "git status")).rules == []
        with pytest.raises(NotFound, match="no rule"):
            await here.revoke_rule("allow", "execute_command", "git status")
        for wrong in (here.add_rule("maybe", "execute_command"), here.add_rule("deny", "fly"), here.set_mode("open")):
            with pytest.raises(InvalidRequest):
                await wrong
        assert await here.approvals() == []
        with pytest.raises(NotFound, match="wait"):
            await here.answer(7, approved=True)

    ask(home, use)


def test_somebody_attends_for_as_long_as_the_connection_stays(home: Path, agent: subprocess.Popen[bytes]) -> None:
    async def test() -> None:
        async with LocalAgent(home) as watching:
            async with LocalAgent(home) as here:
                await here.attend()
                await here.attend()
                assert (await watching.status()).gate.approvers == 1
            while (await watching.status()).gate.approvers:
                await asyncio.sleep(0.01)

    asyncio.run(test())


def test_a_real_agent_is_stopped(home: Path, agent: subprocess.Popen[bytes]) -> None:
    async def use(here: LocalAgent) -> None:
        await here.stop()

    ask(home, use)
    assert agent.wait(30) == 0
    with pytest.raises(AgentNotRunning, match="no agent") as missing:
        ask(home, use)
    assert missing.value.hint == "cmdop connect --detach"
    assert not missing.value.transient


def test_the_client_s_own_door(isolated: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("CMDOP_CONFIG_DIR", str(home))
    assert AsyncCMDOPClient.local().path == home / "agent" / "control.sock"

    async def use() -> None:
        async with AsyncCMDOPClient.local():
            pass

    with pytest.raises(AgentNotRunning):
        asyncio.run(use())


def test_a_killed_agent_is_none(home: Path, agent: subprocess.Popen[bytes]) -> None:
    async def use(here: LocalAgent) -> None:
        await here.status()
        agent.kill()
        agent.wait(30)
        with pytest.raises(Unreachable, match="closed the connection"):
            await here.status()
        with pytest.raises(AgentNotRunning):
            await here.status()

    ask(home, use)


# -- a control socket that says what a test wants ---------------------------------------------------------------------


async def _later(_: dict[str, Any], __: Caller) -> dict[str, Any]:
    await asyncio.sleep(0.3)
    return {"mode": "late"}


async def _large(_: dict[str, Any], __: Caller) -> dict[str, Any]:
    return {"machine": "x" * 3_000_000}


async def _odd(_: dict[str, Any], __: Caller) -> dict[str, Any]:
    return {"waiting": [{"number": "seven"}]}


async def _refused(_: dict[str, Any], __: Caller) -> dict[str, Any]:
    raise Refused("not_found", "there is no such thing", "cmdop connect status")


async def _never(_: dict[str, Any], __: Caller) -> dict[str, Any]:
    raise AssertionError("a descendant of the agent may not come here")


def ask_control(home: Path, use: Callable[[LocalAgent], Awaitable[None]], **options: Any) -> None:
    """Run ``use`` against a real control socket of this process with the handlers above."""

    async def test() -> None:
        handlers = {"permissions": _later, "status": _large, "approvals": _odd, "reload": _refused}
        control = Control(socket_path(home), handlers, {"set_mode": _never})
        await control.start()
        try:
            async with LocalAgent(home, **options) as agent:
                await use(agent)
        finally:
            await control.stop()

    asyncio.run(test())


def test_a_late_answer_is_not_taken_for_the_next(home: Path) -> None:
    async def use(here: LocalAgent) -> None:
        with pytest.raises(TimedOut, match="did not answer"):
            await here.permissions()
        with pytest.raises(NotFound, match="no such thing") as refused:
            await here.reload()
        assert refused.value.hint == "cmdop connect status"

    ask_control(home, use, timeout=0.1)


def test_an_answer_that_a_cancelled_caller_did_not_take_is_dropped(home: Path) -> None:
    async def use(here: LocalAgent) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await here.permissions()
        assert (await here.permissions()).mode == "late"

    ask_control(home, use)


def test_questions_at_a_time_get_each_their_own_answer(home: Path) -> None:
    async def use(here: LocalAgent) -> None:
        answers = await asyncio.gather(here.permissions(), here.reload(), here.permissions(), return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == ["Permissions", "NotFound", "Permissions"]

    ask_control(home, use)


def test_answers_that_are_none(home: Path) -> None:
    async def use(here: LocalAgent) -> None:
        with pytest.raises(UnexpectedAnswer, match="too long"):
            await here.status()
        with pytest.raises(UnexpectedAnswer, match="none that this version knows"):
            await here.approvals()
        with pytest.raises(InvalidRequest, match="does not know") as unknown:
            await here.attend()
        assert unknown.value.code == "unknown_verb"

    ask_control(home, use)


def test_what_the_agent_runs_may_not_move_its_gate(home: Path) -> None:
    async def use(here: LocalAgent) -> None:
        with pytest.raises(PermissionDenied, match="a person at the machine"):
            await here.set_mode("bypass")

    ask_control(home, use)


# -- sockets that are not to be trusted -------------------------------------------------------------------------------


def listening(home: Path, folder_mode: int = 0o700, socket_mode: int = 0o600) -> socket.socket:
    """Listen where the agent would."""
    path = socket_path(home)
    path.parent.mkdir()
    bound = socket.socket(socket.AF_UNIX)
    os.chdir(path.parent)  # the name may be longer than an address
    bound.bind(path.name)
    bound.listen()
    path.chmod(socket_mode)
    path.parent.chmod(folder_mode)
    return bound


@pytest.mark.parametrize(
    ("folder_mode", "socket_mode", "reason"),
    [(0o755, 0o600, "folder is open"), (0o700, 0o666, "socket is open"), (0o700, 0o620, "socket is open")],
)
def test_a_socket_that_others_could_use_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder_mode: int, socket_mode: int, reason: str
) -> None:
    monkeypatch.chdir(home)
    with listening(home, folder_mode, socket_mode), pytest.raises(LocalStateError, match=reason) as refused:
        ask(home, _use_nothing)
    assert refused.value.path == str(socket_path(home))


async def _use_nothing(_: LocalAgent) -> None:
    raise AssertionError("nobody may be asked")


def test_a_file_or_link_in_its_place_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    path = socket_path(home)
    with listening(home):
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
        with pytest.raises(LocalStateError, match=r"control\.sock is no socket"):
            ask(home, _use_nothing)
        path.unlink()
        path.write_text("")
        with pytest.raises(LocalStateError, match="is no socket"):
            ask(home, _use_nothing)


def test_somebody_else_s_socket_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    with listening(home):
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # to us, everything here is another user's now
        with pytest.raises(LocalStateError, match="belongs to another user"):
            ask(home, _use_nothing)


def test_a_stale_socket_is_no_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    listening(home).close()
    with pytest.raises(AgentNotRunning):
        ask(home, _use_nothing)


def test_a_path_longer_than_an_address(home: Path, isolated: dict[str, str]) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)

    async def use(here: LocalAgent) -> None:
        with pytest.raises(NotFound):
            await here.reload()

    ask_control(deep, use)
