"""Channels over a real link: what is opened runs, what is lost is resumed, what is wrong ends alone."""

import asyncio
import contextlib
import hashlib
import json
import os
import shlex
import time
from pathlib import Path

import psutil
import pytest

from cmdop_agent.admission import LOG_FILE
from cmdop_agent.daemon import Agent
from cmdop_agent.permissions import Permissions
from cmdop_agent.rules import Rule, rule_of
from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, Kind
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict
from tests.agent.relay import Call, own_folder, relay, run, running

ASK = Rule(GateVerdict.ASK, GateOperation.EXECUTE_COMMAND, "make **")


def children() -> list[int]:
    """Return the living children of this process."""
    return [child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


async def no_children(before: list[int]) -> None:
    """Wait until everything that was started is gone."""
    async with asyncio.timeout(10):
        while set(children()) - set(before):
            await asyncio.sleep(0.02)


def test_commands_and_sessions_from_open_to_exit() -> None:
    async def whole() -> None:
        before = children()
        async with running() as (agent, there):
            command = there.call(argv=["sh", "-c", "cat; echo bad >&2; exit 4"])
            await command.next(Kind.OPENED)
            command.type(b"words")
            command.end_input()
            exit_ = await command.ended()
            assert (exit_["status"], exit_["signal"], exit_["timed_out"]) == (4, None, False)
            assert (command.out[Kind.OUTPUT], command.out[Kind.ERROR]) == (b"words", b"bad\n")

            session = there.call("session", cols=90, rows=20, argv=["sh"])
            await session.next(Kind.OPENED)
            session.say(Kind.RESIZE, {"cols": 91, "rows": 21})
            session.type(b"stty size; exit 2\n")
            assert (await session.ended())["status"] == 2
            assert "21 91" in session.text
            assert len(agent.channels) == 2
            for call in (command, session):
                call.close()
            await there.call(argv=["true"]).ended()
            assert len(agent.channels) == 1
        await no_children(before)

    run(whole)


def test_a_shell_s_words_and_its_login_are_the_machine_s() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            shell = there.call(argv=["echo $0", "$HOME"], shell=True)
            await shell.ended()
            assert shell.text.split() == ["/bin/sh", os.environ["HOME"]]
            session = there.call("session")
            await session.next(Kind.OPENED)
            session.type(b"exit 0\n")
            assert (await session.ended())["status"] == 0
            where = there.call(argv=["pwd"], cwd="~/cmdop/..")
            await where.ended()
            assert where.text.strip() == os.path.realpath(os.environ["HOME"])

    run(whole)


def test_what_cannot_be_started_is_refused_with_words() -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            for opening, code in (
                ({"argv": ["no-such-program"]}, "command_not_found"),
                ({"argv": ["pwd"], "cwd": "/no/such/folder"}, "command_not_found"),
                ({"argv": ["/etc/passwd"]}, "cannot_start"),
                ({"argv": ["a\0b"]}, "invalid"),
                ({"kind": "fly"}, "unknown_operation"),
            ):
                body = await there.call(**{"kind": "command", **opening}).next(Kind.REFUSED)
                assert body["code"] == code
                assert body["message"]
            assert len(agent.channels) == 0

    run(whole)


def test_a_time_out_ends_the_whole_group_and_says_so() -> None:
    async def whole() -> None:
        before = children()
        async with running() as (_, there):
            call = there.call(argv=["sh", "-c", "trap '' HUP TERM; echo last words; sleep 1000 & wait; sleep 1000"],
                              timeout=0.4)  # fmt: skip
            exit_ = await call.ended()
            assert (exit_["status"], exit_["signal"], exit_["timed_out"]) == (None, "KILL", True)
            assert call.text == "last words\n"
            await no_children(before)

    run(whole)


def test_time_spent_on_a_slow_reader_is_not_the_command_s() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            call = there.call(argv=["head", "-c", str(LIMITS.window + 100_000), "/dev/zero"], timeout=1)
            call.is_reading = False
            await call.until(lambda call: len(call.out[Kind.OUTPUT]) == LIMITS.window)
            await asyncio.sleep(1.2)
            call.read_again()
            exit_ = await call.ended()
            assert (exit_["status"], exit_["timed_out"]) == (0, False)
            assert len(call.out[Kind.OUTPUT]) == LIMITS.window + 100_000

    run(whole)


def test_a_reader_who_does_not_read_holds_up_nobody_else() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            flood = there.call(argv=["yes"], timeout=60)
            flood.is_reading = False
            await flood.until(lambda call: len(call.out[Kind.OUTPUT]) == LIMITS.window)
            memory = psutil.Process().memory_info().rss
            for _ in range(20):
                assert (await there.call(argv=["echo", "hi"]).ended())["status"] == 0
            assert len(flood.out[Kind.OUTPUT]) == LIMITS.window
            assert psutil.Process().memory_info().rss - memory < 32 << 20
            flood.close()

    run(whole)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.RESIZE, b'{"cols": "wide"}'),
        (Kind.SIGNAL, b'{"name": "STOP"}'),
        (Kind.RESIZE, b"{"),
        (Kind.RESIZE, b'{"cols": "\xff"}'),
        (Kind.INPUT, b"x"),
        (Kind.WINDOW, b"x"),
        (Kind.WINDOW, bytes([Kind.OUTPUT]) + (2**62).to_bytes(8, "big")),
        (Kind.INPUT, (LIMITS.input_window).to_bytes(8, "big") + b"x"),
        (Kind.OUTPUT, bytes(8)),
        (Kind.HELLO, b"{}"),
    ],
)
def test_a_caller_who_sends_what_he_may_not_ends_his_own_stream_and_no_other(kind: Kind, body: bytes) -> None:
    async def whole() -> None:
        before = children()
        async with running() as (agent, there):
            other, hostile = there.call(argv=["cat"]), there.call(argv=["cat"])
            for call in (other, hostile):
                await call.next(Kind.OPENED)
            there.send(frames.encode(kind, hostile.number, body))
            exit_ = await hostile.ended()
            assert (exit_["signal"], exit_["code"]) == ("KILL", "malformed")
            hostile.close()
            other.type(b"still here")
            other.end_input()
            assert (await other.ended())["status"] == 0
            assert len(there.hellos) == 1
            assert agent.link.state.is_up
            await no_children(before)

    run(whole)


