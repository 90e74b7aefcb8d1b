"""``cmdop connect``: machines, join tokens, sessions, files and moves, from the command line."""

import hashlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.signed import plant, sign_in
from tests.fleet import Fleet, unique
from tests.terminal import Cmdop, Terminal, eventually

SECONDS = 60.0


@pytest.fixture
def owner(cmdop: Cmdop, fleet: Fleet) -> Cmdop:
    """The command line of acme's owner, signed in to it."""
    plant(cmdop, fleet.world, "owner")
    return cmdop


@pytest.fixture
def member(cmdop: Cmdop, fleet: Fleet) -> Cmdop:
    """The command line of a member of acme with a key."""
    return cmdop.with_(**fleet.as_("member"))


@pytest.fixture
def session(member: Cmdop) -> Iterator[Terminal]:
    """A member's session on db-1."""
    terminal = member.on_terminal("connect", "db-1")
    terminal.until("Ctrl-D ends the shell")
    yield terminal
    if terminal.process.poll() is None:
        terminal.type("\r~.")
        terminal.end()
    terminal.close()


def added(fleet: Fleet, tenant: str = "acme") -> str:
    """Register a machine of the test's own, whose agent does not run; return its name."""
    name = unique("host")
    fleet.offline(name, tenant)
    return name


# -- list, show ----------------------------------------------------------------------------------------------------


def test_the_list_says_who_is_there(member: Cmdop) -> None:
    ran = member.here("connect", "list", "--json").ok()
    found = {each["name"]: each for each in ran.json["items"]}
    assert ran.json["schema"] == "cmdop.machine.v1"
    assert {"web-1", "web-2", "db-1", "off-1"} <= set(found)
    assert "far-1" not in found
    assert (found["web-1"]["state"], found["off-1"]["state"]) == ("online", "offline")
    online = {each["name"] for each in member.here("connect", "list", "--online", "--json").ok().json["items"]}
    assert "web-1" in online
    assert "off-1" not in online
    lines = member.here("connect", "list").ok().out.splitlines()
    assert all(line.count("\t") == 5 for line in lines)
    assert member.here("connect", "list", "-q", "--limit", "2").ok().out.splitlines() == sorted(found)[:2]
    limited = member.here("connect", "list", "--limit", "1", "--json").ok().json
    assert (len(limited["items"]), bool(limited["next"])) == (1, True)


def test_a_long_hostname_is_shortened_on_a_terminal_only(owner: Cmdop, fleet: Fleet) -> None:
    long, key = f"{unique('long')}-".ljust(51, "x"), unique("key")
    fleet.offline(long)
    owner.here("connect", "tag", long, f"{key}:a").ok()
    line = ("connect", "list", "--tag", f"{key}:a")
    owner.here("connect", "rename", long, f"{long}y").ok()  # a name that is its hostname stands once
    terminal = owner.on_terminal(*line, width=80)
    assert terminal.end() == 0
    heading, row = terminal.written.decode().replace("\r", "").splitlines()
    assert max(len(heading), len(row)) <= 80
    assert row.count("long-") == 2  # its name, and of its hostname as much as there is room for
    assert long not in row
    assert row.count("...") >= 2
    for form in ("tsv", "json", "quiet", "table"):
        assert long in owner.here(*line, "-o", form).ok().out, form


def test_tags_are_given_taken_and_asked_for(owner: Cmdop, fleet: Fleet) -> None:
    name, key = added(fleet), unique("key")
    assert owner.here("connect", "tag", name, f"{key}:a", "env:prod", "--json").ok().json["tags"] == {
        key: "a",
        "env": "prod",
    }
    assert owner.here("connect", "tag", name, f"{key}:b", "--remove", "env", "--json").ok().json["tags"] == {key: "b"}
    assert owner.here("connect", "list", "--tag", f"{key}:b", "-q").ok().out == f"{name}\n"
    assert owner.here("connect", "list", "--tag", f"{key}:a", "-q").ok().out == ""
    planned = owner.here("connect", "tag", name, "x:y", "--dry-run", "--json").ok().json
    assert (planned["planned"], planned["tags"]) == (True, {key: "b", "x": "y"})
    assert owner.here("connect", "show", name, "--json").ok().json["tags"] == {key: "b"}
    for wrong in ([], ["novalue"], ["a:b", "a:c"], ["a:b", "--remove", "a"]):
        assert owner.here("connect", "tag", name, *wrong).code == Exit.USAGE, wrong


