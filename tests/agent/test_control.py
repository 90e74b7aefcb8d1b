"""The control socket: private, for its owner, and closed to what the agent runs for others where the gate is moved."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmdop_agent.control import AlreadyRunning, is_running
from cmdop_agent.rules import Rule
from cmdop_sdk.agent_socket import short_path, socket_path
from cmdop_wire.frames import Kind
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict
from tests.agent.relay import own_folder, registration, relay, run, running

GATE_VERBS = ("add_rule", "revoke_rule", "set_mode", "attend", "answer", "stop")
OTHER_CALLER = """
import json, socket, sys
from pathlib import Path
from cmdop_sdk.agent_socket import short_path
with short_path(Path(sys.argv[1])) as address, socket.socket(socket.AF_UNIX) as asking:
    asking.connect(address)
    asking.sendall(sys.argv[2].encode() + b"\\n")
    print(asking.makefile().readline(), end="")
"""


class Person:
    """A connection to the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask one thing."""
        return await self.say(json.dumps({"verb": verb, **fields}).encode())

    async def say(self, line: bytes) -> dict[str, Any]:
        """Send a line as it is."""
        self.writer.write(line + b"\n")
        async with asyncio.timeout(20):
            answer: dict[str, Any] = json.loads(await self.reader.readline())
        return answer

    async def leave(self) -> None:
        """Hang up."""
        self.writer.close()
        await self.writer.wait_closed()


def path() -> Path:
    """Return where the socket is."""
    return socket_path(Path(os.environ["CMDOP_CONFIG_DIR"]))


async def person() -> Person:
    """Connect to the agent."""
    with short_path(path()) as address:
        return Person(*await asyncio.open_unix_connection(address))


def as_a_person_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test's process, which is the agent's too, pass for somebody at the machine."""
    monkeypatch.setattr("cmdop_agent.control.is_descendant", lambda pid, agent: False)


def test_the_socket_is_private_and_goes_with_the_agent() -> None:
    async def whole() -> None:
        async with running():
            found = path().lstat()
            assert stat.S_ISSOCK(found.st_mode)
            assert found.st_mode & 0o777 == 0o600
            assert path().parent.stat().st_mode & 0o777 == 0o700
            assert is_running(path())
            assert int(path().with_name("pid").read_text()) == os.getpid()
        assert not path().exists()
        assert not is_running(path())

    run(whole)


def test_status_tells_everything_and_no_secret() -> None:
    async def whole() -> None:
        async with running(GateMode.DEFAULT) as (agent, _):
            told = await (asked := await person()).ask("status")
            await asked.leave()
            assert told["ok"]
            assert told["machine"]["hostname"] == "web-1"
            assert told["workspace"]["slug"] == "acme"
            assert (told["link"]["up"], told["link"]["node"], told["link"]["problem"]) == (True, "n1", None)
            assert told["gate"] == {"mode": "default", "seeded": True, "rules": 0, "problem": None, "approvers": 0}
            assert told["versions"] == {"agent": "0.1", "server": "9.9", "protocol": 1}
            assert told["pid"] == os.getpid()
            assert agent.registration.credential not in json.dumps(told)
            assert agent.registration.credential not in repr(agent.registration)

    run(whole)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b"{", "malformed"),
        (b"{}", "malformed"),
        (b'{"verb": "dance"}', "unknown_verb"),
        (b'{"verb": 7}', "unknown_verb"),
        (b'{"verb": {}}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"verb": "set_mode"}', "invalid"),
        (b'{"verb": "set_mode", "mode": "open"}', "invalid"),
        (b'{"verb": "add_rule", "verdict": "allow", "operation": "read_file", "match": "x"}', "invalid"),
        (b'{"verb": "add_rule", "verdict": "allow"}', "invalid"),
        (b'{"verb": "revoke_rule", "verdict": "allow", "operation": "session"}', "not_found"),
        (b'{"verb": "answer", "number": "1", "approved": true}', "invalid"),
        (b'{"verb": "answer", "number": 1, "approved": true}', "not_found"),
    ],
)
def test_whatever_is_asked_is_answered(monkeypatch: pytest.MonkeyPatch, line: bytes, code: str) -> None:
    as_a_person_would(monkeypatch)

    async def whole() -> None:
        async with running():
            asked = await person()
            answer = await asked.say(line)
            assert (answer["ok"], answer["code"]) == (False, code)
            assert (await asked.ask("status"))["ok"]
            await asked.leave()

    run(whole)


def test_a_line_without_end_is_hung_up_on() -> None:
    async def whole() -> None:
        async with running():
            asked = await person()
            asked.writer.write(b"x" * 1_000_000)
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionResetError):
                    assert await asked.reader.read() == b""
            asked.writer.close()

    run(whole)


