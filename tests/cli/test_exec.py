"""``cmdop connect exec``: one machine is like a local command, many are lines or records (D-27)."""

import asyncio
import base64
import hashlib
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmdop_agent.rules import rule_of
from cmdop_cli import without_typer
from cmdop_cli.commands import reach
from cmdop_cli.declare import declared
from cmdop_sdk.local import LocalAgent
from cmdop_wire.vocab import Exit, GateMode
from tests.cli.signed import plant
from tests.fleet import Fleet, lines, new_fleet, unique
from tests.processes import REPOSITORY, read_line
from tests.terminal import COMMAND, Cmdop, Ran

SECONDS = 30.0


def execute(cmdop: Cmdop, *arguments: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Run ``connect exec`` with bytes on every side."""
    process = cmdop.start("connect", "exec", *arguments, text=False, stdin=subprocess.PIPE)
    out, err = process.communicate(stdin or b"", timeout=SECONDS * 2)
    return process.returncode, out, err


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_gone(pids: list[int]) -> None:
    """Wait until none of these processes runs."""
    deadline = time.monotonic() + SECONDS
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.02)


# -- one machine ---------------------------------------------------------------------------------------------------


def test_streams_are_separate_and_exact(member: Cmdop) -> None:
    every_byte = bytes(range(256))
    text = "".join(f"\\{byte:03o}" for byte in every_byte)
    code, out, err = execute(member, "web-1", "--", "sh", "-c", f"printf '{text}'; printf 'no feed' >&2; exit 3")
    assert (code, out, err) == (3, every_byte, b"no feed")


def test_stdin_travels_until_its_end(member: Cmdop) -> None:
    data = secrets.token_bytes(3_000_001)
    code, out, err = execute(member, "web-1", "--", "sha256sum", stdin=data)
    assert (code, out.split()[0].decode(), err) == (0, hashlib.sha256(data).hexdigest(), b"")
    code, out, _ = execute(member, "web-1", "--", "cat", stdin=data)
    assert (code, out == data) == (0, True)


def test_who_does_not_read_stdin_does_not_wait_for_it(member: Cmdop) -> None:
    process = member.start("connect", "exec", "web-1", "--", "true", stdin=subprocess.PIPE)
    assert process.wait(SECONDS) == 0  # stdin is still open
    assert process.stdin is not None
    process.stdin.close()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 1"], 1),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_status_is_the_commands_own(member: Cmdop, command: list[str], status: int) -> None:
    ran = member("connect", "exec", "web-1", "--", *command)
    assert (ran.code, ran.out, ran.err) == (status, "", "")


def test_words_are_not_read_by_a_shell_unless_asked(member: Cmdop) -> None:
    words = ["$HOME", "a  b", "--json", ";", "*", "ü\n"]
    plain = member("connect", "exec", "web-1", "--", "printf", "<%s>", *words).ok()
    assert plain.out == "".join(f"<{word}>" for word in words)
    shell = member("connect", "exec", "web-1", "--shell", "--", "printf '<%s>'", "$((6*7))", "| tr 4 x").ok()
    assert shell.out == "<x2>"


def test_a_time_out_ends_everything_that_was_started(member: Cmdop) -> None:
    script = "sleep 1000 & echo $! $$; wait"
    ran = member("connect", "exec", "web-1", "--timeout", "1s", "--", "sh", "-c", script)
    assert ran.code == Exit.TIME_OUT
    assert "time-out after 1 s:" in ran.err
    until_gone([int(pid) for pid in ran.out.split()])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_an_interrupt_ends_the_remote_process_group(member: Cmdop, number: signal.Signals, status: int) -> None:
    process = member.start("connect", "exec", "web-1", "--", "sh", "-c", "sleep 1000 & echo $! $$; wait")
    assert process.stdout is not None
    pids = [int(pid) for pid in read_line(process.stdout, process).split()]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    assert process.wait(SECONDS) == status
    until_gone(pids)


def test_an_interrupt_at_a_terminal_is_told_on_lines_of_its_own(member: Cmdop) -> None:
    for machines in (("web-1",), ("web-1", "web-2")):
        terminal = member.on_terminal("connect", "exec", *machines, "--", "sh", "-c", "echo begun; exec sleep 1000")
        terminal.until("begun")
        terminal.type("\x03")
        assert terminal.end() == Exit.INTERRUPTED
        shown = terminal.text.splitlines()
        assert "error: interrupted" in shown
        assert not [line for line in shown if line.startswith("^C") and line != "^C"]


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "cmdop_cli.door":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from cmdop_cli.__main__ import main
sys.exit(main())
"""


def test_an_interrupt_before_it_begins_says_no_more_than_that(member: Cmdop) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, "connect", "exec", "web-1", "--", "true"],
        env=member.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == Exit.INTERRUPTED
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == ["error", "why"]