def test_tags_of_a_pipe_are_what_the_option_takes(owner: Cmdop, fleet: Fleet) -> None:
    name, key = added(fleet), unique("key")
    owner.here("connect", "tag", name, f"{key}:b", "env:prod").ok()
    piped = owner.here("connect", "list", "--tag", f"{key}:b").ok().out.split("\t")[3]
    assert set(piped.split(",")) == {f"{key}:b", "env:prod"}
    assert owner.here("connect", "list", *(f"--tag={each}" for each in piped.split(",")), "-q").ok().out == f"{name}\n"
    for form in ("quiet", "table", "tsv"):
        shown = owner.here("connect", "show", name, "--fields", "tags", "-o", form).ok().out
        assert f"{key}:b" in shown, form
        assert "=" not in shown


def test_show_takes_id_hostname_and_name(owner: Cmdop, fleet: Fleet) -> None:
    name = added(fleet)
    other = unique("called")
    assert owner.here("connect", "rename", name, other, "--json").ok().json["name"] == other
    for ref in (fleet[name].id, name, name.upper(), other):
        shown = owner.here("connect", "show", ref, "--json").ok().json
        assert (shown["id"], shown["hostname"], shown["name"]) == (fleet[name].id, name, other)
    ran = owner.here("connect", "show", "nowhere-1")
    assert ran.code == Exit.NOT_FOUND
    assert "nowhere-1" in ran.err
    assert owner.here("connect", "show", "far-1").code == Exit.NOT_FOUND


def test_a_name_that_leads_elsewhere_is_a_conflict(owner: Cmdop, fleet: Fleet) -> None:
    name = added(fleet)
    assert owner.here("connect", "rename", name, "WEB-1").code == Exit.CONFLICT
    assert owner.here("connect", "rename", name, "x", "--dry-run", "--json").ok().json["planned"]
    assert owner.here("connect", "show", name, "--json").ok().json["name"] == name


def test_removing_asks_first(owner: Cmdop, fleet: Fleet) -> None:
    name = added(fleet)
    ran = owner.here("connect", "remove", name)
    assert ran.code == Exit.GUARD
    assert f"fix: cmdop connect remove {name} --yes" in ran.err
    assert owner.here("connect", "remove", name, "--dry-run").code == 0
    assert owner.here("connect", "show", name).code == 0
    assert owner.here("connect", "remove", name, "--yes", "-q").ok().out == f"{fleet[name].id}\n"
    assert owner.here("connect", "show", name).code == Exit.NOT_FOUND


def test_members_look_and_do_not_change(member: Cmdop, fleet: Fleet) -> None:
    for line in (["rename", "off-1", "x"], ["tag", "off-1", "a:b"], ["remove", "off-1", "--yes"],
                 ["join-token", "create"], ["join-token", "list"]):  # fmt: skip
        assert member.here("connect", *line).code == Exit.FORBIDDEN, line


def test_all_workspaces_are_listed_with_one_sign_in(cmdop: Cmdop, fleet: Fleet) -> None:
    sign_in(cmdop, fleet.world, "visitor")
    ran = cmdop.here("connect", "list", "--all-workspaces", "--json").ok()
    where = {(each["workspace"]["slug"], each["name"]) for each in ran.json["items"]}
    assert {(fleet.world.acme.slug, "web-1"), (fleet.world.globex.slug, "far-1")} <= where
    table = cmdop.here("connect", "list", "--all-workspaces").ok().out
    assert f"{fleet.world.globex.slug}\tfar-1" in table


def test_names_are_kept_for_completion(owner: Cmdop) -> None:
    assert "web-1" not in owner.here("complete", "connect", "show", "we").out
    owner.here("connect", "list").ok()
    for words in (["connect", "we"], ["connect", "show", "we"], ["connect", "exec", "web-1", "we"]):
        found = {line.split("\t")[0] for line in owner.here("complete", *words).ok().out.splitlines()}
        assert {"web-1", "web-2"} <= found, words
    verbs = {line.split("\t")[0] for line in owner.here("complete", "connect", "workspace", "").ok().out.splitlines()}
    assert verbs == {"list", "use", "sync", "move"}


