"""state.json under stress: many writers at once, death at any call, and whatever else may be found in its place."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_cli import paths, state_shape
from cmdop_cli.commands import choice
from cmdop_cli.declare import declared
from cmdop_cli.state import Place, parsed
from cmdop_cli.state_draft import Draft
from cmdop_sdk.store import config_dir
from cmdop_wire import ids
from cmdop_wire.vocab import Exit
from tests.cli.places import ACME, BETA, GAMMA, KEYS, read, state, write
from tests.terminal import Cmdop

FIVE = tuple({"id": f"ws_{letter * 20}", "slug": f"the-{letter}"} for letter in "vwxyz")


def forks(environ: dict[str, str], plan: dict[str, Any]) -> Any:
    """Run a plan of ``tests.cli.forks`` and return its report: exit statuses by round, or what each death left."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.forks"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env=environ,
        cwd=Path(__file__).parent.parent.parent,
        check=True,
    )
    return json.loads(done.stdout)


def many_writers(environ: dict[str, str], rounds: int) -> None:
    others = [write(environ, f"token {number}".encode(), f"token_{number}.json") for number in range(3)]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in others]
    write(environ, state(memberships=FIVE, active=FIVE[0]))
    lines = [["workspace", "use", FIVE[number % 5]["slug"]] for number in range(50)]
    assert forks(environ, {"rounds": [lines] * rounds}) == [[0] * 50] * rounds
    found = parsed(read(environ)).choice("default", "prod")
    assert found.active in [Place(**each) for each in FIVE]
    assert found.previous in [Place(**each) for each in FIVE]
    assert found.previous != found.active
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in others] == before


