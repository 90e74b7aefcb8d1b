"""Signing in and out: device grant in a real browser session, one-time tokens, modes, profiles, exchange, the end."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from cmdop_cli.browser import has_browser
from tests.browsing import Browser
from tests.cli.signed import answers, plant, sign_in, token_files
from tests.processes import Server
from tests.terminal import Cmdop
from tests.world import PASSWORD, World, make_world

ADDRESS = re.compile(r"http://\S+user_code=[A-Z]{4}-[A-Z]{4}")


def approve(world: World, who: str, address: str, decision: str = "approve", **answers: str) -> None:
    """Do what ``who`` does in a browser: open the address, sign in, look, decide."""
    with Browser(world.server.url) as browser:
        browser.sign_in(world[who].email, PASSWORD)
        page = browser.open(address)
        shown = browser.submit(page.form("/device"))
        browser.submit(shown.form("/device"), decision=decision, **answers)


def shown_address(stream: IO[str] | None) -> str:
    """Read a login's stderr up to the address."""
    assert stream is not None
    for line in stream:
        if found := ADDRESS.search(line):
            return found.group()
    raise AssertionError("no address was shown")


@pytest.mark.slow
def test_device_sign_in_from_code_to_prompt(cmdop: Cmdop, server: Server) -> None:
    world = make_world(server, passwords=True)
    with cmdop.start("login", "--no-browser", "--server", server.url, "-w", world.acme.slug, "--json") as login:
        approve(world, "visitor", shown_address(login.stderr), reach="all", workspace=world.acme.id)
        out, _ = login.communicate(timeout=60)
    assert login.returncode == 0
    told = json.loads(out)
    assert told["schema"] == "cmdop.sign_in.v1"
    assert told["account"] == {"id": world["visitor"].id, "email": world["visitor"].email}
    assert (told["workspace"]["slug"], told["reach"], told["store"]) == (world.acme.slug, "all", "file")
    assert told["in_force"]["source"] == "active"

    (token,) = token_files(cmdop)
    path = Path(cmdop.environ["CMDOP_CONFIG_DIR"], token)
    assert path.parent.name == world.acme.id
    assert path.stat().st_mode & 0o777 == 0o600
    assert cmdop("workspace", "current").ok().out == f"{world.acme.slug}\n"
    listed = cmdop.here("workspace", "list", "--json").ok().json["items"]
    assert {each["slug"] for each in listed} == {world.acme.slug, world.globex.slug, world["visitor"].personal}


@pytest.mark.slow
def test_a_denied_sign_in_leaves_nothing(cmdop: Cmdop, server: Server) -> None:
    world = make_world(server, passwords=True)
    with cmdop.start("login", "--no-browser", "--server", server.url) as login:
        approve(world, "owner", shown_address(login.stderr), decision="deny")
        out, err = login.communicate(timeout=60)
    assert (login.returncode, out) == (5, "")
    assert "error: " in err
    assert token_files(cmdop) == {}