# -- join tokens ---------------------------------------------------------------------------------------------------


def test_a_join_token_is_shown_once(owner: Cmdop, fleet: Fleet) -> None:
    name = unique("image")
    piped = owner.here("connect", "join-token", "create", "--name", name, "--expires", "2h").ok()
    assert piped.out.startswith("cmdjt_")
    assert piped.out.count("\n") == 1
    listed = owner.here("connect", "join-token", "list", "--json").ok()
    assert piped.out.strip() not in listed.out
    token = next(each for each in listed.json["items"] if each["name"] == name)
    assert token["state"] == "live"
    answer = fleet.world.api().post(
        "/agent/register", json={"hostname": unique("joined"), "join_token": piped.out.strip()}
    )
    assert answer.status_code == 201, answer.text
    assert "on the machine" not in piped.err
    shown = owner.on_terminal("connect", "join-token", "create")
    assert shown.end() == 0
    server = fleet.world.server.url
    assert f"on the machine: cmdop connect --server {server} --join-token - --yes" in " ".join(shown.text.split())
    listed = owner.here("connect", "join-token", "list", "--json").ok()
    token = next(each for each in listed.json["items"] if each["name"] == name)
    assert (token["state"], token["machine_id"]) == ("redeemed", answer.json()["machine"]["id"])


def test_a_join_token_is_revoked_by_its_id(owner: Cmdop, fleet: Fleet) -> None:
    made = owner.here("connect", "join-token", "create", "--json").ok().json
    assert made["schema"] == "cmdop.join_token.v1"
    planned = owner.here("connect", "join-token", "revoke", made["id"], "--dry-run", "--json").ok().json
    assert (planned["planned"], planned["state"]) == (True, "live")
    assert owner.here("connect", "join-token", "revoke", made["id"], "--json").ok().json["state"] == "revoked"
    answer = fleet.world.api().post("/agent/register", json={"hostname": "late-1", "join_token": made["secret"]})
    assert answer.status_code == 401
    assert owner.here("connect", "join-token", "revoke", "jtk_1").code == Exit.USAGE
    assert owner.here("connect", "join-token", "create", "--expires", "25h").code == Exit.USAGE
    assert owner.here("connect", "join-token", "create", "--dry-run", "--json").ok().json["planned"]


# -- sessions ------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_while_they_run_and_after(session: Terminal, member: Cmdop, fleet: Fleet) -> None:
    active = member.here("connect", "sessions", "--active", "--machine", "db-1", "--json").ok().json["items"]
    assert [(each["machine"]["hostname"], each["state"]) for each in active] == [("db-1", "active")]
    shown = member.here("connect", "show", "db-1", "--json").ok().json["session"]
    assert shown["id"] == active[0]["id"]
    session.type("exit\r")
    assert session.end() == 0
    listing = ("connect", "sessions", "--machine", "db-1", "--limit", "1", "--json")
    ended = eventually(lambda: member.here(*listing).ok().json["items"][0], lambda each: each["state"] == "ended")
    assert ended["id"] == active[0]["id"]
    assert ended["end_reason"]
    assert member.here("connect", "sessions", "--machine", "nowhere-1").code == Exit.NOT_FOUND


def test_an_owner_ends_a_session_by_the_machines_name(session: Terminal, owner: Cmdop) -> None:
    asked = owner.here("connect", "end", "db-1")
    assert asked.code == Exit.GUARD
    planned = owner.here("connect", "end", "db-1", "--dry-run", "--json").ok().json
    assert (planned["planned"], planned["state"]) == (True, "active")
    ended = owner.here("connect", "end", planned["id"], "--yes", "--json").ok().json
    assert ended["state"] == "ended"
    assert session.end() == Exit.FORBIDDEN
    assert "an administrator of the workspace ended it" in session.text
    assert owner.here("connect", "end", "db-1", "--yes").code == Exit.NOT_FOUND
    assert owner.here("connect", "end", planned["id"]).code == 0  # it has ended: nothing is asked and nothing done


# -- moving --------------------------------------------------------------------------------------------------------