def test_a_reader_that_leaves_ends_the_command(member: Cmdop) -> None:
    process = member.start("connect", "exec", "web-1", "--", "sh", "-c", "echo $$; exec yes")
    assert process.stdout is not None
    pid = int(read_line(process.stdout, process))
    process.stdout.close()
    process.wait(SECONDS)
    until_gone([pid])


def test_a_failure_of_ours_is_255_and_json_tells_the_real_one(member: Cmdop, fleet: Fleet) -> None:
    for machine, code, real in (
        ("nowhere-1", "not_found", 3),
        ("far-1", "not_found", 3),
        ("off-1", "agent_offline", 69),
    ):
        ran = member("connect", "exec", machine, "--json", "--", "true")
        assert (ran.code, ran.out) == (Exit.REMOTE, ""), machine
        assert (ran.error["code"], ran.error["exit_code"]) == (code, real), machine
        assert machine in ran.error["message"]
    ran = member("connect", "exec", "web-1", "--", "no-such-command")
    assert ran.code == Exit.REMOTE
    assert "no-such-command" in ran.err
    assert "--shell" not in ran.err


def test_a_word_that_was_meant_for_a_shell_gets_one(member: Cmdop) -> None:
    ran = member("connect", "exec", "web-1", "--", "echo a | tr a b")
    assert ran.code == Exit.REMOTE
    fix = next(line.removeprefix("fix: cmdop ") for line in ran.err.splitlines() if line.startswith("fix: "))
    assert fix == "connect exec web-1 --shell -- 'echo a | tr a b'"
    assert member(*shlex.split(fix)).ok().out == "b\n"


def test_the_loop_of_the_page_for_ci_reaches_every_machine(member: Cmdop) -> None:
    page = (REPOSITORY / "docs" / "ci.md").read_text()
    block = next(each for each in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "while read" in each)
    # A command that lasts, on machines that every test has: what it does with its stdin is the point.
    listing, _, loop = block.replace("systemctl is-active nginx", "sh -c 'sleep 0.5; echo it is'").partition(
        "> machines\n"
    )
    assert listing.endswith("cmdop connect list --online --quiet ")
    environ = member.environ | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-c", f"{listing}> listed\nprintf 'web-1\\ndb-1\\n' > machines\n{loop}"],
        env=environ,
        cwd=member.folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "it is\nit is\n", "")
    assert {"web-1", "db-1"} <= set((member.folder / "listed").read_text().split())


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("web-1", "web-1 -- COMMAND"),
        ("web-1 echo 'a b'", "web-1 -- echo 'a b'"),
        ("web-1 ls -la", "web-1 -- ls -la"),
        ("-w acme --mode=prod web-1 ls -la", "-w acme --mode=prod web-1 -- ls -la"),
        ("--tag env:prod ls", "MACHINE -- COMMAND"),
        ("web-1 --", "MACHINE -- COMMAND"),
    ],
)
def test_the_two_dashes_that_were_forgotten(member: Cmdop, line: str, fix: str) -> None:
    ran = member("connect", "exec", *shlex.split(line))
    assert ran.code == Exit.USAGE
    assert ran.err.splitlines() == ["error: what to run stands after two dashes", f"fix: cmdop connect exec {fix}"]


def test_a_fix_stays_in_the_workspace_of_the_line(member: Cmdop, fleet: Fleet) -> None:
    slug = fleet.world.acme.slug
    ran = member("connect", "exec", "nowhere-1", "--workspace", slug, "--", "true")
    assert ran.code == Exit.REMOTE
    assert ran.err.splitlines()[-1] == f"fix: cmdop connect list --workspace {slug}"


def test_a_guest_runs_nothing(cmdop: Cmdop, fleet: Fleet) -> None:
    plant(cmdop, fleet.world, "guest")
    ran = cmdop("connect", "exec", "web-1", "--json", "--", "true")
    assert (ran.code, ran.error["code"], ran.error["exit_code"]) == (Exit.REMOTE, "forbidden", 5)