def test_an_opening_that_is_none_is_refused_and_the_link_stays() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            for body in (
                b"",
                b"[]",
                b'{"kind": 7}',
                b"{" * 1000,
                b'{"kind": "\xff"}',
                b'{"stream_id": "s", "kind": "command"}',
            ):
                call = there.call("fly")
                there.send(frames.encode(Kind.CLOSE, call.number, b'{"reason": "closed"}'))
                number = call.number + 1000
                there.calls[number] = Call(there, number, "ses_raw")
                there.send(frames.encode(Kind.OPEN, number, body))
                assert (await there.calls[number].next(Kind.REFUSED))["code"] == "malformed"
            assert len(there.hellos) == 1

    run(whole)


def test_the_relay_is_cut_for_what_no_caller_can_cause() -> None:
    async def whole() -> None:
        async with running() as (_, there):
            first = there.call(argv=["cat"])
            await first.next(Kind.OPENED)
            there.send(frames.encode_json(Kind.OPEN, first.number, stream_id="ses_2", kind="session", actor={}))
            await there.until(lambda there: len(there.hellos) == 2)
            there.send(frames.encode_json(Kind.HELLO, 0))
            await there.until(lambda there: len(there.hellos) == 3)
            assert [each["stream_id"] for each in there.hellos[2]["channels"]] == [first.stream_id]

    run(whole)


def test_a_lost_link_loses_and_repeats_nothing() -> None:
    async def whole() -> None:
        size = 20_000_000
        async with running() as (_, there):
            script = f"head -c {size} /dev/zero | tr '\\0' x; sha256sum; echo done >&2"
            call = there.call(argv=["sh", "-c", script], timeout=60)
            await call.next(Kind.OPENED)
            call.type(b"a" * 100_000)
            for cut in range(1, 6):
                await call.until(lambda call, cut=cut: len(call.out[Kind.OUTPUT]) > cut * 3_000_000)
                there.cut()
                await there.until(lambda there, cut=cut: len(there.hellos) == cut + 1)
                there.resume(call)
            assert {each["stream_id"] for each in there.hellos[-1]["channels"]} == {call.stream_id}
            await call.until(lambda call: len(call.out[Kind.OUTPUT]) == size)
            call.type(b"b" * 1000)
            call.end_input()
            assert (await call.ended())["status"] == 0
            digest = hashlib.sha256(b"a" * 100_000 + b"b" * 1000).hexdigest()
            assert call.out[Kind.OUTPUT][size:].split()[0].decode() == digest
            assert set(call.out[Kind.OUTPUT][:size]) == {ord("x")}
            assert call.out[Kind.ERROR] == b"done\n"

    run(whole)