def test_interrupting_the_wait_ends_with_130_and_no_traceback(cmdop: Cmdop, server: Server) -> None:
    with cmdop.start("login", "--no-browser", "--server", server.url) as login:
        shown_address(login.stderr)
        login.send_signal(signal.SIGINT)
        out, err = login.communicate(timeout=30)
    assert (login.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert token_files(cmdop) == {}


def test_code_and_address_are_shown_in_eighty_columns(cmdop: Cmdop, server: Server) -> None:
    screen = cmdop.on_terminal("login", "--no-browser", "--server", server.url, width=80)
    try:
        shown = screen.until("within 10 minutes")
        address = ADDRESS.search(shown)
        assert address is not None
        code = address.group()[-9:]
        expected = ["to sign in, open", f"  {address.group()}", f"and approve the code {code}, within 10 minutes"]
        assert shown.splitlines()[:3] == expected
        screen.type("\x03")
        assert screen.end() == 130
    finally:
        screen.close()


def test_one_time_token_signs_in_and_the_server_is_remembered(cmdop: Cmdop, world: World) -> None:
    done = cmdop.sign_in(world.server.url, world.one_time_token("owner"), "-w", world.acme.slug, "-o", "table")
    assert done.err == f"signed in to {world.server.url} as {world['owner'].email}\n"
    assert [line.split()[0] for line in done.out.splitlines()] == (["acting", "may", "kept", "ends"])
    assert cmdop.here("whoami", "-q").ok().out == f"{world['owner'].email}\n"


def test_a_token_on_the_line_is_refused_and_not_repeated(cmdop: Cmdop, world: World) -> None:
    token = world.one_time_token("owner")
    refused = cmdop.here("login", "--server", world.server.url, "--token", token)
    assert refused.code == 2
    assert token not in refused.err
    cmdop.sign_in(world.server.url, token)  # and it was not used up


@pytest.mark.parametrize("token", ["", "nonsense", "cmdst_" + "0" * 36])
def test_a_wrong_token_signs_nobody_in(cmdop: Cmdop, server: Server, token: str) -> None:
    refused = cmdop.here("login", "--server", server.url, "--token", "-", "--json", stdin=token)
    assert (refused.code, refused.out) == (4, "")
    assert refused.error["exit_code"] == 4
    assert token_files(cmdop) == {}


def test_plain_http_beyond_this_machine_is_refused_before_anything_is_sent(cmdop: Cmdop, world: World) -> None:
    refused = cmdop.here("login", "--server", "http://cmdop.example", "--token", "-", stdin="x")
    assert refused.code == 2
    assert "plain http" in refused.err


def test_a_second_workspace_is_added_and_the_first_stays_active(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    before = token_files(cmdop)
    sign_in(cmdop, world, "visitor", "globex")
    after = token_files(cmdop)
    assert len(after) == 2
    assert {path: after[path] for path in before} == before
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"


def test_another_account_is_never_replaced(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    before = token_files(cmdop)
    refused = cmdop.here(
        "login", "--server", world.server.url, "--token", "-", "--json", stdin=world.one_time_token("rival")
    )
    assert refused.code == 6
    assert world["owner"].email in refused.error["message"]
    assert token_files(cmdop) == before
    # The sign-in that was not kept is no longer one: only the API's own, made for this question, is there.
    sessions = world.as_("rival").get("/me/sessions").json()["items"]
    assert [each["current"] for each in sessions] == [True]


def test_another_account_has_a_profile_of_its_own(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    sign_in(cmdop, world, "rival", "globex", "--profile", "work")
    assert cmdop.here("whoami", "-q").ok().out == f"{world['owner'].email}\n"
    assert cmdop.here("whoami", "-q", "--profile", "work").ok().out == f"{world['rival'].email}\n"
    cmdop.here("profile", "use", "work").ok()
    assert cmdop.here("workspace", "current").ok().out == f"{world.globex.slug}\n"


def test_another_server_in_the_same_profile_is_a_conflict_before_anything_is_sent(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("login", "--server", "http://127.0.0.1:9", "--token", "-", stdin="x")
    assert refused.code == 6
    assert world.server.url in refused.err


def test_a_key_in_the_environment_stays_in_force_and_login_says_so(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner")["text"]
    done = cmdop.with_(CMDOP_API_KEY=key).sign_in(world.server.url, world.one_time_token("owner"))
    assert "warning: CMDOP_API_KEY is set: commands act with that key, not with this sign-in" in done.err
    assert key not in done.err + done.out


def test_an_empty_key_variable_does_not_stop_login(cmdop: Cmdop, world: World) -> None:
    cmdop.with_(CMDOP_API_KEY="").sign_in(world.server.url, world.one_time_token("owner"))
    assert cmdop.with_(CMDOP_API_KEY="").here("whoami").code == 78


def test_a_store_that_cannot_keep_is_found_out_before_the_token_is_used(cmdop: Cmdop, world: World) -> None:
    token = world.one_time_token("owner")
    broken = {"CMDOP_CREDENTIAL_STORE": "keyring", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    refused = cmdop("login", "--server", world.server.url, "--token", "-", stdin=token, environ=broken)
    assert refused.code == 78
    assert token_files(cmdop) == {}
    cmdop.sign_in(world.server.url, token)


def test_falling_back_to_a_plain_file_is_announced_before_it_is_written(cmdop: Cmdop, world: World) -> None:
    broken = {"CMDOP_CREDENTIAL_STORE": "auto", "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = cmdop.with_(**broken).sign_in(world.server.url, world.one_time_token("owner"))
    first, *_ = done.err.splitlines()
    assert first.startswith("the tokens will be kept in a private file, in clear: ")


def test_two_modes_and_three_workspaces_at_once(cmdop: Cmdop, world: World, new_server: Callable[..., Server]) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    for ref in (world.globex.slug, world["visitor"].personal):
        cmdop.here("workspace", "members", "-w", ref).ok()
    other = make_world(new_server())
    sign_in(cmdop, other, "owner", "acme", "--mode", "dev")
    before = token_files(cmdop)
    assert len(before) == 4

    for ref in (world.globex.slug, world["visitor"].personal, world.acme.slug, "-"):
        cmdop.here("workspace", "use", ref).ok()
        cmdop.here("workspace", "show").ok()
    assert cmdop.here("--dev", "whoami", "-q").ok().out == f"{other['owner'].email}\n"
    assert token_files(cmdop) == before
    rows = cmdop.here("workspace", "list", "--all-modes", "--json").ok().json["items"]
    assert {(each["mode"], each["server"]) for each in rows} == (
        {("prod", world.server.url), ("dev", other.server.url)}
    )


def test_one_mode_knows_nothing_of_the_other(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("--dev", "--server", world.server.url, "whoami", "--json")
    assert (refused.code, refused.error["code"]) == (4, "no_credential")


def test_a_sign_in_is_never_sent_to_another_server(
    cmdop: Cmdop, world: World, new_server: Callable[..., Server]
) -> None:
    sign_in(cmdop, world, "owner", "acme")
    stranger = new_server()
    refused = cmdop.here("--server", stranger.url, "whoami", "--json")
    assert (refused.code, refused.error["code"]) == (4, "no_credential")
    assert "Bearer" not in stranger.log.read_text()


def test_a_sign_in_for_all_enters_another_workspace_by_itself(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    before = token_files(cmdop)
    shown = cmdop.here("workspace", "show", "-w", world.globex.slug, "--json").ok()
    assert shown.json["slug"] == world.globex.slug
    after = token_files(cmdop)
    assert len(after) == 2
    assert {path: after[path] for path in before} == before
    families = {json.loads(content)["sign_in_id"] for content in after.values()}
    assert len(families) == 1  # the same sign-in, another family


def test_a_sign_in_for_one_workspace_enters_no_other(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "visitor", "acme")
    refused = cmdop.here("workspace", "show", "-w", world.globex.slug, "--json")
    assert (refused.code, refused.error["code"]) == (4, "no_credential")
    assert refused.error["hint"] == f"cmdop login --workspace {world.globex.slug}"
    assert len(token_files(cmdop)) == 1


def test_a_workspace_of_others_is_not_found(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("workspace", "show", "-w", world.globex.slug, "--json")
    unknown = cmdop.here("workspace", "show", "-w", "no-such-workspace", "--json")
    assert refused.code == unknown.code == 3
    assert refused.error["message"].replace(world.globex.slug, "X") == (
        unknown.error["message"].replace("no-such-workspace", "X")
    )


def test_logout_ends_one_workspace_here_and_at_the_server(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    cmdop.here("workspace", "show", "-w", world.globex.slug).ok()
    stored = {json.loads(text)["workspace"]["slug"]: json.loads(text) for text in token_files(cmdop).values()}

    done = cmdop("logout", "--json").ok()
    assert [each["workspace"]["slug"] for each in done.json["items"]] == [world.acme.slug]
    assert done.json["remains"] == []
    (left,) = token_files(cmdop).values()
    assert json.loads(left)["workspace"]["slug"] == world.globex.slug
    assert answers(world.api(stored[world.acme.slug]["access_token"])) == 401
    assert answers(world.api(stored[world.globex.slug]["access_token"])) == 200
    assert cmdop.here("workspace", "current", "--json").json["workspace"]["slug"] != world.acme.slug


def test_logout_all_ends_the_sign_in(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    cmdop.here("workspace", "show", "-w", world.globex.slug).ok()
    tokens = [json.loads(text)["access_token"] for text in token_files(cmdop).values()]
    cmdop.here("logout", "--all").ok()
    assert token_files(cmdop) == {}
    assert [answers(world.api(each)) for each in tokens] == [401, 401]
    refused = cmdop.here("whoami", "--json")
    assert (refused.code, refused.error["hint"]) == (4, "cmdop login")
    assert world.server.url in refused.error["message"]  # the server is still remembered


def test_logout_where_the_state_cannot_be_written_says_what_has_ended_all_the_same(cmdop: Cmdop, world: World) -> None:
    """As on a disk that is read-only by now: the server has been told, and who asked for it must know."""
    sign_in(cmdop, world, "owner", "acme")
    root = Path(cmdop.environ["CMDOP_CONFIG_DIR"])
    (root / "state.json.lock").unlink(missing_ok=True)
    (root / "state.json.lock").mkdir()
    done = cmdop.here("logout", "--json")
    assert done.code == 8
    assert [each["workspace"]["slug"] for each in done.json["items"]] == [world.acme.slug]
    (remains,) = done.json["remains"]
    assert remains.startswith(f"what is noted of it here stays: {root}/state.json")


def test_logout_without_the_server_removes_and_says_what_remains(
    cmdop: Cmdop, new_server: Callable[..., Server]
) -> None:
    world = make_world(new_server())
    sign_in(cmdop, world, "owner", "acme")
    world.server.stop()
    done = cmdop("logout", "--all", environ={"CMDOP_RETRIES": "0"})
    assert done.code == 8
    assert "could not be ended there and stays valid until" in done.err
    assert token_files(cmdop) == {}


def test_logging_out_twice_is_no_failure(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    assert cmdop.here("auth", "logout").ok().out.startswith(f"{world.acme.slug}\tprod\t")
    again = cmdop.here("logout").ok()
    assert (again.out, again.err) == ("", "not signed in (profile default, mode prod)\n")


def test_planning_to_sign_in_or_out_does_neither(cmdop: Cmdop, world: World) -> None:
    planned = cmdop.here("login", "--server", world.server.url, "--dry-run", "--json").ok()
    assert (planned.json["planned"], planned.json["server"], planned.json["store"]) == (True, world.server.url, "file")
    assert not Path(cmdop.environ["CMDOP_CONFIG_DIR"]).exists()
    sign_in(cmdop, world, "owner", "acme")
    before = token_files(cmdop)
    for arguments in (["logout"], ["logout", "--all"]):
        listed = cmdop.here(*arguments, "--dry-run", "--json").ok().json
        assert (listed["planned"], len(listed["items"])) == (True, 1)
    assert token_files(cmdop) == before
    cmdop.here("whoami").ok()


def test_a_read_only_shell_neither_signs_in_nor_out(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    locked = cmdop.with_(CMDOP_READONLY="1")
    assert locked.here("login", "--server", world.server.url).code == 7
    assert locked.here("logout").code == 7


def test_auth_login_is_login(cmdop: Cmdop, world: World) -> None:
    token = world.one_time_token("owner")
    cmdop.here("auth", "login", "--server", world.server.url, "--token", "-", stdin=token).ok()
    assert len(token_files(cmdop)) == 1


def test_no_secret_is_ever_shown(cmdop: Cmdop, world: World) -> None:
    token = world.one_time_token("visitor")
    done = cmdop.here("login", "--server", world.server.url, "--token", "-", "--json", "--debug", stdin=token).ok()
    shown = done.out + done.err
    for arguments in (["auth", "status", "--json"], ["status", "--json"], ["whoami", "--json"], ["logout", "--json"]):
        ran = cmdop.here(*arguments, "--debug")
        shown += ran.out + ran.err
    assert re.search(r"cmd(at|rt|st|dc)_[0-9A-Za-z]{10}", shown) is None


@pytest.mark.parametrize(
    ("environ", "platform", "is_there"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "a b c d"}, "linux", False),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
    ],
)
def test_a_browser_opens_only_where_the_person_sits(environ: dict[str, str], platform: str, is_there: bool) -> None:
    assert has_browser(environ, platform) is is_there


def test_nothing_in_the_working_directory_runs_when_a_browser_opens(
    cmdop: Cmdop, server: Server, tmp_path: Path
) -> None:
    """A planted ``webbrowser.py`` is not what opens the address; the person's BROWSER is."""
    (cmdop.folder / "webbrowser.py").write_text("open('ran', 'w').write('planted')\n")
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.part && mv {seen}.part {seen}\n')
    browser.chmod(0o755)
    os.mkfifo(tmp_path / "opened")
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    there = cmdop.with_(DISPLAY=":0", BROWSER=f"{browser} %s")
    screen = there.on_terminal("login", "--server", server.url)
    try:
        opened = subprocess.run(
            ["cat", str(tmp_path / "opened")], capture_output=True, text=True, timeout=30, check=True
        )
        address = ADDRESS.search(screen.until("within 10 minutes"))
        assert address is not None
        assert opened.stdout.strip() == address.group()
        screen.type("\x03")
        assert screen.end() == 130
    finally:
        screen.close()
    assert not (cmdop.folder / "ran").exists()