def test_what_is_wrong_with_the_line_stays_2_and_a_guard_stays_7(member: Cmdop, cmdop: Cmdop) -> None:
    for line in (["web-1"], ["web-1", "uptime"], ["--", "true"], ["web-1", "--timeout", "soon", "--", "true"],
                 ["web-1", "--timeout", "8d", "--", "true"], ["web-1", "--parallel", "0", "--", "true"],
                 ["web-1", "--nosuch", "--", "true"], ["web-1", "--"]):  # fmt: skip
        ran = member.here("connect", "exec", *line)
        assert (ran.code, ran.out) == (Exit.USAGE, ""), line
    ran = member.with_(CMDOP_READONLY="1").here("connect", "exec", "web-1", "--", "true")
    assert ran.code == Exit.GUARD
    assert cmdop.here("connect", "exec", "web-1", "--", "true").code == Exit.REMOTE  # not signed in
    assert cmdop.here("connect", "exec", "web-1", "web-2", "--", "true").code == Exit.NO_CREDENTIAL


def test_a_record_has_text_or_base64(member: Cmdop) -> None:
    ran = member("connect", "exec", "web-1", "--json", "--", "sh", "-c", "printf 'ä\\n'; echo e >&2; exit 5")
    shown = ran.json
    assert (ran.code, ran.err) == (5, "")
    assert shown["schema"] == "cmdop.execution.v1"
    assert (shown["machine"], shown["exit_code"], shown["stdout"], shown["stderr"]) == ("web-1", 5, "ä\n", "e\n")
    assert (shown["encoding"], shown["signal"], shown["timed_out"], shown["error"]) == ("utf-8", None, False, None)
    shown = member("connect", "exec", "web-1", "--json", "--", "printf", "\\377\\000").ok().json
    assert (shown["encoding"], base64.b64decode(shown["stdout"])) == ("base64", b"\xff\0")
    big = member("connect", "exec", "web-1", "--json", "--", "head", "-c", "9000000", "/dev/zero").ok().json
    assert (big["truncated"], len(big["stdout"])) == (True, 8 * 1024 * 1024)


def test_a_dry_run_runs_nothing(member: Cmdop, fleet: Fleet) -> None:
    mark = fleet.home / unique("mark")
    ran = member("connect", "exec", "web-1", "--dry-run", "--json", "--", "touch", str(mark)).ok()
    assert (ran.json["machines"], ran.json["argv"], ran.json["planned"]) == (["web-1"], ["touch", str(mark)], True)
    assert not mark.exists()


def test_a_gate_that_is_against_it_says_so(member: Cmdop, fleet: Fleet) -> None:
    name = unique("strict")
    fleet.start(name, gate=GateMode.STRICT)
    ran = member("connect", "exec", name, "--json", "--", "true")
    assert (ran.code, ran.error["code"], ran.error["exit_code"]) == (Exit.REMOTE, "gate_denied", 5)
    assert ran.error["hint"] == f"on {name}: cmdop connect permissions allow execute_command true"
    got = member("connect", "get", f"{name}:notes.txt", "-")
    assert f"\nfix: on {name}: cmdop connect permissions allow read_file " in got.err


def test_waiting_for_a_person_at_the_machine_is_said_at_once(member: Cmdop, fleet: Fleet) -> None:
    name, mark = unique("asking"), unique("mark")
    fleet.start(name, gate=GateMode.DEFAULT, rules=(rule_of("ask", "execute_command", "touch *"),))
    line = ("connect", "exec", name, "--timeout", "1s")
    refused = member(*line, "--json", "--", "touch", mark)
    assert (refused.code, refused.error["code"]) == (Exit.REMOTE, "approval_unavailable")
    assert refused.error["hint"] == f"on {name}: cmdop connect approvals"

    async def approve() -> int:
        async with LocalAgent(fleet[name].directory.parent) as person:
            await person.attend()
            process = member.start(*line, "--", "touch", mark)
            waiting = await person.approvals(wait=30)
            assert process.stderr is not None
            assert "waiting for approval at the machine" in await asyncio.to_thread(read_line, process.stderr, process)
            assert not (fleet.home / mark).exists()
            await asyncio.sleep(1.5)  # longer than the time-out, for which waiting does not count (D-25)
            await person.answer(waiting[0].number, approved=True)
            return await asyncio.to_thread(process.wait, SECONDS)

    assert asyncio.run(approve()) == 0
    assert (fleet.home / mark).exists()