def test_rules_and_mode_are_moved_and_take_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_person_would(monkeypatch)

    async def whole() -> None:
        async with running(GateMode.STRICT) as (_, there):
            asked = await person()
            rule = {"verdict": "allow", "operation": "execute_command", "match": "echo *"}
            for _ in range(2):
                told = await asked.ask("add_rule", **rule)
            assert told["rules"] == [{**rule, "cwd": ""}]
            assert (await there.call(argv=["echo", "hi"]).ended())["status"] == 0
            await asked.ask("revoke_rule", **rule)
            assert (await there.call(argv=["echo", "hi"]).next(Kind.REFUSED))["code"] == "gate_denied"
            assert (await asked.ask("set_mode", mode="bypass"))["mode"] == "bypass"
            assert (await there.call("session", argv=["true"]).ended())["status"] == 0
            assert (await asked.ask("permissions"))["path"] == str(own_folder() / "permissions.yaml")
            await asked.leave()
            await there.until(
                lambda there: [b["gate_mode"] for k, b in there.told if k is Kind.HEARTBEAT][-1] == "bypass"
            )

    run(whole)


def test_gate_verbs_are_refused_to_what_the_agent_runs(tmp_path: Path) -> None:
    """The agent is this process here, so every process that it starts is its descendant, however it detaches."""
    script = tmp_path / "other.py"
    script.write_text(OTHER_CALLER)

    async def whole() -> None:
        async with running(GateMode.BYPASS) as (agent, there):
            for verb in GATE_VERBS:
                asked = json.dumps({"verb": verb, "mode": "bypass", "verdict": "allow", "operation": "session"})
                call = there.call(argv=["env", f"PYTHONPATH={Path.cwd()}", sys.executable, str(script), str(path()),
                                        asked], timeout=30)  # fmt: skip
                await call.ended()
                answer = json.loads(call.text)
                assert (answer["ok"], answer["code"]) == (False, "forbidden"), (verb, call.out)
            call = there.call(argv=["env", f"PYTHONPATH={Path.cwd()}", sys.executable, str(script), str(path()),
                                    '{"verb": "status"}'], timeout=30)  # fmt: skip
            await call.ended()
            assert json.loads(call.text)["ok"]
            assert agent.permissions.read().rules == ()
            assert not agent.stopping.is_set()

    run(whole)


def test_who_was_the_agent_s_stays_so_when_his_number_is_somebody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection outlives the process that made it; its number may then belong to a person's process."""

    async def whole() -> None:
        async with running(GateMode.STRICT) as (agent, _):
            asked = await person()
            assert (await asked.ask("status"))["ok"]
            as_a_person_would(monkeypatch)
            assert (await asked.ask("set_mode", mode="bypass"))["code"] == "forbidden"
            assert agent.permissions.read().mode is GateMode.STRICT
            other = await person()
            assert (await other.ask("set_mode", mode="default"))["ok"]
            for each in (asked, other):
                await each.leave()

    run(whole)