def test_an_end_that_nobody_heard_is_told_again_until_the_relay_says_close() -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            call = there.call(argv=["sh", "-c", "sleep 0.3; echo bye; exit 9"])
            await call.next(Kind.OPENED)
            there.cut()
            await there.until(lambda there: len(there.hellos) == 2)
            async with asyncio.timeout(10):
                while children_of_shell(agent):
                    await asyncio.sleep(0.02)
            for _ in range(3):
                call.exit = None
                there.resume(call)
                assert (await call.ended())["status"] == 9
                assert call.text == "bye\n"
            assert len(agent.channels) == 1
            call.close()
            await there.call(argv=["true"]).ended()
            assert len(agent.channels) == 1

    run(whole)


def children_of_shell(agent: Agent) -> bool:
    """Tell whether any channel's process still runs."""
    return any(each.process is not None and not each.channel.is_over for each in agent.channels._open.values())


def test_what_nobody_comes_back_for_ends_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    from cmdop_agent import channels
    from cmdop_wire.frames import Limits

    monkeypatch.setattr(channels, "LIMITS", Limits(grace=0.5))

    async def whole() -> None:
        before = children()
        async with running() as (agent, there):
            call, kept = there.call(argv=["cat"]), there.call(argv=["cat"])
            for each in (call, kept):
                await each.next(Kind.OPENED)
            there.cut()
            await there.until(lambda there: len(there.hellos) == 2)
            there.resume(kept)
            await kept.next(Kind.RESUMED)
            async with asyncio.timeout(10):
                while len(agent.channels) == 2:
                    await asyncio.sleep(0.02)
            there.resume(call)
            assert (await call.next(Kind.REFUSED))["code"] == "gone"
            kept.end_input()
            assert (await kept.ended())["status"] == 0
        await no_children(before)

    run(whole)


@pytest.mark.parametrize("received", [{"OUTPUT": 10**9}, {"OUTPUT": "all"}, "nothing", {"OUTPUT": -1}])
def test_a_resume_that_cannot_be_ends_that_stream(received: object) -> None:
    async def whole() -> None:
        before = children()
        async with running() as (_, there):
            call = there.call(argv=["sh", "-c", "echo one; cat"])
            await call.next(Kind.OPENED)
            await call.until(lambda call: call.text == "one\n")
            there.cut()
            await there.until(lambda there: len(there.hellos) == 2)
            there.resume(call, received)  # type: ignore[arg-type]
            if received == "nothing":  # nothing was received, it says, so everything comes again
                await call.next(Kind.RESUMED)
                call.close()
            else:
                assert (await call.next(Kind.REFUSED))["code"] == "gone"
            await no_children(before)

    run(whole)


def test_opening_too_many_is_refused_and_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from cmdop_agent import channels
    from cmdop_wire.frames import Limits

    monkeypatch.setattr(channels, "LIMITS", Limits(channels=3))

    async def whole() -> None:
        async with running() as (_, there):
            calls = [there.call(argv=["cat"]) for _ in range(3)]
            for call in calls:
                await call.next(Kind.OPENED)
            assert (await there.call(argv=["cat"]).next(Kind.REFUSED))["code"] == "limit_reached"
            for call in calls:
                call.end_input()
                assert (await call.ended())["status"] == 0

    run(whole)


def test_stopping_ends_every_process_and_says_goodbye() -> None:
    async def whole() -> None:
        before = children()
        async with relay() as there:
            async with running(at=there):
                for argv in (["cat"], ["sh", "-c", "trap '' HUP TERM; sleep 1000"]):
                    await there.call("session", argv=argv).next(Kind.OPENED)
            assert (Kind.CLOSE, {"reason": "stopped"}) in there.told
            assert not set(children()) - set(before)

    run(whole)


def test_a_close_while_it_is_being_opened_leaves_nothing() -> None:
    async def whole() -> None:
        before = children()
        async with running() as (agent, there):
            for _ in range(50):
                there.call(argv=["sleep", "1000"]).close()
            await there.call(argv=["true"]).ended()
            assert len(agent.channels) == 1
            await no_children(before)

    run(whole)