def test_a_stored_sign_in_is_as_good_as_a_key(cmdop: Cmdop, fleet: Fleet) -> None:
    plant(cmdop, fleet.world, "member")
    assert cmdop("connect", "exec", "web-1", "--", "echo", "there").ok().out == "there\n"


# -- what it costs -------------------------------------------------------------------------------------------------

CHILD = """
import json, os, sys
sys.argv = ["cmdop", *json.loads(sys.argv[1])]
from cmdop_cli.__main__ import run
status = run()
os.write(3, json.dumps([status, sorted(sys.modules)]).encode())
"""
UNWANTED = {
    *("typer", "httpx", "httpcore", "h11", "rich", "keyring", "pydantic", "tomlkit", "yaml", "platformdirs", "django"),
}


@pytest.mark.parametrize("by", ["key", "sign-in"])
def test_one_command_loads_no_http_client(cmdop: Cmdop, fleet: Fleet, by: str) -> None:
    if by == "key":
        environ = cmdop.environ | fleet.as_("member")
    else:
        plant(cmdop, fleet.world, "member")
        environ = cmdop.environ
    line = '["connect", "exec", "web-1", "--", "true"]'
    reader, writer = os.pipe()
    try:
        subprocess.run(
            [sys.executable, "-c", f"import os; os.dup2({writer}, 3)\n{CHILD}", line],
            env=environ, cwd=REPOSITORY, check=True, pass_fds=[writer], timeout=SECONDS * 2,
        )  # fmt: skip
        os.close(writer)
        with open(reader, "rb", closefd=False) as report:
            status, modules = json.loads(report.read())
    finally:
        os.close(reader)
    assert status == 0
    assert not UNWANTED & set(modules)
    assert len(modules) <= 320, len(modules)


@pytest.mark.slow
def test_the_straight_way_is_the_whole_way(member: Cmdop, cmdop: Cmdop, fleet: Fleet) -> None:
    """What is read without Typer does what the command does."""
    whole = declared(reach.execute)
    assert (without_typer.DECLARED.needs, without_typer.DECLARED.mutates) == (whole.needs, whole.mutates)
    for who, ours, command in (
        (member, ["web-1"], ["sh", "-c", "echo out; echo err >&2; exit 9"]),
        (member, ["web-1", "--timeout", "1s"], ["sleep", "60"]),
        (member, ["web-1", "--timeout", "never"], ["true"]),
        (member, ["nowhere-1"], ["true"]),
        (member, ["off-1"], ["true"]),
        (member, ["web-1"], ["no-such-command"]),
        (cmdop, ["web-1"], ["true"]),
        (member.with_(CMDOP_READONLY="1"), ["web-1"], ["true"]),
        (member.with_(CMDOP_WORKSPACE=""), ["web-1"], ["true"]),
        (member.with_(CMDOP_EXPECT_WORKSPACE="other"), ["web-1"], ["true"]),
        (member.with_(CMDOP_OUTPUT="json"), ["web-1"], ["echo", "text"]),
    ):
        straightly = who("connect", "exec", *ours, "--", *command)
        wholly = who("connect", "exec", *ours, "--parallel", "10", "--", *command)
        assert straightly.code == wholly.code, (ours, command)
        assert without_time(straightly.out) == without_time(wholly.out)
        assert straightly.err == wholly.err.replace(" --parallel 10", "")


def without_time(text: str) -> str:
    """Return a record without how long it took."""
    return re.sub(r'"duration": [0-9.]+', "", text)


# -- many machines -------------------------------------------------------------------------------------------------


def by_machine(ran: Ran) -> dict[str, list[str]]:
    """Return the lines of a fan-out in a pipe by machine."""
    found: dict[str, list[str]] = {}
    for line in ran.out.splitlines():
        name, _, text = line.partition("\t")
        found.setdefault(name, []).append(text)
    return found


def test_lines_bear_their_machines_name(member: Cmdop) -> None:
    ran = member("connect", "exec", "web-1", "web-2", "db-1", "--", "sh", "-c", "echo one; echo two >&2; printf three")
    ran.ok()
    assert by_machine(ran) == {name: ["one", "three"] for name in ("web-1", "web-2", "db-1")}
    assert sorted(ran.err.splitlines()) == ["3 machines: 3 succeeded", "db-1\ttwo", "web-1\ttwo", "web-2\ttwo"]