def test_fifty_switch_at_once(isolated: dict[str, str]) -> None:
    many_writers(isolated, rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_switch_at_once_twenty_times(isolated: dict[str, str]) -> None:
    many_writers(isolated, rounds=20)


def test_real_processes_switch_at_once(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state(memberships=FIVE, active=FIVE[0]))
    running = [cmdop.start("workspace", "use", each["slug"]) for each in FIVE]
    assert [process.communicate(timeout=60) and process.returncode for process in running] == [0] * 5
    parsed(read(isolated))


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_killed_anywhere_it_is_the_old_state_or_the_new(cmdop: Cmdop, isolated: dict[str, str], after: bool) -> None:
    path = write(isolated, state(active=BETA))
    cmdop.here("workspace", "use", "acme").ok()
    old = path.read_text()
    cmdop.here("workspace", "use", "beta").ok()
    new = path.read_text()
    path.write_text(old)
    line = ["workspace", "use", "beta"]
    found = forks(isolated, {"line": line, "path": str(path), "after": after})
    assert [each["status"] for each in found] == [-9] * (len(found) - 1) + [0]
    assert len(found) > 15  # the calls are really on its way
    assert {each["content"] for each in found} == {old, new}
    # Whoever comes next finds a lock that is free, and cleans up what the dead one left.
    assert {each["following"] for each in found} == {0}
    assert [each["left"] for each in found if each["left"]] == []


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "nul": b"\0" * 16,
    "torn": json.dumps(state()).encode()[:100],
    "no object": b"[1, 2]",
    "deep": b"[" * 100_000,
    "not utf-8": b'{"profile": "\xff"}',
    "ten megabytes": b'{"profile": "' + b"x" * 10_000_000 + b'"}',
    "twice": b'{"schema": 1, "schema": 1}',
    "no number": b'{"schema": NaN}',
    "active is a list": json.dumps(state() | {"active": []}).encode(),
    "a slug with an escape": json.dumps(state(active={"id": None, "slug": "\x1b]0;x\x07"})).encode(),
    "an id that leaves": json.dumps(state(active={"id": "../../etc", "slug": "acme"})).encode(),
    "identities are numbers": json.dumps(state() | {"identities": {"a": 1}}).encode(),
    "mode is no mode": json.dumps(state(mode="staging")).encode(),
    "bindings of nothing": json.dumps(state(bindings=({"path": "/"},))).encode(),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_a_clear_error_and_is_kept(cmdop: Cmdop, isolated: dict[str, str], content: bytes) -> None:
    path = write(isolated, content)
    for line in (["workspace", "current"], ["workspace", "use", "beta"], ["mode", "dev"], ["profile", "list"]):
        ran = cmdop.here(*line)
        assert ran.code == Exit.LOCAL_STATE, (line, ran)
        assert ran.out == ""
        assert str(path) in ran.err
        assert f"fix: mv {path}" in ran.err
        assert "Traceback" not in ran.err
        assert ran.err.count("\n") <= 3
        assert "\x1b" not in ran.err
    assert path.read_bytes() == content
    assert cmdop.here("config", "validate").code == Exit.LOCAL_STATE
    assert cmdop.here("--help").code == Exit.DONE
    assert cmdop.here("prompt").out == "?\n"


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_an_explicit_key_needs_no_state(cmdop: Cmdop, isolated: dict[str, str], content: bytes) -> None:
    write(isolated, content)
    ran = cmdop.with_(CMDOP_API_KEY=KEYS["acme"]).here("workspace", "current")
    assert (ran.code, ran.out) == (0, "acme\n")


def test_a_newer_state_is_read_and_never_written(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state() | {"schema": 2, "surprise": True})
    before = path.read_bytes()
    assert cmdop.here("workspace", "current").ok().out == "acme\n"
    ran = cmdop.here("workspace", "use", "beta")
    assert ran.code == Exit.LOCAL_STATE
    assert "newer" in ran.err
    assert path.read_bytes() == before


def test_what_a_newer_version_of_the_same_schema_added_survives(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state() | {"surprise": {"a": [1]}})
    cmdop.here("workspace", "use", "beta").ok()
    assert read(isolated)["surprise"] == {"a": [1]}


def test_loose_modes_are_tightened_with_a_warning(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state())
    path.chmod(0o644)
    path.parent.chmod(0o755)
    ran = cmdop.here("workspace", "current").ok()
    assert ran.out == "acme\n"
    assert ran.err.count("warning: ") == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert cmdop.here("workspace", "current").ok().err == ""


def test_links_are_refused(cmdop: Cmdop, isolated: dict[str, str], tmp_path: Path) -> None:
    path = write(isolated, state())
    real = tmp_path / "elsewhere.json"
    path.rename(real)
    path.symlink_to(real)
    before = real.read_bytes()
    for line in (["workspace", "current"], ["workspace", "use", "beta"]):
        ran = cmdop.here(*line)
        assert ran.code == Exit.LOCAL_STATE
        assert "link" in ran.err
    assert real.read_bytes() == before


def test_files_of_another_user_are_refused(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    folder = "/usr"
    if os.geteuid() == 0:  # root owns /usr: give a directory away instead
        path = write(isolated, state())
        os.chown(path.parent, 1, 1)
        folder = str(path.parent)
    ran = cmdop.with_(CMDOP_CONFIG_DIR=folder).here("workspace", "current")
    assert ran.code == Exit.LOCAL_STATE
    assert "another user" in ran.err


def test_no_directory_can_be_made(cmdop: Cmdop, isolated: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = cmdop.with_(CMDOP_CONFIG_DIR=f"{tmp_path}/file/cmdop").here("mode", "dev")
    assert ran.code == Exit.LOCAL_STATE
    assert ran.err.count("\n") <= 2
    keyed = cmdop.with_(CMDOP_CONFIG_DIR=f"{tmp_path}/file/cmdop", CMDOP_API_KEY=KEYS["acme"])
    assert keyed.here("workspace", "current").ok().out == "acme\n"


def test_use_creates_everything_private(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    before = os.umask(0)
    try:
        cmdop.here("mode", "dev").ok()
    finally:
        os.umask(before)
    folder = Path(isolated["CMDOP_CONFIG_DIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "state.json": 0o600,
        "state.json.lock": 0o600,
    }


def test_previous_none_and_back(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    for words, expected in (
        (["beta"], "beta"),
        (["-"], "acme"),
        (["-"], "beta"),
        (["beta"], "beta"),  # already there: the previous one stays what it was
        (["-"], "acme"),
        ([ACME["id"]], "acme"),
    ):
        cmdop.here("workspace", "use", *words).ok()
        assert cmdop.here("workspace", "current").ok().out == f"{expected}\n"
    cmdop.here("workspace", "use", "--none").ok()
    assert cmdop.here("workspace", "current").code == Exit.USAGE
    cmdop.here("workspace", "use", "-").ok()
    assert cmdop.here("workspace", "current").ok().out == "acme\n"


def test_use_without_a_previous_one(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    assert cmdop.here("workspace", "use", "-").code == Exit.NOT_FOUND


def test_use_offline_knows_only_the_cache(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state())
    before = path.read_bytes()
    ran = cmdop.here("workspace", "use", "gamma")
    assert ran.code in (Exit.NOT_FOUND, Exit.NO_CREDENTIAL)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("environ", "arguments", "hides"),
    [
        ({"CMDOP_WORKSPACE": "acme"}, [], "CMDOP_WORKSPACE hides it"),
        ({"CMDOP_API_KEY": KEYS["acme"]}, [], "the key in CMDOP_API_KEY hides it"),
    ],
)
def test_use_warns_when_something_hides_its_effect(
    cmdop: Cmdop, isolated: dict[str, str], environ: dict[str, str], arguments: list[str], hides: str
) -> None:
    write(isolated, state())
    ran = cmdop.with_(**environ).here("workspace", "use", "beta", *arguments).ok()
    assert f"warning: {hides}: commands here still act in acme" in ran.err
    assert parsed(read(isolated)).choice("default", "prod").active == Place(**BETA)
    quiet = cmdop.here("workspace", "use", "acme").ok()
    assert "warning" not in quiet.err


@pytest.mark.parametrize("verb", ["use", "switch"])
def test_use_without_typer_is_the_whole_command(cmdop: Cmdop, isolated: dict[str, str], verb: str) -> None:
    """``--fields ''`` changes nothing, but only the parser knows that."""
    whole = declared(getattr(choice, verb))
    assert (whole.needs, whole.mutates, whole.lenient) == ("nothing", True, False)
    for content, ref, environ in (
        (state(), "beta", {}),
        (state(previous=BETA), "-", {}),
        (state(), "-", {}),
        (state(), "Not A Slug", {}),
        (state(signed_in=False), "beta", {}),
        (state() | {"schema": 99}, "beta", {}),
        (state(), "beta", {"CMDOP_READONLY": "1"}),
        (state(), "beta", {"CMDOP_WORKSPACE": ""}),
        (state(), "beta", {"CMDOP_WORKSPACE": "gamma"}),
        (state(), "beta", {"CMDOP_EXPECT_WORKSPACE": "gamma"}),
        (state(), "beta", {"CMDOP_OUTPUT": "json"}),
        (state(), "beta", {"CMDOP_OUTPUT": "yaml"}),
    ):
        left = []
        for line in (["workspace", verb, ref], ["workspace", verb, ref, "--fields", ","]):
            path = write(isolated, content)
            ran = cmdop.with_(**environ).here(*line)
            left.append((ran.code, ran.out, ran.err.replace(" --fields ,", ""), path.read_text()))
        assert left[0] == left[1], (ref, environ)


def test_use_warns_of_a_binding(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state(bindings=({**GAMMA, "path": str(cmdop.folder.resolve())},)))
    ran = cmdop.here("workspace", "use", "beta").ok()
    assert "hides it: commands here still act in gamma" in ran.err


def test_an_override_never_changes_what_is_saved(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state())
    before = path.read_bytes()
    cmdop.with_(CMDOP_MODE="dev").here("--workspace", "beta", "workspace", "current").ok()
    cmdop.with_(CMDOP_WORKSPACE="beta").here("workspace", "current", "--why").ok()
    assert path.read_bytes() == before


def test_readonly_refuses_every_local_change(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state())
    before = path.read_bytes()
    locked = cmdop.with_(CMDOP_READONLY="1")
    for line in (
        ["workspace", "use", "beta"],
        ["workspace", "switch", "beta"],
        ["mode", "dev"],
        ["profile", "use", "default"],
        ["profile", "forget", "default", "--yes"],
        ["config", "set", "output", "json"],
    ):
        ran = locked.here(*line)
        assert ran.code == Exit.GUARD, line
        assert "CMDOP_READONLY" in ran.err
    assert path.read_bytes() == before
    assert locked.here("workspace", "current").ok().out == "acme\n"
    assert locked.here("mode").ok().out == "prod\n"
    assert cmdop.with_(CMDOP_READONLY="maybe").here("workspace", "use", "beta").code == Exit.LOCAL_STATE


def test_dry_run_changes_nothing(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, state(previous=BETA))
    before = path.read_bytes()
    for line in (["workspace", "use", "beta"], ["workspace", "use", "-"], ["workspace", "use", "--none"]):
        assert cmdop.here(*line, "--dry-run", "--json").ok().json["planned"] is True
    cmdop.here("config", "set", "output", "json", "--dry-run").ok()
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_profiles_are_renamed_and_forgotten_with_what_is_theirs(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state(bindings=({**GAMMA, "path": "/src"},)))
    write(isolated, b'[profiles.default.servers.prod]\nurl = "http://127.0.0.1:9"\n', "profiles.toml")
    cmdop.here("profile", "rename", "default", "work").ok()
    found = parsed(read(isolated))
    assert (found.profile, list(found.choices), found.bindings[0].profile) == ("work", ["work"], "work")
    assert cmdop.here("workspace", "current").ok().out == "acme\n"
    assert cmdop.here("profile", "list", "--json").ok().json["items"][0]["server"] == "http://127.0.0.1:9"
    assert cmdop.here("profile", "use", "wrok").code == Exit.NOT_FOUND
    assert cmdop.here("profile", "forget", "work").code == Exit.GUARD
    cmdop.here("profile", "forget", "work", "--yes").ok()
    found = parsed(read(isolated))
    assert (found.profile, found.choices, found.identities, found.bindings) == ("default", {}, {}, ())


def test_config_set_keeps_what_its_author_wrote(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    path = write(isolated, b"# mine\ntimeout = 9 # seconds\n\n# forms\noutput = 'json'\n", "config.toml")
    cmdop.here("config", "set", "output", "tsv").ok()
    assert path.read_text() == '# mine\ntimeout = 9 # seconds\n\n# forms\noutput = "tsv"\n'
    cmdop.here("config", "set", "timeout", "--unset").ok()
    assert cmdop.here("config", "get", "timeout").ok().out == "30\n"
    assert cmdop.here("config", "set", "output", "yaml").code == Exit.USAGE
    assert cmdop.here("config", "set", "outptu", "json").err.endswith("fix: cmdop config get output\n")
    refused = cmdop.here("config", "set", "credential_store", "encrypted-file")
    assert refused.code == Exit.USAGE
    assert "nothing encrypts a file here" in refused.err


def test_config_shows_where_values_come_from(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, b"timeout = 9\n", "config.toml")
    shown = cmdop.with_(CMDOP_RETRIES="2").here("config", "list", "--show-origin", "--json").ok().json["items"]
    origins = {each["name"]: (each["value"], each["origin"]) for each in shown}
    assert origins["timeout"] == (9, "config.toml")
    assert origins["retries"] == (2, "CMDOP_RETRIES")
    assert origins["pager"] == (None, "built in")


@pytest.mark.parametrize(
    "environ",
    [
        {"CMDOP_CONFIG_DIR": "/a/b"},
        {"CMDOP_CONFIG_DIR": "relative"},
        {"CMDOP_CONFIG_DIR": ""},
        {"XDG_CONFIG_HOME": "/x", "HOME": "/home/ann"},
        {"XDG_CONFIG_HOME": "x", "HOME": "/home/ann"},
        {"XDG_CONFIG_HOME": "", "HOME": "/home/ann"},
        {"HOME": "/home/ann"},
        {"HOME": "home"},
    ],
)
def test_both_ways_to_find_the_directory_agree(environ: dict[str, str]) -> None:
    quick = paths.plain_config_dir(environ)
    if quick is not None:
        assert Path(quick) == config_dir(environ)


@given(st.text(alphabet="abz019-_AiloU.", max_size=70) | st.text(max_size=5))
def test_the_light_grammar_is_the_treaty_s(text: str) -> None:
    assert state_shape.is_slug(text) == ids.is_slug(text)
    assert state_shape.is_workspace_id(text) == ids.is_id(text, "workspace")
    assert state_shape.is_workspace_id(f"ws_{text}") == ids.is_id(f"ws_{text}", "workspace")


def test_signing_in_activates_only_where_nothing_is_chosen() -> None:
    def signed(document: dict[str, Any]) -> Place | None:
        draft = Draft(document)
        draft.signed_in(
            "default", "prod", identity="i" * 32, origin="http://127.0.0.1:9", account_id="usr_" + "1" * 20,
            email="ann@acme.test", workspace=Place(**BETA), default=None,
        )  # fmt: skip
        return draft.state.choice("default", "prod").active

    assert signed({}) == Place(**BETA)
    assert signed({"active": {"default": {"prod": ACME}}}) == Place(**ACME)
    assert signed({"none": {"default": {"prod": True}}}) is None