# -- the gate, as callers meet it ------------------------------------------------------------------------------------


def test_a_refusal_names_the_rule_and_is_written_down_here_and_upstream() -> None:
    async def whole() -> None:
        async with running(GateMode.STRICT) as (_, there):
            body = await there.call(argv=["rm", "a b"], shell=False).next(Kind.REFUSED)
            assert body["code"] == "gate_denied"
            assert body["message"] == (
                "the machine's gate refuses execute_command(rm 'a b'): the mode is strict and no rule allows it"
            )
            assert body["hint"] == """cmdop connect permissions allow execute_command 'rm '"'"'a b'"'"''"""
            entry = json.loads((own_folder() / LOG_FILE).read_text())
            assert (entry["verdict"], entry["operation"]) == ("deny", "execute_command")
            assert entry["actor"]["label"] == "ann@example.com"
            await there.until(lambda there: (Kind.EVENT, entry) in there.told)
            assert (own_folder() / LOG_FILE).stat().st_mode & 0o777 == 0o600

    run(whole)


@pytest.mark.parametrize(
    ("opening", "other"),
    [
        ({"argv": ["python3", "**"]}, {"argv": ["python3", "-c", "1"]}),
        ({"argv": ["ls", "*"]}, {"argv": ["ls", "secret"]}),
        ({"argv": ["ls"], "cwd": "a*"}, {"argv": ["ls"], "cwd": "ab"}),
        ({"argv": ["ls"], "cwd": "**"}, {"argv": ["ls"], "cwd": "ab"}),
        ({"kind": "read_file", "path": "a*"}, {"kind": "read_file", "path": "ab"}),
        ({"kind": "read_file", "path": "**"}, {"kind": "read_file", "path": "ab"}),
        ({"kind": "write_file", "path": "[a-z]b"}, {"kind": "write_file", "path": "ab"}),
    ],
    ids=str,
)
def test_the_rule_that_a_refusal_names_allows_what_was_asked_for_and_nothing_else(
    opening: dict[str, object], other: dict[str, object]
) -> None:
    """Whoever asks chooses the words that a person at the machine is told to paste."""

    async def whole() -> None:
        async with running(GateMode.STRICT) as (agent, there):
            body = await there.call(**{"kind": "command", **opening}).next(Kind.REFUSED)  # type: ignore[arg-type]
            if body["hint"]:
                words = shlex.split(body["hint"])[4:]
                cwd = words[words.index("--cwd") + 1] if "--cwd" in words else ""
                agent.permissions.write(Permissions(GateMode.STRICT, (rule_of("allow", words[0], words[1], cwd),)))
                for asked, code in ((opening, ("no_such_file", "command_not_found")), (other, ("gate_denied",))):
                    first, said = await there.call(**{"kind": "command", **asked}).told.get()  # type: ignore[arg-type]
                    assert first is Kind.OPENED or said["code"] in code, (asked, said)
            else:
                assert "*" in str(opening["argv"]), "only what no rule can tell apart has no hint"

    run(whole)


@pytest.mark.parametrize("planted", ["pipe", "link", "folder", "open to others"])
def test_a_log_that_was_tampered_with_holds_nothing_up(tmp_path: Path, planted: str) -> None:
    log = own_folder() / LOG_FILE
    other = tmp_path / "other"
    other.write_text("")

    async def whole() -> None:
        async with running(GateMode.BYPASS) as (_, there):
            if planted == "pipe":
                os.mkfifo(log)
            elif planted == "link":
                log.symlink_to(other)
            elif planted == "folder":
                log.mkdir()
            else:
                log.write_text("")
                log.chmod(0o666)
            assert (await there.call(argv=["true"]).ended())["status"] == 0

    run(whole)
    assert other.read_text() == ""
    assert planted != "open to others" or log.stat().st_mode & 0o777 == 0o600


def test_the_names_of_a_stream_and_of_its_actor_are_short() -> None:
    """They come back in HELLO and EVENT: a frame that is too large for the relay would end every link from then on."""

    async def whole() -> None:
        async with running() as (agent, there):
            for opening in (
                {"stream_id": "s" * 70_000},
                {"actor": {"id": "usr_1", "label": "x" * 70_000}},
                {"actor": {f"x{each}": "x" for each in range(1000)}},
            ):
                call = there.call(argv=["cat"], **opening)  # type: ignore[arg-type]
                assert (await call.next(Kind.REFUSED))["code"] == "malformed"
            assert len(agent.channels) == 0
            assert (await there.call(argv=["true"]).ended())["status"] == 0
            assert len(there.hellos) == 1

    run(whole)