def test_what_the_agent_runs_cannot_take_every_place_at_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line, and nothing more, five hundred times: whoever sits at the machine is still heard."""

    async def whole() -> None:
        async with running(GateMode.BYPASS) as (agent, _):
            holding = []
            for _number in range(500):
                holding.append(await person())
                holding[-1].writer.write(b'{"verb": ')
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                while not all(each.reader.at_eof() or each.reader.exception() for each in holding[-400:]):
                    await asyncio.sleep(0.01)
            as_a_person_would(monkeypatch)
            asked = await person()
            assert (await asked.ask("set_mode", mode="strict"))["ok"]
            assert agent.permissions.read().mode is GateMode.STRICT
            for each in (*holding, asked):
                each.writer.close()

    run(whole)


def test_a_change_that_cannot_be_written_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_person_would(monkeypatch)

    async def whole() -> None:
        async with running(GateMode.STRICT) as (agent, _):
            (own_folder() / "permissions.accepted.yaml").unlink()
            (own_folder() / "permissions.accepted.yaml").mkdir()
            asked = await person()
            answer = await asked.ask("set_mode", mode="bypass")
            assert (answer["ok"], answer["code"]) == (False, "local_state"), answer
            assert (await asked.ask("status"))["ok"]
            assert agent.permissions.read().mode is GateMode.STRICT
            await asked.leave()

    run(whole)


def test_approvals_are_seen_as_they_come_and_presence_ends_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_person_would(monkeypatch)
    ask_always = Rule(GateVerdict.ASK, GateOperation.EXECUTE_COMMAND)

    async def whole() -> None:
        async with running(GateMode.DEFAULT, ask_always) as (agent, there):
            asked = await person()
            for _ in range(2):
                assert (await asked.ask("attend"))["approvers"] == 1
            looking = asyncio.create_task(asked.ask("approvals", wait=30, known=[]))
            call = there.call(argv=["echo", "hi"])
            (waiting,) = (await looking)["waiting"]
            assert waiting["request"] == "execute_command(echo hi)"
            assert waiting["actor"] == "ann@example.com"
            assert (await asked.ask("approvals", wait=0.05, known=[waiting["number"]]))["waiting"] == [waiting]
            assert (await asked.ask("answer", number=waiting["number"], approved=True))["ok"]
            await call.next(Kind.NOTICE)
            assert (await call.ended())["status"] == 0
            assert (await asked.ask("approvals"))["waiting"] == []
            await asked.leave()
            async with asyncio.timeout(10):
                while agent.admission.approvers:
                    await asyncio.sleep(0.01)
            assert (await there.call(argv=["echo"]).next(Kind.REFUSED))["code"] == "approval_unavailable"

    run(whole)


def test_reload_dials_again_and_no_stream_ends() -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            call = there.call(argv=["cat"])
            await call.next(Kind.OPENED)
            call.type(b"before ")
            asked = await person()
            acme = {"id": "ws_1", "slug": "acme"}
            assert (await asked.ask("reload", active_workspace=acme))["active_workspace"] == acme
            await there.until(lambda there: len(there.hellos) == 2)
            assert there.closed == [1001]
            there.resume(call)
            call.type(b"after")
            call.end_input()
            assert (await call.ended())["status"] == 0
            assert call.text == "before after"
            assert (await asked.ask("status"))["active_workspace"] == acme
            assert (await asked.ask("reload", active_workspace=None))["active_workspace"] is None
            await asked.leave()
            assert agent.link.state.last_problem == "" or not agent.link.state.is_up

    run(whole)


def test_stop_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_person_would(monkeypatch)

    async def whole() -> None:
        async with relay() as there, running(at=there) as (agent, _):
            asked = await person()
            assert (await asked.ask("stop"))["pid"] == os.getpid()
            async with asyncio.timeout(10):
                assert await asked.reader.read() == b""
            assert agent.stopping.is_set()
            asked.writer.close()
            await there.until(lambda there: (Kind.CLOSE, {"reason": "stopped"}) in there.told)

    run(whole)


def test_a_second_agent_is_refused_and_the_first_undisturbed() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            with pytest.raises(AlreadyRunning):
                async with running(at=there):
                    pass
            asked = await person()
            assert (await asked.ask("status"))["link"]["up"]
            await asked.leave()

    run(whole)


def test_what_a_killed_agent_left_is_replaced() -> None:
    own_folder().mkdir(parents=True, mode=0o700)
    left = subprocess.Popen(
        [sys.executable, "-c", f"""
import fcntl, os, socket, sys, time
from pathlib import Path
from cmdop_sdk.agent_socket import short_path
path = Path({str(path())!r})
lock = os.open(path.with_name("pid"), os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
with short_path(path) as address:
    listening = socket.socket(socket.AF_UNIX); listening.bind(address); listening.listen()
print("ready", flush=True)
time.sleep(100)
"""], stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert left.stdout is not None
    assert left.stdout.readline() == "ready\n"
    assert is_running(path())
    left.send_signal(signal.SIGKILL)
    left.wait()
    left.stdout.close()
    assert path().exists()
    assert not is_running(path())

    async def whole() -> None:
        async with running():
            asked = await person()
            assert (await asked.ask("status"))["ok"]
            await asked.leave()

    run(whole)


def test_a_long_path_is_reached_another_way(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / ("deeper" * 10)
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder)) > 120
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as asking:
        with short_path(folder / "control.sock") as address:
            listening.bind(address)
        listening.listen()
        with short_path(folder / "control.sock") as address:
            asking.connect(address)


def test_a_registration_is_private_and_read_back(tmp_path: Path) -> None:
    from cmdop_agent.registration import RegistrationFile
    from cmdop_sdk.errors import LocalStateError

    own_folder().mkdir(parents=True, mode=0o700)
    file = RegistrationFile(own_folder())
    assert file.read() is None
    made = registration("ws://127.0.0.1:1/relay/agent", ca_pin="sha256:" + "0" * 64, accept_bypass=True)
    file.write(made)
    assert file.read() == made
    written = own_folder() / "machine.json"
    assert written.stat().st_mode & 0o777 == 0o600
    for nonsense in (b"", b"{}", b"[" * 100_000, b'{"server": 7}'):
        written.write_bytes(nonsense)
        with pytest.raises(LocalStateError) as refused:
            file.read()
        assert refused.value.hint