def test_a_machine_moves_with_a_yes_and_both_workspaces_named(cmdop: Cmdop, fleet: Fleet) -> None:
    world, name = fleet.world, added(fleet, "globex")
    sign_in(cmdop, world, "rival")
    cmdop.here("workspace", "create", "Elsewhere", "--slug", unique("elsewhere"), "--json").ok()
    here = world.globex.slug
    target = next(
        each["slug"] for each in cmdop.here("workspace", "list", "--json").ok().json["items"]
        if each["slug"].startswith("elsewhere-")
    )  # fmt: skip
    line = ("connect", "workspace", "move", name, "-w", here, "--to", target)
    asked = cmdop.here(*line)
    assert asked.code == Exit.GUARD
    assert f"move {name} from {here} to {target}?" in asked.err
    terminal = cmdop.on_terminal(*line)
    shown = terminal.until("[y/N]")
    assert f"from  {here} (chosen by --workspace)" in shown
    assert f"to    {target} (Elsewhere), 1 member" in shown
    terminal.type("n\r")
    assert terminal.end() == Exit.GUARD
    assert cmdop.here(*line, "--dry-run", "--json").ok().json["workspace"]["slug"] == target
    assert cmdop.here("connect", "show", name, "-w", here).code == 0
    moved = cmdop.here(*line, "--yes", "--json").ok().json
    assert (moved["id"], moved["workspace"]["slug"]) == (fleet[name].id, target)
    assert cmdop.here("connect", "show", name, "-w", here).code == Exit.NOT_FOUND
    assert cmdop.here("connect", "show", name, "-w", target).code == 0
    assert cmdop.here("connect", "workspace", "move", name, "-w", target, "--to", target).code == Exit.CONFLICT


def test_a_live_session_is_named_and_ends_with_the_move(cmdop: Cmdop, member: Cmdop, fleet: Fleet) -> None:
    name = unique("moving")
    fleet.start(name)
    operating = member.on_terminal("connect", "to", name)
    operating.until("Ctrl-D ends the shell")
    owner = sign_in(cmdop.with_(CMDOP_CONFIG_DIR=f"{cmdop.environ['CMDOP_CONFIG_DIR']}-owner"), fleet.world, "owner")
    target = owner.here("workspace", "create", "Next", "--slug", unique("next"), "-q").ok().out.strip()
    line = ("connect", "workspace", "move", name, "-w", fleet.world.acme.slug, "--to", target)
    shown = owner.on_terminal(*line)
    assert "the session of key-" in shown.until("[y/N]")
    shown.type("y\r")
    assert shown.end() == 0
    assert operating.end() == Exit.NOT_FOUND
    assert "moved to another workspace" in operating.text
    assert member.here("connect", "show", name).code == Exit.NOT_FOUND
    reach = ("connect", "exec", name, "--workspace", target, "--", "true")
    eventually(lambda: owner.here(*reach).code, lambda code: code == 0, 30)  # it dials anew by itself, at once


def test_a_taken_name_keeps_the_machine_where_it_is(cmdop: Cmdop, fleet: Fleet) -> None:
    sign_in(cmdop, fleet.world, "rival")
    here = fleet.world.globex.slug
    target = cmdop.here("workspace", "create", "Full", "--slug", unique("full"), "-q").ok().out.strip()
    name = added(fleet, "globex")
    there = fleet.world.as_("rival", target, "all").post("/agent/register", json={"hostname": name})
    assert there.status_code == 201, there.text
    ran = cmdop.here("connect", "workspace", "move", name, "-w", here, "--to", target, "--yes", "--json")
    assert (ran.code, ran.out) == (Exit.CONFLICT, "")
    assert cmdop.here("connect", "show", name, "-w", here, "--json").ok().json["id"] == fleet[name].id


def test_an_unknown_target_is_exit_3(owner: Cmdop, fleet: Fleet) -> None:
    for target in (fleet.world.globex.slug, "nowhere"):
        ran = owner.here("connect", "workspace", "move", "off-1", "--to", target, "--yes")
        assert ran.code == Exit.NOT_FOUND
        assert target in ran.err