def test_secrets_in_a_command_are_not_written_down() -> None:
    from cmdop_wire.ids import make_key

    key = make_key("acme").text

    async def whole() -> None:
        async with running(GateMode.STRICT) as (_, there):
            await there.call(argv=["login", key]).next(Kind.REFUSED)
            await there.until(lambda there: any(kind is Kind.EVENT for kind, _ in there.told))
            assert key not in (own_folder() / LOG_FILE).read_text()
            assert key not in json.dumps([body for kind, body in there.told if kind is Kind.EVENT])

    run(whole)


def test_without_an_approver_it_is_denied_at_once_naming_what_would_help() -> None:
    async def whole() -> None:
        async with running(GateMode.DEFAULT, ASK) as (_, there):
            started = time.monotonic()
            body = await there.call(argv=["make", "deploy"]).next(Kind.REFUSED)
            assert time.monotonic() - started < 10
            assert body["code"] == "approval_unavailable"
            assert body["hint"] == "cmdop connect approvals"  # an allow rule does not outweigh an ask rule
            assert "rule: ask execute_command make **" in body["message"]
            dangerous = await there.call(argv=["rm", "-rf", "build"]).next(Kind.REFUSED)
            assert dangerous["hint"] == "cmdop connect permissions allow execute_command 'rm -rf build'"
            floor = await there.call(argv=["rm", "-rf", "/"]).next(Kind.REFUSED)
            assert "hint" not in floor or floor["hint"] == ""

    run(whole)


@pytest.mark.parametrize("approved", [True, False])
def test_an_approver_decides_and_his_time_does_not_count(approved: bool) -> None:
    async def whole() -> None:
        async with running(GateMode.DEFAULT, Rule(GateVerdict.ASK, GateOperation.EXECUTE_COMMAND)) as (agent, there):
            agent.admission.approvers += 1
            call = there.call(argv=["sh", "-c", "sleep 0.2; echo done"], timeout=0.5)
            assert (await call.next(Kind.NOTICE))["code"] == "waiting_for_approval"
            (waiting,) = agent.admission.waiting.values()
            assert (waiting.actor, str(waiting.request)) == (
                "ann@example.com",
                "execute_command(sh -c 'sleep 0.2; echo done')",
            )
            await asyncio.sleep(0.8)
            assert agent.admission.answer(waiting.number, approved=approved)
            assert not agent.admission.answer(waiting.number, approved=True)
            if approved:
                assert (await call.ended())["status"] == 0
            else:
                assert (await call.next(Kind.REFUSED))["code"] == "gate_denied"
            assert agent.admission.waiting == {}

    run(whole)


def test_nobody_answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from cmdop_agent import admission
    from cmdop_wire.frames import Limits

    monkeypatch.setattr(admission, "LIMITS", Limits(approval=0.3))

    async def whole() -> None:
        async with running(GateMode.DEFAULT, ASK) as (agent, there):
            agent.admission.approvers += 1
            call = there.call(argv=["make"])
            await call.next(Kind.NOTICE)
            assert "nobody answered" in (await call.next(Kind.REFUSED))["message"]
            assert agent.admission.waiting == {}

    run(whole)


@pytest.mark.parametrize("how", ["close", "cut"])
def test_a_caller_who_leaves_withdraws_his_request(how: str) -> None:
    async def whole() -> None:
        async with running(GateMode.DEFAULT, ASK) as (agent, there):
            agent.admission.approvers += 1
            call = there.call(argv=["make"])
            await call.next(Kind.NOTICE)
            if how == "close":
                call.close()
            else:
                there.cut()
            async with asyncio.timeout(10):
                while agent.admission.waiting:
                    await agent.admission.changed()
            entries = [json.loads(line) for line in (own_folder() / LOG_FILE).read_text().splitlines()]
            assert entries[-1]["verdict"] == "deny"
            assert "went away" in entries[-1]["reason"]
            await there.linked()

    run(whole)


