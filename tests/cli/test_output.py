"""What reaches a terminal, a pipe and a program: hostile text, forms of output, secrets, streams that go away."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from cmdop_cli.exit_meanings import EXIT_MEANINGS
from cmdop_cli.failures import EXIT, Code, Failure, document
from cmdop_cli.safe_text import safe, width
from cmdop_sdk.errors import LocalCode
from cmdop_wire.ids import make_key, make_token, mask
from cmdop_wire.vocab import ErrorCode, Exit
from tests.cli.hostile import NAMES
from tests.cli.places import KEYS, state, write
from tests.terminal import COMMAND, Cmdop, Terminal

REPOSITORY = Path(__file__).parent.parent.parent
SHOW = [sys.executable, "-m", "tests.cli.shower"]
Start = Callable[..., Terminal]


def piped(*arguments: str, environ: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*SHOW, *arguments], env=environ, cwd=REPOSITORY, capture_output=True, check=False)


def shown(terminal: Start, *arguments: str, **environ: str) -> bytes:
    """Return every byte that a real terminal was sent."""
    screen = terminal([*SHOW, *arguments], environ={"PYTHONPATH": str(REPOSITORY), **environ}, width=80)
    assert screen.end() == 0
    return screen.written


def assert_only_text(written: bytes, *, terminal: bool = False) -> None:
    """Fail on any control byte but line feed and tab, and on anything invisible or reordering."""
    text = written.decode("utf-8")
    allowed = {"\n", "\t"}
    if terminal:
        text = text.replace("\r\n", "\n")  # the terminal driver's own line ends
    bad = {
        character
        for character in text
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    }
    assert not bad, sorted(map(ascii, bad))
    assert not re.search(r"\u034f|\u115f|\u2800|\u3164|\uffa0|\ufe0f|[\U000e0100-\U000e01ef]", text)


@pytest.mark.parametrize("what", ["listing", "record", "failure"])
def test_a_terminal_gets_only_text(terminal: Start, what: str) -> None:
    assert_only_text(shown(terminal, what), terminal=True)


@pytest.mark.parametrize("what", ["listing", "record", "failure"])
def test_a_pipe_gets_only_text(isolated: dict[str, str], what: str) -> None:
    done = piped(what, environ=isolated)
    assert done.returncode == 0
    assert_only_text(done.stdout)
    assert_only_text(done.stderr)


def test_every_item_of_a_hostile_list_is_one_line_of_a_pipe(isolated: dict[str, str]) -> None:
    lines = piped("listing", environ=isolated).stdout.decode().split("\n")
    assert [line.split("\t")[0] for line in lines[:-1]] == [str(number) for number in range(len(NAMES))]
    assert {line.count("\t") for line in lines[:-1]} == {3}


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_json_is_exact_and_ascii(isolated: dict[str, str], terminal: Start, form: str) -> None:
    out = piped("listing", form, environ=isolated).stdout
    assert out.isascii()
    items = json.loads(out)["items"] if form == "json" else [json.loads(line) for line in out.splitlines()]
    assert [item["name"] for item in items] == NAMES
    assert [item["tags"] for item in items] == [{name: [name]} for name in NAMES]
    assert_only_text(shown(terminal, "listing", form), terminal=True)


def test_the_screen_of_a_terminal_is_aligned(terminal: Start) -> None:
    screen = terminal([*SHOW, "listing"], environ={"PYTHONPATH": str(REPOSITORY)}, width=80, height=200)
    assert screen.end() == 0
    lines = [line for line in screen.text.splitlines() if line.strip()]
    assert len(lines) == len(NAMES) + 1  # the heading; nothing wrapped, nothing was overwritten
    place = lines[0].index("NAME")
    wide = lines[1 + NAMES.index("日本語の名前")]
    assert wide.replace(" ", "").startswith("62日本語の名前") or wide[place:].startswith("日本語の名前")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stdout_of_another_encoding_degrades(isolated: dict[str, str], encoding: str) -> None:
    for what in ("listing", "record", "failure", "secret"):
        done = piped(what, environ=isolated | {"PYTHONIOENCODING": encoding})
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        done.stdout.decode(encoding)


def test_a_profile_with_a_hostile_account(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    for name in (name for name in NAMES if name and "\ud800" not in name):
        servers = {"prod": {"url": "http://127.0.0.1:9", "email": name}}
        write(isolated, tomli_w.dumps({"profiles": {"default": {"servers": servers}}}).encode(), "profiles.toml")
        assert_only_text(cmdop.here("profile", "list").ok().out.encode())
        assert cmdop.here("profile", "list", "--json").ok().json["items"][0]["email"] == name


def test_a_hostile_word_on_the_line_is_shown_as_text(cmdop: Cmdop) -> None:
    for name in (name for name in NAMES if name.strip() and "\0" not in name and "\ud800" not in name):
        for line in ([name], ["workspace", name], ["workspace", "use", name], ["config", "get", name], ["-w", name]):
            ran = cmdop.here(*line)
            assert ran.code != Exit.DONE or name in ("--help", "-rf"), line
            assert_only_text(ran.err.encode())
            assert "Traceback" not in ran.err


@given(st.text())
def test_safe_leaves_only_text_and_is_stable(text: str) -> None:
    once = safe(text)
    assert all(unicodedata.category(character)[0] != "C" for character in once)
    assert safe(once) == once
    assert width(once) >= 0


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_safe_changes_no_plain_text(text: str) -> None:
    assert safe(text) == text


def test_safe_keeps_the_names_of_people() -> None:
    for name in ("naïve café", "日本語", "Ελένη", "עברית", "عربي", "हिन्दी", "ไทย", "Åsa 🙂"):
        assert safe(name) == name


# -- forms ---------------------------------------------------------------------------------------------------------


def test_one_listing_in_every_form(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    assert cmdop.here("profile", "list").ok().out == "true\tdefault\tprod\t\t\tacme\n"
    assert cmdop.here("profile", "list", "-q").ok().out == "default\n"
    assert cmdop.here("profile", "list", "--fields", "name,workspace.slug").ok().out == "default\tacme\n"
    assert cmdop.here("profile", "list", "-o", "table").ok().out == (
        "   NAME     MODE  SERVER  EMAIL  WORKSPACE\n*  default  prod  -       -      acme\n"
    )
    document = cmdop.here("profile", "list", "--json").ok().json
    assert (document["schema"], document["next"]) == ("cmdop.profile.v1", None)
    line = json.loads(cmdop.here("profile", "list", "-o", "ndjson").ok().out)
    assert [line] == [{"schema": "cmdop.profile.v1", **item} for item in document["items"]]
    assert document["items"][0]["workspace"] == {"id": "ws_" + "a" * 20, "slug": "acme"}
    assert document["items"][0]["email"] is None


def test_fields_and_limit_hold_in_json_too(cmdop: Cmdop) -> None:
    picked = cmdop.here("config", "list", "--json", "--fields", "value,name", "--limit", "2").ok().json["items"]
    assert [list(item) for item in picked] == [["value", "name"]] * 2
    wrong = cmdop.here("config", "list", "--fields", "nmae")
    assert (wrong.code, wrong.out) == (Exit.USAGE, "")
    assert "--fields" in wrong.err


def test_a_default_form_from_variable_and_config(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    assert cmdop.with_(CMDOP_OUTPUT="json").here("mode").ok().json["mode"] == "prod"
    cmdop.here("config", "set", "output", "json").ok()
    assert cmdop.here("mode").ok().json["mode"] == "prod"
    assert cmdop.with_(CMDOP_OUTPUT="tsv").here("mode").ok().out == "prod\n"
    assert cmdop.with_(CMDOP_OUTPUT="tsv").here("mode", "-o", "quiet").ok().out == "prod\n"
    assert cmdop.with_(CMDOP_OUTPUT="yaml").here("mode").code == Exit.LOCAL_STATE


def test_a_pager_shows_what_is_longer_than_the_screen(
    terminal: Start, isolated: dict[str, str], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    for pager, height, is_used in ((f"tee {seen}", 5, True), (f"tee {seen}", 100, False), ("", 5, False)):
        seen.unlink(missing_ok=True)
        screen = terminal([str(COMMAND), "config", "list"], environ={"CMDOP_PAGER": pager}, width=80, height=height)
        assert screen.end() == 0
        assert seen.exists() == is_used
    assert b"require_workspace" in screen.written
    broken = terminal([str(COMMAND), "config", "list"], environ={"CMDOP_PAGER": "/nonexistent"}, width=80, height=5)
    assert broken.end() == 0
    assert b"warning: the pager" in broken.written
    assert b"require_workspace" in broken.written
    piped_too = subprocess.run(
        [COMMAND, "config", "list"], env=isolated | {"CMDOP_PAGER": f"tee {seen}"}, capture_output=True, check=True
    )
    assert not seen.exists()
    assert b"require_workspace" in piped_too.stdout


# -- errors --------------------------------------------------------------------------------------------------------

FAILING: list[list[str]] = [
    ["nosuch"],
    ["workspace", "nosuch"],
    ["workspace"],
    ["workspace", "current", "--nosuch"],
    ["workspace", "current", "surplus"],
    ["workspace", "switch"],
    ["workspace", "current"],
    ["workspace", "use", "Not A Slug"],
    ["mode", "staging"],
    ["config", "get", "nosuch"],
    ["--mode", "staging", "mode"],
    ["--limit", "none", "mode"],
    ["--api-key", "cmd_literal", "mode"],
    ["-w", "a", "-w", "b", "mode"],
    ["--server", "http://example.com", "workspace", "current"],
    ["--output"],
]


@pytest.mark.parametrize("line", FAILING, ids=" ".join)
@pytest.mark.parametrize("place", ["first", "last", "variable"])
def test_under_json_an_error_is_one_object_on_stderr(cmdop: Cmdop, line: list[str], place: str) -> None:
    if place == "variable":
        ran = cmdop.with_(CMDOP_OUTPUT="json").here(*line)
    elif line[-1] == "--output" and place == "last":
        return
    else:
        ran = cmdop.here(*(["--json", *line] if place == "first" else [*line, "--json"]))
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert set(ran.error) == {
        "schema", "code", "message", "hint", "transient", "http_status", "request_id", "workspace", "exit_code",
    }  # fmt: skip
    assert ran.error["exit_code"] == ran.code != 0


def test_an_error_for_people_says_what_why_and_how(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    ran = cmdop.here("workspace", "current", "--expect", "beta")
    assert (ran.code, ran.out) == (Exit.GUARD, "")
    assert ran.err == (
        "error: expected workspace beta, but this would act in acme\n"
        "why: workspace acme (from the active workspace)\n"
        "fix: cmdop --workspace beta workspace current --expect beta\n"
    )


def test_every_code_has_an_exit_status_and_every_status_a_meaning() -> None:
    assert {*ErrorCode, *LocalCode, *Code} <= set(EXIT)
    assert set(EXIT_MEANINGS) == set(Exit)


def test_a_bug_leaves_no_traceback_on_the_terminal(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    key = KEYS["acme"]
    ran = cmdop.with_(CMDOP_TEST="1")("--api-key", f"file:/proc/self/mem/{key}", "workspace", "current", "--debug")
    assert ran.code == Exit.NO_CREDENTIAL
    assert "Traceback" not in ran.err
    assert key not in ran.err
    found = re.search(r"traceback in ([^)]+)", ran.err)
    assert found is not None
    path = Path(found[1])
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "Traceback" in text
    assert key not in text
    assert mask(key) in text


def test_an_unexpected_exception_is_exit_1_with_a_file(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    # A module that shadows one of the standard library is as unexpected as it gets.
    (cmdop.folder / "tomllib.py").write_text("raise RuntimeError('boom')")
    write(isolated, b"a = 1", "config.toml")
    ran = cmdop.with_(PYTHONPATH=str(cmdop.folder))("config", "validate")
    assert ran.code == Exit.BUG
    assert ran.out == ""
    assert "RuntimeError" in ran.err
    assert "boom" not in ran.err
    assert "traceback in" in ran.err


def test_failures_never_repeat_a_secret() -> None:
    for secret in (make_key("acme").text, *(make_token(kind) for kind in ("access", "refresh", "device", "sign_in"))):
        text = json.dumps(document(Failure("usage", f"got {secret}", hint=f"not {secret}")))
        assert secret not in text


def test_a_literal_key_is_refused_and_not_repeated(cmdop: Cmdop) -> None:
    for line in (["--api-key", KEYS["acme"]], [f"--api-key={KEYS['acme']}"], ["--api-key", "something"]):
        for form in ([], ["--json"], ["--debug"]):
            ran = cmdop.here(*line, "workspace", "current", *form)
            assert ran.code == Exit.USAGE
            assert KEYS["acme"] not in ran.err
            assert KEYS["acme"][20:30] not in ran.err
            assert "something" not in ran.err


# -- secrets and streams -------------------------------------------------------------------------------------------


def test_a_secret_is_boxed_on_a_terminal_and_alone_in_a_pipe(terminal: Start, isolated: dict[str, str]) -> None:
    done = piped("secret", environ=isolated)
    assert re.fullmatch(rb"cmd_acme_[0-9A-Za-z]{36}\n", done.stdout)
    assert re.fullmatch(rb"cmd_acme_[0-9A-Za-z]{36}\n", piped("secret", "quiet", environ=isolated).stdout)
    written = shown(terminal, "secret").decode()
    assert re.search(r"│ cmd_acme_[0-9A-Za-z]{36} │", written)
    assert written.count("cmd_acme_") == 1
    assert "laptop" in written
    narrow = shown(terminal, "secret", COLUMNS="30").decode()
    assert re.search(r"^cmd_acme_[0-9A-Za-z]{36}\r$", narrow, re.MULTILINE) or "│" in narrow
    plain = shown(terminal, "secret", PYTHONIOENCODING="ascii").decode()
    assert re.search(r"\| cmd_acme_[0-9A-Za-z]{36} \|", plain)


def test_a_reader_that_leaves_is_no_error(isolated: dict[str, str]) -> None:
    for arguments in (["help", "environment"], ["workspace", "--help"], ["config", "list"], ["--version"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, env=isolated, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b""), arguments


def test_a_secret_that_nobody_reads_is_an_error(isolated: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*SHOW, "secret"], stdout=writing, stderr=subprocess.PIPE, env=isolated, cwd=REPOSITORY, check=False
    )
    os.close(writing)
    assert b"cannot be shown again" in done.stderr
    assert done.returncode == Exit.BUG


@pytest.mark.parametrize("arguments", [["config", "list"], ["--help"], ["help", "output"]])
def test_a_full_disk_is_an_error(isolated: dict[str, str], arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=isolated, check=False)
    assert done.returncode == Exit.BUG
    assert done.stderr == b"error: cannot write to stdout: no space left on device\nfix: df -h .\n"
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_closed_streams_do_not_crash(isolated: dict[str, str]) -> None:
    for closed in ((1,), (2,), (0,), (0, 1, 2)):
        close: Any = lambda closed=closed: [os.close(each) for each in closed]  # noqa: E731
        done = subprocess.run(
            [COMMAND, "mode"], preexec_fn=close, env=isolated, check=False, capture_output=1 not in closed
        )
        assert done.returncode in (Exit.DONE, Exit.BUG)


def test_interrupted_is_130_and_terminated_143(cmdop: Cmdop) -> None:
    import signal

    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = cmdop.start("--api-key", "-", "workspace", "current", stdin=subprocess.PIPE)
        assert process.stderr is not None
        # It waits for the key on stdin; give it the time to get there.
        while not _is_sleeping(process.pid):
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == status
        err = process.stderr.read()
        assert "Traceback" not in err


def _is_sleeping(pid: int) -> bool:
    """Tell whether the process waits in a read of fd 0, as the kernel says."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text()
    except OSError:
        return False
    return call.startswith("0 0x0 ")