def test_a_target_that_is_unknown_or_not_theirs_reads_the_same(cmdop: Cmdop, owner: Cmdop, fleet: Fleet) -> None:
    line = ("connect", "workspace", "move", "off-1", "--yes", "--to")
    assert "\nfix: cmdop login\n" in owner.here(*line, "nowhere").err  # signed in for one workspace only
    sign_in(cmdop, fleet.world, "owner", "acme")
    there = fleet.world.globex.slug
    told = {target: cmdop.here(*line, target).err for target in (there, "nowhere")}
    assert told["nowhere"].startswith("error: there is no workspace nowhere that you may enter\n")
    assert "\nfix: cmdop workspace list\n" in told["nowhere"]
    assert told[there].replace(there, "nowhere") == told["nowhere"]


def test_sync_refreshes_what_completion_knows(cmdop: Cmdop, fleet: Fleet) -> None:
    sign_in(cmdop, fleet.world, "visitor", "acme")
    ran = cmdop.here("connect", "workspace", "sync", "--json").ok()
    assert {fleet.world.acme.slug, fleet.world.globex.slug} <= {each["slug"] for each in ran.json["items"]}
    assert cmdop.here("workspace", "current").ok().out == f"{fleet.world.acme.slug}\n"
    assert fleet.world.globex.slug in cmdop.here("complete", "connect", "workspace", "use", "globex").ok().out
    assert cmdop.with_(**fleet.as_("member")).here("connect", "workspace", "sync").code == Exit.USAGE


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_file_goes_there_and_back(member: Cmdop, fleet: Fleet) -> None:
    data, name = secrets.token_bytes(1_500_000), unique("file")
    (member.folder / "here.bin").write_bytes(data)
    (member.folder / "here.bin").chmod(0o640)
    sent = member("connect", "put", "here.bin", f"web-1:{name}", "--json").ok().json
    assert (sent["size"], sent["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert (fleet.home / name).read_bytes() == data
    assert (fleet.home / name).stat().st_mode & 0o777 == 0o640
    back = member("connect", "get", f"web-1:{name}", "--json").ok().json
    assert back["local"] == name
    assert (member.folder / name).read_bytes() == data


def test_a_place_on_a_machine_is_no_file_here(member: Cmdop, fleet: Fleet) -> None:
    name = unique("file")
    (fleet.home / name).write_text("theirs")
    ran = member("connect", "get", f"web-1:{name}", "web-1:b", "--force")
    assert ran.code == Exit.USAGE
    assert f"\nfix: cmdop connect get web-1:{name} ./web-1:b --force\n" in ran.err
    assert not (member.folder / "web-1:b").exists()
    member("connect", "get", f"web-1:{name}", "./web-1:b").ok()
    assert (member.folder / "web-1:b").read_text() == "theirs"
    (member.folder / "web-1:d").mkdir()
    assert member("connect", "get", f"web-1:{name}", "web-1:d").code == Exit.USAGE
    member("connect", "get", f"web-1:{name}", "./web-1:d").ok()
    assert (member.folder / "web-1:d" / name).read_text() == "theirs"


def test_a_file_is_put_from_here_only(member: Cmdop, fleet: Fleet) -> None:
    name = unique("file")
    ran = member("connect", "put", "web-2:b", f"web-1:{name}")
    assert ran.code == Exit.USAGE
    assert "\nfix: cmdop connect get web-2:b\n" in ran.err
    (member.folder / "web-2:b").write_text("ours")
    ran = member("connect", "put", "web-2:b", f"web-1:{name}")
    assert ran.code == Exit.USAGE
    assert f"\nfix: cmdop connect put ./web-2:b web-1:{name}\n" in ran.err
    assert not (fleet.home / name).exists()
    member("connect", "put", "./web-2:b", f"web-1:{name}").ok()
    assert (fleet.home / name).read_text() == "ours"


def test_nothing_here_is_replaced_without_force(member: Cmdop, fleet: Fleet) -> None:
    name = unique("file")
    (fleet.home / name).write_text("theirs")
    (member.folder / name).write_text("ours")
    ran = member("connect", "get", f"web-1:{name}")
    assert ran.code == Exit.GUARD
    assert "--force" in ran.err
    assert (member.folder / name).read_text() == "ours"
    member("connect", "get", f"web-1:{name}", "--force").ok()
    assert (member.folder / name).read_text() == "theirs"
    folder = member.folder / "into"
    folder.mkdir()
    member("connect", "get", f"web-1:{name}", "into").ok()
    assert (folder / name).read_text() == "theirs"
    assert [each.name for each in folder.iterdir()] == [name]  # nothing temporary stays


def test_files_through_pipes(member: Cmdop, fleet: Fleet) -> None:
    data, name = secrets.token_bytes(700_001), unique("piped")
    sending = member.start("connect", "put", "-", f"web-1:{name}", stdin=subprocess.PIPE, text=False)
    out, err = sending.communicate(data, timeout=SECONDS)
    assert (sending.returncode, err) == (0, b"")
    assert hashlib.sha256(data).hexdigest().encode() in out
    assert (fleet.home / name).read_bytes() == data
    bringing = member.start("connect", "get", f"web-1:{name}", "-", text=False)
    out, err = bringing.communicate(timeout=SECONDS)
    assert (bringing.returncode, out == data, err) == (0, True, b"")


def test_what_cannot_go_says_why(member: Cmdop, cmdop: Cmdop, fleet: Fleet) -> None:
    (member.folder / "x").write_text("x")
    for line, code in (
        (["get", "web-1:nothing-here"], Exit.NOT_FOUND),
        (["get", "web-1:/etc/passwd"], Exit.FORBIDDEN),
        (["get", "web-1:../x", "y"], Exit.FORBIDDEN),
        (["get", "nowhere-1:x", "y"], Exit.NOT_FOUND),
        (["get", "off-1:x", "y"], Exit.UNREACHABLE),
        (["get", "web-1"], Exit.USAGE),
        (["get", "web-1:"], Exit.USAGE),
        (["get", "web-1:x", "-", "--json"], Exit.USAGE),
        (["put", "not-here", "web-1:x"], Exit.NOT_FOUND),
        (["put", "x", "web-1:no/such/folder/x"], Exit.NOT_FOUND),
        (["put", "x", "/x"], Exit.USAGE),
    ):
        ran = member("connect", *line)
        assert (ran.code, ran.out) == (code, ""), (line, ran.err)
    assert not (member.folder / "y").exists()
    planned = member("connect", "put", "x", "web-1:", "--dry-run", "--json").ok().json
    assert (planned["path"], planned["planned"]) == ("x", True)
    assert not (fleet.home / "x").exists()
    plant(cmdop, fleet.world, "guest")
    assert cmdop("connect", "get", "web-1:x", "z").code == Exit.FORBIDDEN


def test_an_interrupted_get_leaves_nothing(member: Cmdop, fleet: Fleet) -> None:
    name = unique("large")
    with open(fleet.home / name, "wb") as file:
        file.truncate(4 << 30)
    terminal = member.on_terminal("connect", "get", f"web-1:{name}")
    terminal.until("%")  # progress, on a terminal
    terminal.type("\x03")
    assert terminal.end() == 130
    assert not [each for each in member.folder.iterdir() if name in each.name]
    (fleet.home / name).unlink()


def test_json_errors_are_one_object(member: Cmdop) -> None:
    for line in (["show", "nowhere-1"], ["get", "web-1:nothing-here"], ["end", "off-1"], ["tag", "web-1"]):
        ran = member("connect", *line, "--json")
        assert ran.out == ""
        assert set(json.loads(ran.err)) >= {"code", "message", "hint", "exit_code"}


def test_help_is_there_at_every_depth(cmdop: Cmdop) -> None:
    shown = cmdop.here("connect", "--help").ok().out
    assert "move" not in shown.split()
    assert "join-token" in shown
    assert "Move a machine" in cmdop.here("connect", "workspace", "--help").ok().out
    page = cmdop.here("connect", "workspace", "move", "--help").ok().out
    assert page == cmdop.here("help", "connect", "workspace", "move").ok().out
    assert page.startswith("Usage: cmdop connect workspace move [OPTIONS] MACHINE")
    ran = cmdop.here("connect", "workspace", "moove")
    assert (ran.code, ran.err.splitlines()[-1]) == (Exit.USAGE, "fix: cmdop connect workspace move")
    exec_page = cmdop.here("connect", "exec", "--help").ok().out
    assert "Usage: cmdop connect exec [OPTIONS] [MACHINE...] -- COMMAND..." in exec_page
    assert Path(cmdop.environ["CMDOP_CONFIG_DIR"]).exists() is False