def test_what_is_denied_while_a_person_thinks_stays_denied() -> None:
    async def whole() -> None:
        async with running(GateMode.DEFAULT, ASK) as (agent, there):
            agent.admission.approvers += 1
            call = there.call(argv=["make"])
            await call.next(Kind.NOTICE)
            (own_folder() / "permissions.yaml").unlink()
            agent.admission.answer(next(iter(agent.admission.waiting)), approved=True)
            assert (await call.next(Kind.REFUSED))["code"] == "gate_denied"

    run(whole)


def test_a_hostile_request_cannot_grow_an_answer_beyond_a_frame() -> None:
    async def whole() -> None:
        async with running(GateMode.STRICT) as (_, there):
            body = await there.call(argv=["'" * 60_000]).next(Kind.REFUSED)
            assert len(json.dumps(body)) < 10_000
            assert (await there.call(argv=["true"]).next(Kind.REFUSED))["code"] == "gate_denied"
            assert len(there.hellos) == 1

    run(whole)


# -- seeding ---------------------------------------------------------------------------------------------------------


def test_the_workspace_s_defaults_are_taken_once() -> None:
    rules = [{"kind": "deny", "operation": "session", "match": "*"}]

    async def whole() -> None:
        async with relay() as there:
            there.welcome = {"seeds": {"gate_mode": "default", "gate_rules": rules}}
            async with running(None, at=there) as (agent, _):
                await there.until(lambda there: (Kind.SEED, {"seeded": True}) in there.told)
                assert agent.permissions.read().mode is GateMode.DEFAULT
                assert (await there.call("session").next(Kind.REFUSED))["code"] == "gate_denied"
                assert (await there.call(argv=["true"]).ended())["status"] == 0
                assert agent.registration.is_seeded
                beats = [body for kind, body in there.told if kind is Kind.HEARTBEAT]
                assert beats[-1]["gate_mode"] == "default"
            there.welcome = {"seeds": {"gate_mode": "bypass", "gate_rules": []}}
            async with running(None, at=there, accept_bypass=True) as (agent, _):
                await there.until(lambda there: there.told.count((Kind.SEED, {"seeded": True})) == 2)
                assert agent.permissions.read().mode is GateMode.DEFAULT

    run(whole)


@pytest.mark.parametrize(
    ("seeds", "accepted", "mode"),
    [
        ({"gate_mode": "bypass", "gate_rules": []}, False, GateMode.STRICT),
        ({"gate_mode": "bypass", "gate_rules": []}, True, GateMode.BYPASS),
        ({"gate_mode": "open", "gate_rules": []}, True, GateMode.STRICT),
        ({"gate_mode": "default", "gate_rules": [{"kind": "allow", "operation": "execute_command", "match": "**"}]},
         True, GateMode.STRICT),
        ({"gate_mode": "default", "gate_rules": "all"}, True, GateMode.STRICT),
        ({}, True, GateMode.STRICT),
    ],
)  # fmt: skip
def test_a_seed_that_is_too_much_is_strict(seeds: dict[str, object], accepted: bool, mode: GateMode) -> None:
    async def whole() -> None:
        async with relay() as there:
            there.welcome = {"seeds": seeds}
            async with running(None, at=there, accept_bypass=accepted) as (agent, _):
                await there.until(lambda there: (Kind.SEED, {"seeded": True}) in there.told)
                assert (agent.permissions.read().mode, agent.permissions.read().rules) == (mode, ())

    run(whole)


def test_until_it_is_seeded_everything_is_denied() -> None:
    async def whole() -> None:
        async with running(None) as (_, there):
            assert (await there.call(argv=["true"]).next(Kind.REFUSED))["code"] == "gate_denied"
            assert there.hellos[0]["gate"] == {"mode": "strict", "seeded": False}

    run(whole)


@pytest.mark.slow
def test_a_thousand_openings_leak_nothing() -> None:
    async def whole() -> None:
        async with running() as (agent, there):
            await there.call(argv=["true"]).ended()
            before, descriptors = children(), len(list(Path("/proc/self/fd").iterdir()))
            for number in range(1000):
                call = there.call("session" if number % 2 else "command", argv=["sleep", "1000"])
                await call.next(Kind.OPENED)
                call.close()
            await no_children(before)
            async with asyncio.timeout(10):
                while len(agent.channels) > 1:
                    await asyncio.sleep(0.02)
            assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
            with contextlib.suppress(ChildProcessError):
                assert os.waitpid(-1, os.WNOHANG) == (0, 0)

    run(whole)