def test_one_that_fails_makes_it_8_and_is_named(member: Cmdop) -> None:
    ran = member("connect", "exec", "web-1", "off-1", "nowhere-1", "--", "sh", "-c", "echo here; exit 4")
    assert ran.code == Exit.PARTIAL
    assert by_machine(ran) == {"web-1": ["here"]}
    assert ran.err.splitlines()[-4:] == [
        "3 machines: 0 succeeded, 3 failed", "  web-1: exit 4", "  off-1: offline", "  nowhere-1: no such machine",
    ]  # fmt: skip


def test_who_failed_for_one_reason_is_named_together(member: Cmdop, fleet: Fleet) -> None:
    away = [unique("away") for _ in range(4)]
    for name in away:
        fleet.offline(name)
    line = ("connect", "exec", "web-1", *away, "nowhere-1", "web-2", "nowhere-2", "--", "sh", "-c", "exit 4")
    last = member(*line).err.splitlines()[-4:]
    assert last == [
        "8 machines: 0 succeeded, 8 failed", "  web-1, web-2: exit 4", f"  {', '.join(away)}: offline",
        "  nowhere-1, nowhere-2: no such machine",
    ]  # fmt: skip
    terminal = member.on_terminal(*line, width=80)
    assert terminal.end() == Exit.PARTIAL
    shown = [each.rstrip() for each in terminal.text.splitlines()]
    at = next(place for place, each in enumerate(shown) if each.startswith("8 machines: "))
    assert " ".join(" ".join(shown[at:]).split()) == " ".join(" ".join(last).split())
    assert max(map(len, shown[at:])) <= 80


def test_a_long_reason_is_told_once(cmdop: Cmdop, fleet: Fleet) -> None:
    """With all machines to which it happened; a program finds it beside each."""
    key = fleet.world.key("member", "machines:read")["text"]
    reader = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=fleet.world.server.url)
    line = ("connect", "exec", "web-1", "web-2", "nowhere-1")
    *lines, counted, reason = reader(*line, "--", "true").err.splitlines()
    assert sorted(lines) == ["nowhere-1\tforbidden", "web-1\tforbidden", "web-2\tforbidden"]
    assert counted == "3 machines: 0 succeeded, 3 failed"
    assert reason.startswith("  web-1, web-2, nowhere-1: not allowed: ")
    items = reader(*line, "--json", "--", "true").json["items"]
    assert {each["error"]["message"] for each in items} == {reason.partition(": ")[2]}


def test_many_machines_give_one_record_each(member: Cmdop) -> None:
    line = ("connect", "exec", "web-1", "off-1", "web-2", "--json", "--", "hostname")
    ran = member(*line)
    assert (ran.code, ran.json["schema"], ran.json["summary"]) == (
        Exit.PARTIAL,
        "cmdop.execution.v1",
        {"machines": 3, "succeeded": 2, "failed": 1},
    )
    items = {each["machine"]: each for each in ran.json["items"]}
    assert [each["machine"] for each in ran.json["items"]] == ["web-1", "off-1", "web-2"]
    assert items["web-1"]["exit_code"] == 0
    assert (items["off-1"]["exit_code"], items["off-1"]["error"]["code"]) == (None, "agent_offline")
    streamed = member(*line[:-3], "--output", "ndjson", "--", "hostname")
    assert streamed.code == Exit.PARTIAL
    assert {each["machine"] for each in lines(streamed.out)} == {"web-1", "off-1", "web-2"}
    assert all(each["schema"] == "cmdop.execution.v1" for each in lines(streamed.out))


def test_ndjson_comes_as_machines_finish(member: Cmdop) -> None:
    mark = unique("wait")
    script = f"while [ ! -e ~/{mark} ]; do sleep 0.05; done; echo done"
    slow = member.start("connect", "exec", "web-1", "off-1", "-o", "ndjson", "--", "sh", "-c", script)
    assert slow.stdout is not None
    assert '"off-1"' in read_line(slow.stdout, slow)  # while the other one still runs
    assert slow.poll() is None
    member("connect", "exec", "web-2", "--shell", "--", f"touch ~/{mark}").ok()  # one home serves the whole fleet
    assert '"done\\n"' in read_line(slow.stdout, slow)
    assert slow.wait(SECONDS) == Exit.PARTIAL


def test_tags_choose_machines(cmdop: Cmdop, fleet: Fleet) -> None:
    owner = cmdop.with_(**fleet.as_("member"))
    tag = unique("role")
    for name, value in (("web-1", "front"), ("web-2", "front"), ("db-1", "back")):
        fleet.world.as_("owner").patch(
            f"/workspaces/{fleet.world.acme.slug}/machines/{name}", json={"tags": {tag: value}}
        ).raise_for_status()
    ran = owner("connect", "exec", "--tag", f"{tag}:front", "--", "echo", "x").ok()
    assert set(by_machine(ran)) == {"web-1", "web-2"}
    ran = owner("connect", "exec", "WEB-1", "db-1", "--tag", f"{tag}:front", "--", "echo", "x").ok()
    assert sorted(by_machine(ran)) == ["WEB-1", "db-1", "web-2"]  # nothing runs twice on one machine
    assert owner("connect", "exec", "--tag", f"{tag}:none", "--", "echo", "x").code == Exit.NOT_FOUND
    assert owner.here("connect", "exec", "--tag", "front", "--", "echo", "x").code == Exit.USAGE


def test_a_tag_that_no_machine_has_is_refused_beside_a_name_too(member: Cmdop, fleet: Fleet) -> None:
    mark = unique("mark")
    for more in ([], ["--dry-run"]):
        ran = member("connect", "exec", "--tag", "typo:x", "web-1", *more, "--", "touch", mark)
        assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
        assert ran.err.startswith("error: no machine has the tag typo:x; nothing was run\n")
        assert f"\nwhy: workspace {fleet.world.acme.slug} (from " in ran.err
        assert "\nfix: cmdop connect list\n" in ran.err
    assert not (fleet.home / mark).exists()


def test_what_machines_print_steers_no_terminal(member: Cmdop) -> None:
    hostile = "printf '\\033]0;owned\\007\\033[2J\\rfake\\n\\302\\233x\\n\\376\\n'"
    terminal = member.on_terminal("connect", "exec", "web-1", "web-2", "--", "sh", "-c", hostile)
    assert terminal.end() == 0
    assert b"\x1b" not in terminal.written
    assert b"\x07" not in terminal.written
    assert "web-1 | \\x1b]0;owned\\x07\\x1b[2J\\x0dfake" in terminal.text
    piped = member("connect", "exec", "web-1", "web-2", "--", "sh", "-c", hostile).ok()
    assert not [each for each in piped.out if each not in "\t\n" and not each.isprintable()]


def test_at_a_terminal_names_are_aligned(member: Cmdop) -> None:
    terminal = member.on_terminal("connect", "exec", "web-1", "db-1", "--", "printf", "a\\tb\\n")
    assert terminal.end() == 0
    shown = sorted(line for line in terminal.text.splitlines() if " | " in line)
    assert shown == ["db-1  | a       b", "web-1 | a       b"]
    assert b"\x1b" not in terminal.written  # colours only for those who want them
    member("config", "set", "color", "true").ok()
    colored = member.on_terminal("connect", "exec", "web-1", "db-1", "--", "echo", "\\033[0m")
    assert colored.end() == 0
    assert colored.written.count(b"\x1b[") == 4  # two names, each with an end
    assert all(b"m\x1b" not in each for each in colored.written.split(b" | ")[1:])


def test_a_credential_that_nobody_accepts_is_one_failure(cmdop: Cmdop, fleet: Fleet) -> None:
    key = fleet.world.key("member", "commands:execute")
    here = cmdop.with_(**(fleet.as_("member") | {"CMDOP_API_KEY": key["text"]}))
    fleet.world.as_("member").delete(f"/workspaces/{fleet.world.acme.slug}/keys/{key['id']}").raise_for_status()
    ran = here("connect", "exec", "web-1", "web-2", "--json", "--", "true")
    assert (ran.code, ran.out) == (Exit.NO_CREDENTIAL, "")
    assert ran.error["code"] == "unauthenticated"


@pytest.mark.slow
def test_a_hundred_machines_in_one_process(cmdop: Cmdop, fleet: Fleet, tmp_path: Path) -> None:
    names = [f"node-{number}" for number in range(100)]
    many = new_fleet(fleet.world, tmp_path / "many")
    try:
        many.start(*names)
        member = cmdop.with_(**fleet.as_("member"))
        ran = member("connect", "exec", *names, "--parallel", "50", "--", "echo", "here")
        assert ran.ok().err.splitlines()[-1] == "100 machines: 100 succeeded"
        assert by_machine(ran) == {name: ["here"] for name in names}
    finally:
        many.stop()
