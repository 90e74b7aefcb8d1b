"""``cmdop connect`` on this machine: registering, running, its gate and its service, against a real server."""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cmdop_sdk.agent_socket import short_path, socket_path
from cmdop_wire.ids import make_token
from tests.agent.test_control import OTHER_CALLER
from tests.cli.signed import plant
from tests.fleet import unique
from tests.processes import REPOSITORY
from tests.terminal import COMMAND, Cmdop, Ran, Terminal, eventually
from tests.world import World

Json = dict[str, Any]
KEYS: dict[str, str] = {}  # by world


@pytest.fixture
def owner(cmdop: Cmdop, world: World) -> Cmdop:
    """The command line of acme's owner, signed in, on a machine that is not registered."""
    plant(cmdop, world, "owner", world.acme.slug, reach="all")
    return cmdop


@pytest.fixture(autouse=True)
def agents_end(isolated: dict[str, str]) -> Iterator[None]:
    """End every agent that a test left running in its home."""
    yield
    for pid in Path(isolated["HOME"]).parent.glob("**/agent/pid"):
        with suppress(ValueError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def root(cmdop: Cmdop) -> Path:
    """Return the configuration directory."""
    return Path(cmdop.environ["CMDOP_CONFIG_DIR"])


def up(owner: Cmdop, world: World, hostname: str, *more: str) -> Json:
    """Register this machine and start its agent in the background; return what is told of it."""
    line = ("connect", "--detach", "--hostname", hostname, "--workspace", world.acme.slug, "--yes", "--json", *more)
    told: Json = owner(*line).ok().json
    return told


def machines(world: World, who: str = "owner") -> list[Json]:
    """Return acme's machines."""
    items: list[Json] = world.as_(who).get(f"/workspaces/{world.acme.slug}/machines").json()["items"]
    return items


def reaching(world: World, cmdop: Cmdop) -> Cmdop:
    """Return the command line of a member with a key, in a home of its own."""
    if world.tag not in KEYS:
        KEYS[world.tag] = world.key("member", "machines:read", "commands:execute")["text"]
    elsewhere = str(Path(cmdop.environ["HOME"]) / "member")
    return cmdop.with_(CMDOP_API_KEY=KEYS[world.tag], CMDOP_SERVER_URL=world.server.url, CMDOP_CONFIG_DIR=elsewhere)


def far(world: World, cmdop: Cmdop, machine: str, *argv: str) -> str:
    """Run a command on a machine from far away and return its output."""
    return reaching(world, cmdop)("connect", "exec", machine, "--", *argv).ok().out


def refused(world: World, cmdop: Cmdop, machine: str, *argv: str) -> str:
    """Return with which code a machine does not run a command."""
    ran = reaching(world, cmdop).here("connect", "exec", machine, "--json", "--", *argv)
    assert ran.code == 255, ran
    return str(ran.error["code"])


# -- registering -------------------------------------------------------------------------------------------------------


def test_elsewhere_than_at_a_terminal_it_needs_a_yes_and_a_named_workspace(owner: Cmdop, world: World) -> None:
    for line, flag in (
        (["connect"], "--workspace"),
        (["connect", "--yes"], "--workspace"),
        (["connect", "--workspace", world.acme.slug], "--yes"),
    ):
        ran = owner(*line, "--json")
        assert (ran.code, ran.out) == (7, "")
        assert flag in ran.error["hint"]
        assert ran.error["hint"].count("--yes") == 1
    assert not (root(owner) / "agent" / "machine.json").exists()
    assert machines(world) == []


@pytest.mark.slow
def test_a_directory_s_binding_is_not_naming_it(owner: Cmdop, world: World) -> None:
    ran = owner("connect", "--yes", environ={"CMDOP_READONLY": "1"})
    assert ran.code == 7
    state = json.loads((root(owner) / "state.json").read_text())
    here = os.path.realpath(owner.folder)
    state["bindings"] = [{"path": here, "slug": world.acme.slug, "id": world.acme.id, "profile": "default",
                          "mode": "prod"}]  # fmt: skip
    (root(owner) / "state.json").write_text(json.dumps(state))
    assert owner("connect", "--yes").code == 7


def test_what_a_key_may_not_know_is_not_asked_for(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner", "machines:write", shared=True)["text"]
    by_key = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url)
    shown = by_key.on_terminal("connect", "--hostname", unique("by-key"))
    shown.until("[y/N]")
    shown.type("n\r")
    assert shown.end() == 7
    events = world.as_("owner").get(f"/workspaces/{world.acme.slug}/events?limit=50").json()["items"]
    assert [each["action"] for each in events if each["result"] == "denied"] == []


def test_a_dry_run_registers_nothing(owner: Cmdop, world: World) -> None:
    told = owner("connect", "--workspace", world.acme.slug, "--hostname", "web-1", "--dry-run", "--json").ok().json
    assert (told["planned"], told["machine"]["hostname"], told["workspace"]["slug"]) == (
        True, "web-1", world.acme.slug,
    )  # fmt: skip
    assert machines(world) == []


def test_whoever_may_not_register_is_told_so(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "member", world.acme.slug)
    ran = cmdop("connect", "--workspace", world.acme.slug, "--yes", "--json")
    assert ran.code == 5
    assert not (root(cmdop) / "agent" / "machine.json").exists()


@pytest.mark.slow
def test_a_key_names_its_workspace(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner", "machines:write", shared=True)["text"]
    acting = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url)
    told = acting("connect", "--detach", "--hostname", "by-key", "--yes", "--json").ok().json
    assert (told["workspace"]["slug"], told["link"]["up"]) == (world.acme.slug, True)
    assert acting("connect", "stop").code == 0


@pytest.mark.parametrize("source", ["-", "file", "env"])
@pytest.mark.slow
def test_a_join_token_lets_one_machine_in(cmdop: Cmdop, world: World, tmp_path: Path, source: str) -> None:
    made = world.as_("owner").post(f"/workspaces/{world.acme.slug}/join-tokens", json={"name": "image"}).json()
    (tmp_path / "token").write_text(made["secret"] + "\n")
    given = {"-": "-", "file": f"file:{tmp_path}/token", "env": "env:JOIN"}[source]
    acting = cmdop.with_(CMDOP_SERVER_URL=world.server.url, JOIN=made["secret"])
    hostname = unique("joined")
    line = ("connect", "--detach", "--hostname", hostname, "--join-token", given, "--json")
    assert acting(*line, stdin=made["secret"]).code == 7
    told = acting(*line, "--yes", stdin=made["secret"]).ok().json
    assert (told["machine"]["hostname"], told["workspace"]["slug"]) == (hostname, world.acme.slug)
    assert made["secret"] not in (root(cmdop) / "agent" / "machine.json").read_text()
    acting("connect", "stop").ok()
    again = acting.with_(CMDOP_CONFIG_DIR=str(tmp_path / "second"))(*line, "--yes", stdin=made["secret"])
    assert again.code == 4


@pytest.mark.slow
def test_a_copied_disk_becomes_a_machine_of_its_own_and_the_first_stays(owner: Cmdop, world: World) -> None:
    hostname = unique("copied")
    up(owner, world, hostname)
    copied = root(owner).parent / "copy"
    shutil.copytree(root(owner), copied, ignore=shutil.ignore_patterns("*.sock", "pid", "*.lock"))
    copy = owner.with_(CMDOP_CONFIG_DIR=str(copied))
    ran = copy("connect", "start")
    assert ran.code == 6
    assert f"error: {hostname} is online already with this credential: this disk is a copy, or has one\n" in ran.err
    (fix,) = re.findall("^fix: cmdop (.*)$", ran.err, re.MULTILINE)
    # Under a supervisor it stays, and waits for the other one to go: a program reads why, a person what to do.
    with copy.start("connect", "daemon") as waits:
        shown = eventually(
            lambda: copy("connect", "status", "--json"), lambda ran: ran.code == 0 and ran.json["link"]["problem"]
        )
        link = shown.json["link"]
        assert (link["up"], link["problem_code"]) == (False, "duplicate_credential")
        assert f"cmdop connect stop && cmdop {fix}\n" in copy("connect", "status").ok().err
        copy("connect", "stop").ok()
        waits.communicate(timeout=20)
    told = copy(*fix.split(), "--yes", "--json").ok().json
    assert told["link"]["problem_code"] is None
    assert (told["machine"]["hostname"], told["link"]["up"]) == (f"{hostname}-2", True)
    first = owner("connect", "status", "--json").ok().json
    assert (first["machine"]["hostname"], first["link"]["up"]) == (hostname, True)
    assert first["machine"]["id"] != told["machine"]["id"]


@pytest.mark.slow
def test_a_join_token_of_another_workspace_than_the_one_that_is_meant_lets_nothing_in(
    cmdop: Cmdop, world: World, tmp_path: Path
) -> None:
    """D-22: what the line, the shell or a guard says is never passed over, and the token stays good."""
    acme, rival = world.acme.slug, world.globex.slug
    made = world.as_("owner").post(f"/workspaces/{acme}/join-tokens", json={"name": "image"}).json()
    (tmp_path / "token").write_text(made["secret"])
    acting = cmdop.with_(CMDOP_SERVER_URL=world.server.url)
    line = ("connect", "--detach", "--hostname", unique("meant"), "--join-token", f"file:{tmp_path}/token", "--yes")
    for said, by, code in (
        (("--workspace", rival), {}, 2),
        ((), {"CMDOP_WORKSPACE": rival}, 2),
        (("--expect", rival), {}, 7),
        ((), {"CMDOP_EXPECT_WORKSPACE": rival}, 7),
        (("--workspace", acme, "--expect", rival), {}, 7),
    ):
        ran = acting.with_(**by)(*line, *said)
        assert ran.code == code, ran.err
        assert "registered" not in ran.err
    assert f"fix: cmdop connect join-token create --workspace {rival}\n" in acting(*line, "--workspace", rival).err
    told = acting(*line, "--workspace", acme, "--expect", acme, "--json").ok().json
    assert told["workspace"]["slug"] == acme
    acting("connect", "stop").ok()


def test_a_join_token_that_is_no_longer_good_says_so(cmdop: Cmdop, world: World, tmp_path: Path) -> None:
    made = world.as_("owner").post(f"/workspaces/{world.acme.slug}/join-tokens", json={"name": "image"}).json()
    world.as_("owner").delete(f"/workspaces/{world.acme.slug}/join-tokens/{made['id']}").raise_for_status()
    acting = cmdop.with_(CMDOP_SERVER_URL=world.server.url)
    ran = acting("connect", "--detach", "--join-token", "-", "--yes", stdin=made["secret"])
    assert ran.code == 4
    assert "error: this join token lets no machine in: it was used, revoked, has expired" in ran.err
    assert "there is no join token in variable NOWHERE" in acting("connect", "--join-token", "env:NOWHERE").err


@pytest.mark.slow
def test_the_way_out_of_a_taken_hostname_goes_to_the_same_workspace(owner: Cmdop, world: World) -> None:
    """Pasted as it is, it registers there, under that name, and nowhere else."""
    hostname, slug = unique("way-out"), world.acme.slug
    world.as_("owner").post(
        "/agent/register", json={"hostname": hostname, "os": "linux", "arch": "x86_64", "version": "0", "boot_id": "b"}
    ).raise_for_status()
    line = ("connect", "--detach", f"--hostname={hostname}", "-w", slug, "--yes")
    ran = owner(*line)
    assert ran.code == 6
    assert f"error: another machine has the hostname {hostname}; it is offline\n" in ran.err
    assert f"fix: cmdop {' '.join(line)} --replace\n" in ran.err
    owner(*line, "--replace").ok()
    second = owner.with_(CMDOP_CONFIG_DIR=str(root(owner).parent / "second"))
    plant(second, world, "owner", slug, reach="all")
    for given in ((f"--hostname={hostname}",), ("--hostname", hostname)):
        ran = second("connect", "--detach", *given, "-w", slug, "--yes")
        assert f"fix: cmdop connect --detach -w {slug} --yes --hostname {hostname}-2\n" in ran.err
    owner("connect", "stop").ok()


def test_a_join_token_on_the_line_is_refused_and_not_repeated(cmdop: Cmdop, world: World) -> None:
    made = world.as_("owner").post(f"/workspaces/{world.acme.slug}/join-tokens", json={"name": "image"}).json()
    ran = cmdop("connect", "--yes", "--join-token", made["secret"])
    assert ran.code == 2
    assert made["secret"] not in ran.err
    assert cmdop("connect", "--yes", "--join-token", "-", stdin="cmdjt_nonsense").code == 4


@pytest.mark.slow
def test_what_is_registered_stays_whatever_is_active_or_named(owner: Cmdop, world: World) -> None:
    hostname = unique("stays")
    up(owner, world, hostname)
    personal = world["owner"].personal
    for when in ("running", "stopped"):
        ran = owner("connect", "--detach", "--workspace", personal, "--json")
        assert (ran.code, ran.error["code"]) == (6, "conflict"), when
        assert ran.error["hint"] == f"cmdop connect workspace move {hostname} --to {personal}"
        assert owner("connect", "--detach", "--hostname", "another").code == 6
        owner("connect", "stop").ok()
    by_id = owner("connect", "--detach", "--workspace", world.acme.id, "--json").ok().json
    assert by_id["machine"]["hostname"] == hostname
    assert len(machines(world)) == 1


@pytest.mark.slow
def test_the_first_stays_when_the_hostname_is_taken_and_an_offline_one_can_be_replaced(
    owner: Cmdop, world: World, tmp_path: Path
) -> None:
    hostname = unique("taken")
    first = up(owner, world, hostname)
    second = owner.with_(CMDOP_CONFIG_DIR=str(tmp_path / "second"))
    plant(second, world, "owner", world.acme.slug)
    line = ("connect", "--detach", "--hostname", hostname, "--workspace", world.acme.slug, "--yes", "--json")
    for more in ([], ["--replace"]):
        ran = second(*line, *more)
        assert (ran.code, ran.error["code"]) == (6, "hostname_taken")
    assert owner("connect", "status", "--json").ok().json["link"]["up"]
    owner("connect", "stop").ok()
    assert second(*line).error["hint"] == f"cmdop {' '.join(line)} --replace"
    told = second(*line, "--replace").ok().json
    assert told["machine"]["id"] == first["machine"]["id"]
    assert owner("connect", "start", "--json").code == 4
    second("connect", "stop").ok()


@pytest.mark.slow
def test_registering_again_is_the_same_machine_with_another_credential(owner: Cmdop, world: World) -> None:
    hostname = unique("again")
    first = up(owner, world, hostname)
    before = json.loads((root(owner) / "agent" / "machine.json").read_text())["credential"]
    assert owner("connect", "--detach", "--replace", "--yes").code == 6
    owner("connect", "stop").ok()
    again = owner("connect", "--detach", "--replace", "--yes", "--json").ok().json
    assert again["machine"]["id"] == first["machine"]["id"]
    assert json.loads((root(owner) / "agent" / "machine.json").read_text())["credential"] != before


@pytest.mark.slow
def test_another_server_is_not_shown_the_machine_s_credential(owner: Cmdop, world: World, tmp_path: Path) -> None:
    up(owner, world, unique("kept"))
    owner("connect", "stop").ok()
    asked: list[bytes] = []

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(400)

        def log_message(self, *_: object) -> None: ...

    token = tmp_path / "token"
    token.write_text(make_token("join"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        line = ("connect", "--detach", "--replace", "--yes", "--join-token", f"file:{token}")
        assert owner(*line, "--server", f"http://127.0.0.1:{other.server_port}").code != 0
        other.shutdown()
    assert asked
    assert not any(b"credential" in each for each in asked)


def test_a_second_agent_has_its_own_directory_and_hostname(owner: Cmdop, world: World, tmp_path: Path) -> None:
    names = [unique("one"), unique("two")]
    up(owner, world, names[0])
    other = owner.with_(CMDOP_CONFIG_DIR=str(tmp_path / "second"))
    plant(other, world, "owner", world.acme.slug)
    up(other, world, names[1])
    assert {each["hostname"] for each in machines(world) if each["state"] == "online"} >= set(names)
    assert owner("connect", "status", "--json").json["pid"] != other("connect", "status", "--json").json["pid"]
    other("connect", "stop").ok()
    assert owner("connect", "status", "--json").ok().json["link"]["up"]


# -- at a terminal -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(owner: Cmdop) -> Iterator[Callable[..., Terminal]]:
    """Run lines on terminals that are ended with the test."""
    opened: list[Terminal] = []

    def start(*line: str, width: int = 200) -> Terminal:
        opened.append(owner.on_terminal(*line, width=width))
        return opened[-1]

    yield start
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGTERM)
            terminal.process.wait(20)
        terminal.close()


@pytest.mark.slow
def test_the_first_time_it_shows_what_it_means_and_asks(
    owner: Cmdop, world: World, here: Callable[..., Terminal]
) -> None:
    hostname = unique("shown")
    refused = here("connect", "--hostname", hostname)
    shown = refused.until("[y/N]")
    assert f"workspace {world.acme.slug} (from the active workspace" in shown
    assert f"hostname {hostname}, remote work runs as OS user" in shown
    assert "gate: default, as the workspace's defaults say" in shown
    assert world["owner"].email in shown
    assert world["guest"].email not in shown
    assert "keys with commands:execute" in shown
    refused.type("n\r")
    assert refused.end() == 7
    assert machines(world) == []
    accepted = here("connect", "--hostname", hostname)
    accepted.until("[y/N]")
    accepted.type("y\r")
    assert "to reach one: cmdop connect MACHINE" in accepted.until("connected to")
    second = here("connect")
    assert second.end() == 6
    assert "to reach one: cmdop connect MACHINE" in second.text
    assert "error: an agent runs already on this machine" in second.text
    accepted.type("\x03")
    assert accepted.end() == 0
    assert "stopped; this machine is offline" in accepted.text.splitlines()
    assert [each["state"] for each in machines(world)] == ["offline"]


@pytest.mark.slow
def test_in_the_foreground_it_says_who_does_what_and_asks_the_person(
    owner: Cmdop, world: World, here: Callable[..., Terminal]
) -> None:
    hostname = unique("front")
    up(owner, world, hostname)
    owner("connect", "permissions", "ask", "execute_command", "echo **").ok()
    owner("connect", "stop").ok()
    agent = here("connect")
    agent.until("connected to")
    for answer, ran in (("y", {"stdout": "hi\n"}), ("n", None)):
        asking = exec_(world, owner, hostname, "echo", "hi")
        agent.until("asks for execute_command(echo hi); allow it? [y/N]")
        agent.type(f"{answer}\r")
        out, err = asking.communicate(timeout=60)
        assert (out == "hi\n") is (ran is not None), err
        agent.until("allowed" if ran else "refused")
        agent.screen.reset()
    assert far(world, owner, hostname, "true") is not None
    agent.until("command run by key-")
    agent.process.send_signal(signal.SIGTERM)
    assert agent.end() == 0


def exec_(world: World, cmdop: Cmdop, hostname: str, *argv: str, **options: Any) -> "subprocess.Popen[str]":
    """Start a command far away and do not wait for it."""
    return reaching(world, cmdop).start("connect", "exec", hostname, "--", *argv, **options)


@pytest.mark.slow
def test_approvals_are_answered_at_another_terminal(owner: Cmdop, world: World, here: Callable[..., Terminal]) -> None:
    hostname = unique("desk")
    up(owner, world, hostname)
    owner("connect", "permissions", "ask", "execute_command", "echo **").ok()
    assert refused(world, owner, hostname, "echo", "hi") == "approval_unavailable"
    desk = here("connect", "approvals")
    desk.until("waiting for requests")
    asking = exec_(world, owner, hostname, "echo", "hi")
    desk.until("allow it? [y/N]")
    (waiting,) = owner("connect", "approvals", "--json").ok().json["items"]
    assert waiting["request"] == "execute_command(echo hi)"
    desk.type("y\r")
    assert asking.communicate(timeout=60)[0] == "hi\n"
    withdrawn = exec_(world, owner, hostname, "echo", "again")
    desk.until("execute_command(echo again)")
    withdrawn.send_signal(signal.SIGINT)
    withdrawn.communicate(timeout=60)
    desk.until("it is not asked for any more")
    other = exec_(world, owner, hostname, "echo", "from here")
    desk.until("from here")
    number = owner("connect", "approvals", "-q").ok().out.strip()
    owner("connect", "approvals", "--allow", number).ok()
    assert other.communicate(timeout=60)[0] == "from here\n"
    desk.type("\x03")
    assert desk.end() in (0, 130)
    assert refused(world, owner, hostname, "echo", "hi") == "approval_unavailable"


@pytest.mark.slow
def test_what_the_gate_decides_without_a_link_is_told_as_a_number(
    owner: Cmdop, world: World, here: Callable[..., Terminal]
) -> None:
    """A request that waits for a person when the link goes is withdrawn: the machine's log has it, ours its number."""
    hostname = unique("desk")
    up(owner, world, hostname)
    owner("connect", "permissions", "ask", "execute_command", "echo **").ok()
    desk = here("connect", "approvals")
    desk.until("waiting for requests")
    asking = exec_(world, owner, hostname, "echo", "hi")
    desk.until("allow it? [y/N]")
    owner("workspace", "switch", world.acme.slug).ok()  # the agent dials anew

    def untold() -> Ran:
        return owner("audit", "list", "--action", "gate.untold", "--json", "--workspace", world.acme.slug).ok()

    (event,) = eventually(untold, lambda ran: ran.json["items"]).json["items"]
    assert (event["target"]["label"], event["changes"], event["result"]) == (hostname, {"count": 1}, "failed")
    (decided,) = owner("connect", "permissions", "audit", "--json").ok().json["items"]
    assert (decided["verdict"], decided["reason"]) == ("deny", "the caller went away before anybody answered")
    assert "1 decision of the gate was made without a link" in owner("connect", "logs").ok().out
    asking.communicate(timeout=60)
    desk.type("\x03")
    assert desk.end() in (0, 130)


@pytest.mark.slow
def test_the_floor_knows_its_own_files_by_whatever_name(owner: Cmdop, world: World) -> None:
    """A hard link, and a home that is reached through a link: what is opened counts, not what it is called."""
    hostname, real = unique("linked"), Path(owner.environ["HOME"])
    by_link = real.parent / "by-link"
    by_link.symlink_to(real)
    owner = owner.with_(HOME=str(by_link), CMDOP_CONFIG_DIR=str(real / "own"))
    plant(owner, world, "owner", world.acme.slug, reach="all")
    up(owner, world, hostname)
    owner("connect", "permissions", "mode", "bypass", "--yes").ok()
    (real / "innocent").hardlink_to(real / "own" / "agent" / "machine.json")
    (real / "free").write_text("free")
    key = world.key("member", "files:read", "files:write")["text"]
    far = owner.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url, CMDOP_CONFIG_DIR=str(real / "far"))
    assert far("connect", "get", f"{hostname}:free", "-").ok().out == "free"
    before = (real / "own" / "agent" / "machine.json").read_bytes()
    for name in ("innocent", f"{real}/innocent", "own/agent/machine.json", f"{real}/own/state.json"):
        for line in (("get", f"{hostname}:{name}", "here"), ("put", "-", f"{hostname}:{name}")):
            ran = far("connect", *line, "--json", stdin="no")
            assert (ran.out, ran.error["code"]) == ("", "gate_denied"), ran
            assert "these are the files of cmdop itself" in ran.error["message"]
    assert (real / "own" / "agent" / "machine.json").read_bytes() == before
    far("connect", "put", "-", f"{hostname}:free", stdin="more").ok()


@pytest.mark.slow
def test_in_the_background_typed_lines_are_let_lie_and_cost_nothing(owner: Cmdop, world: World, tmp_path: Path) -> None:
    hostname = unique("desk")
    up(owner, world, hostname)
    owner("connect", "permissions", "ask", "execute_command", "echo **").ok()
    script = (
        f"set -m; {COMMAND} connect approvals & while [ ! -e {tmp_path}/typed ]; do sleep 0.1; done; "
        "before=$(cut -d' ' -f14,15 /proc/$!/stat); sleep 3; after=$(cut -d' ' -f14,15 /proc/$!/stat); "
        "echo took: $((${after/ /+} - (${before/ /+})))!; fg"
    )
    desk = Terminal(["bash", "-c", script], owner.environ, tmp_path)
    try:
        desk.until("waiting for requests")
        desk.type("y\r")
        (tmp_path / "typed").touch()
        desk.until("took: ")
        desk.until("!")
        ticks = int(desk.text.partition("took: ")[2].partition("!")[0])
        assert ticks < os.sysconf("SC_CLK_TCK")  # a third of what one that spins takes on a busy machine, or less
        desk.until("connect approvals")  # in front again, as bash says
        asking = exec_(world, owner, hostname, "echo", "hi")
        desk.until("allow it? [y/N]")
        desk.type("y\r")
        assert asking.communicate(timeout=60)[0] == "hi\n"
        desk.type("\x03")
    finally:
        desk.close()


# -- running -----------------------------------------------------------------------------------------------------------


def test_from_start_to_stop(owner: Cmdop, world: World) -> None:
    assert owner("connect", "start").code == 3
    assert owner("connect", "status").code == 3
    hostname = unique("life")
    told = up(owner, world, hostname)
    assert (told["running"], told["link"]["up"], told["gate"]["mode"]) == (True, True, "default")
    assert owner("connect", "--detach", "--json").ok().json["pid"] == told["pid"]
    assert owner("connect", "start", "--json").ok().json["pid"] == told["pid"]
    assert owner("connect").code == 6
    assert far(world, owner, hostname, "echo", "hi") == "hi\n"
    assert owner("connect", "restart", "--json").ok().json["pid"] != told["pid"]
    assert [each["state"] for each in machines(world)] == ["online"]
    owner("connect", "stop").ok()
    assert [each["state"] for each in machines(world)] == ["offline"]
    assert "no agent runs" in owner("connect", "stop").ok().err
    down = owner("connect", "status", "--json")
    assert (down.code, down.json["running"], down.json["machine"]["hostname"]) == (3, False, hostname)
    assert owner("connect", "restart", "--json").ok().json["link"]["up"]


@pytest.mark.slow
def test_status_and_help_say_the_same_in_every_form(owner: Cmdop, world: World) -> None:
    told = up(owner, world, unique("forms"))
    name = told["machine"]["hostname"]
    assert owner("connect", "status").ok().out == f"true\t{name}\t{world.acme.slug}\ttrue\tdefault\n"
    assert owner("connect", "status", "-q").ok().out == f"{name}\n"
    assert owner("connect", "status", "--fields", "link.up,gate.mode").ok().out == "true\tdefault\n"
    named = {"machine", "workspace", "active_workspace", "link", "gate", "versions", "server", "log", "pid"}
    status = owner("connect", "status", "--json").json
    assert set(status) >= named
    assert (status["run_as"], status["works_as"]) == (None, pwd.getpwuid(os.geteuid()).pw_name)


@pytest.mark.slow
def test_a_link_that_does_not_come_up_is_told(owner: Cmdop, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    up(owner, world, unique("alone"))
    owner("connect", "stop").ok()
    path = root(owner) / "agent" / "machine.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"relay_url": "ws://127.0.0.1:9/relay/agent"}))
    monkeypatch.setattr("cmdop_cli.agent.PATIENCE", 1.5)
    ran = owner.here("connect", "start", "--json")
    assert (ran.code, ran.error["code"]) == (8, "unreachable")
    assert "connection refused" in ran.error["message"]
    told = owner("connect", "status", "--json").ok().json
    assert (told["link"]["up"], told["link"]["refused"]) == (False, False)


@pytest.mark.slow
def test_a_machine_that_was_removed_is_told_and_stays_quiet(owner: Cmdop, world: World) -> None:
    told = up(owner, world, unique("gone"))
    gone = world.as_("owner").delete(f"/workspaces/{world.acme.slug}/machines/{told['machine']['id']}")
    assert gone.status_code in (200, 204)
    owner("connect", "stop")
    ran = owner("connect", "start", "--json")
    assert (ran.code, ran.error["hint"]) == (4, "cmdop connect --replace")
    assert owner("connect", "status").code == 3


@pytest.mark.slow
def test_the_agent_takes_nothing_of_what_chose_authority_for_the_call(owner: Cmdop, world: World) -> None:
    hostname = unique("plain")
    key = world.key("owner", "machines:write", shared=True)["text"]
    acting = owner.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url, CMDOP_OUTPUT="json")
    up(acting, world, hostname)
    owner("connect", "permissions", "mode", "bypass", "--yes").ok()
    environ = far(world, owner, hostname, "env")
    assert "CMDOP" not in environ
    assert key not in Path(f"/proc/{owner('connect', 'status', '--json').json['pid']}/environ").read_text()


@pytest.mark.slow
def test_the_log_is_private_and_can_be_followed(owner: Cmdop, world: World) -> None:
    assert owner("connect", "logs").code == 3
    hostname = unique("logged")
    up(owner, world, hostname)
    log = root(owner) / "agent" / "agent.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert "connected to" in owner("connect", "logs").ok().out
    assert owner("connect", "logs", "--lines", "0").ok().out == ""
    (line,) = owner("connect", "logs", "--lines", "1", "--json").ok().json["items"]
    assert line["line"]
    assert owner("connect", "logs", "-f", "--json").code == 2
    following = owner.start("connect", "logs", "-f", "--lines", "1")
    assert following.stdout is not None
    following.stdout.readline()
    far(world, owner, hostname, "true")
    assert "command run by" in following.stdout.readline()
    log.rename(log.with_suffix(".1"))
    log.write_text("after \x1b]0;turning\x07 over\n")
    assert following.stdout.readline() == "after \\x1b]0;turning\\x07 over\n"
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=30)
    assert following.returncode == 130


@pytest.mark.slow
def test_nothing_in_the_working_directory_becomes_the_agent(owner: Cmdop, world: World) -> None:
    (owner.folder / "cmdop_cli.py").write_text("raise SystemExit('hijacked')")
    (owner.folder / "cmdop_agent").mkdir()
    up(owner, world, unique("safe"))


# -- switching workspaces ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_switching_tells_the_agent_and_moves_no_machine(owner: Cmdop, world: World) -> None:
    hostname, personal = unique("switch"), world["owner"].personal
    assert "no agent runs" in owner("workspace", "switch", personal).ok().err
    assert owner("connect", "status", "--json").json["active_workspace"]["slug"] == personal
    owner("workspace", "switch", world.acme.slug).ok()
    up(owner, world, hostname)
    script = "echo began; read line; echo got $line"
    running = exec_(world, owner, hostname, "sh", "-c", script, stdin=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == "began\n"
    ran = owner("workspace", "switch", personal).ok()
    assert "the agent knows" in ran.err
    told = owner("connect", "status", "--json").ok().json
    assert (told["active_workspace"]["slug"], told["workspace"]["slug"]) == (personal, world.acme.slug)
    out, err = running.communicate("it\n", timeout=60)
    assert out == "got it\n", err
    assert len(machines(world)) == 1


@pytest.mark.slow
def test_an_agent_that_does_not_answer_leaves_everything_as_it_was(owner: Cmdop, world: World) -> None:
    told = up(owner, world, unique("stuck"))
    personal = world["owner"].personal
    owner("workspace", "use", personal).ok()
    before = json.loads((root(owner) / "state.json").read_text())
    os.kill(told["pid"], signal.SIGSTOP)
    try:
        ran = owner("workspace", "switch", world.acme.slug, "--json")
    finally:
        os.kill(told["pid"], signal.SIGCONT)
    assert (ran.code, ran.out) == (75, "")
    after = json.loads((root(owner) / "state.json").read_text())
    assert {name: after[name] for name in ("active", "previous")} == {
        name: before[name] for name in ("active", "previous")
    }
    owner("workspace", "switch", world.acme.slug).ok()


# -- the gate ----------------------------------------------------------------------------------------------------------


def test_rules_are_made_listed_and_taken_away(owner: Cmdop, world: World) -> None:
    hostname = unique("rules")
    up(owner, world, hostname)
    gate = ("connect", "permissions")
    owner(*gate, "mode", "strict").ok()
    assert refused(world, owner, hostname, "git", "--version") == "gate_denied"
    owner(*gate, "allow", "execute_command", "git --version").ok()
    owner(*gate, "deny", "session").ok()
    owner(*gate, "ask", "write_file(~/notes/**)").ok()
    assert far(world, owner, hostname, "git", "--version") is not None
    listed = owner(*gate, "list").ok().out.splitlines()
    assert listed == ["allow\texecute_command\tgit --version\t", "deny\tsession\t\t", "ask\twrite_file\t~/notes/**\t"]
    told = owner(*gate, "list", "--json").ok().json
    assert (told["mode"], told["problem"], len(told["items"])) == ("strict", None, 3)
    owner(*gate, "revoke", "1").ok()
    owner(*gate, "revoke", "deny", "session").ok()
    assert owner(*gate, "revoke", "deny", "session").code == 3
    assert owner(*gate, "revoke", "9").code == 3
    assert refused(world, owner, hostname, "git", "--version") == "gate_denied"
    assert owner(*gate, "mode").ok().out == "strict\n"
    assert machines(world)[0]["gate_mode"] == "strict"


@pytest.mark.slow
def test_what_would_open_the_gate_wide_wants_a_yes(owner: Cmdop, world: World) -> None:
    up(owner, world, unique("wide"))
    gate = ("connect", "permissions")
    assert owner(*gate, "mode", "bypass").code == 7
    assert owner(*gate, "allow", "execute_command").code == 7
    assert owner(*gate, "mode", "bypass", "--dry-run", "--json").ok().json["planned"] is True
    assert owner(*gate, "mode").ok().out == "default\n"
    owner(*gate, "mode", "bypass", "--yes").ok()
    assert owner(*gate, "mode").ok().out == "bypass\n"


@pytest.mark.parametrize(
    "line",
    [
        ["allow", "dance"],
        ["allow", "execute_command", "echo 'open"],
        ["allow", "execute_command", "** x"],
        ["allow", "read_file", "notes"],
        ["allow", "execute_command", "ls", "--cwd", "here"],
        ["mode", "open"],
        ["revoke", "first"],
        ["audit", "--verdict", "maybe"],
    ],
)
def test_a_rule_that_cannot_be_meant_is_a_usage_failure(owner: Cmdop, world: World, line: list[str]) -> None:
    plan = [] if line[0] == "audit" else ["--dry-run"]
    ran = owner("connect", "permissions", *line, *plan)
    assert ran.code == 2 or (line[0] == "revoke" and ran.code == 3), ran


@pytest.mark.slow
def test_without_an_agent_the_gate_can_be_read_and_not_moved(owner: Cmdop, world: World) -> None:
    assert owner("connect", "permissions", "list").code == 3
    up(owner, world, unique("still"))
    owner("connect", "permissions", "allow", "session").ok()
    ran = owner("connect", "permissions", "allow", "execute_command", "git 'status")
    assert ran.code == 2
    assert "error: the pattern of a command has a quotation mark or backslash without its end\n" in ran.err
    owner("connect", "stop").ok()
    assert owner("connect", "permissions", "list").ok().out == "allow\tsession\t\t\n"
    ran = owner("connect", "permissions", "mode", "strict", "--json")
    assert (ran.code, ran.error["code"]) == (69, "no_agent")


@pytest.mark.slow
def test_a_file_that_was_changed_by_hand_is_pointed_out(owner: Cmdop, world: World) -> None:
    hostname = unique("hand")
    up(owner, world, hostname)
    owner("connect", "permissions", "mode", "strict").ok()
    file = root(owner) / "agent" / "permissions.yaml"
    file.write_text(file.read_text().replace("strict", "bypass"))
    assert refused(world, owner, hostname, "true") == "gate_denied"
    assert "loosened by hand" in owner("connect", "permissions", "list").ok().err
    file.write_text("nonsense: [")
    assert refused(world, owner, hostname, "true") == "gate_denied"
    assert "cannot be used" in owner("connect", "permissions", "list").ok().err


@pytest.mark.slow
def test_decisions_are_listed_here_and_in_the_workspace_s_log(owner: Cmdop, world: World) -> None:
    hostname = unique("audit")
    up(owner, world, hostname)
    owner("connect", "permissions", "deny", "execute_command", "uname **").ok()
    far(world, owner, hostname, "true")
    refused(world, owner, hostname, "uname", "-a")
    decided = owner("connect", "permissions", "audit", "--json").ok().json["items"]
    assert [(each["verdict"], each["request"]) for each in decided] == [
        ("allow", "execute_command(true)"), ("deny", "execute_command(uname -a)"),
    ]  # fmt: skip
    (denied,) = owner("connect", "permissions", "audit", "--verdict", "deny", "--json").ok().json["items"]
    assert denied["actor"]["kind"] == "personal_key"
    assert denied["reason"] == "rule: deny execute_command uname **"
    terminal = owner.on_terminal("connect", "permissions", "audit", width=80)
    assert terminal.end() == 0
    heading, *rows = terminal.written.decode().replace("\r", "").splitlines()
    assert max(map(len, (heading, *rows))) <= 80
    places = heading.index("REQUEST"), heading.index("REASON")  # whole, at the cost of who asked
    assert [row[places[0] : places[1]].strip() for row in rows] == ["true", "uname -a"]
    assert rows[1][places[1] :] == "rule: deny uname **"  # the operation is most rows', and said in none


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.slow
def test_the_workspace_s_bypass_counts_only_where_it_was_accepted(owner: Cmdop, world: World, accepted: bool) -> None:
    world.as_("owner").patch(f"/workspaces/{world.acme.slug}/onboarding", json={"gate_mode": "bypass"})
    told = up(owner, world, unique("bypass"), *(["--accept-bypass"] if accepted else []))
    assert told["gate"]["mode"] == ("bypass" if accepted else "strict")


@pytest.mark.slow
def test_nobody_far_away_moves_the_gate(owner: Cmdop, world: World, tmp_path: Path) -> None:
    hostname = unique("far")
    up(owner, world, hostname)
    owner("connect", "permissions", "mode", "bypass", "--yes").ok()
    script = tmp_path / "ask.py"
    script.write_text(OTHER_CALLER)
    socket = str(socket_path(root(owner)))
    asked = '{"verb": "add_rule", "verdict": "allow", "operation": "session"}'
    here = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, str(script), socket, asked)
    for argv in (
        here,
        ("setsid", *here),
        ("sh", "-c", f"(setsid {' '.join(map(quoted, here))} > {tmp_path}/told) & sleep 2; cat {tmp_path}/told"),
    ):
        told = far(world, owner, hostname, *argv)
        assert json.loads(told)["code"] == "forbidden", told
    assert refused(world, owner, hostname, "cmdop", "connect", "permissions", "list") == "gate_denied"
    assert owner("connect", "permissions", "list").ok().out == ""


def quoted(word: str) -> str:
    """Return a word for a shell."""
    import shlex

    return shlex.quote(word)


@pytest.mark.slow
def test_the_socket_is_closed_to_others(owner: Cmdop, world: World) -> None:
    up(owner, world, unique("socket"))
    path = socket_path(root(owner))
    with short_path(path) as address:
        assert Path(address).stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        knocking = "import os, socket, sys; os.setuid(65534); socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        line = [sys.executable, "-c", knocking, "control.sock"]
        ran = subprocess.run(line, cwd=path.parent, capture_output=True, text=True, check=False)
        assert "PermissionError" in ran.stderr


# -- the service -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_service_is_written_shown_and_removed_and_nothing_is_run(owner: Cmdop, world: World) -> None:
    assert owner("connect", "service", "install", "--yes").code == 3
    up(owner, world, unique("unit"))
    planned = owner("connect", "service", "install", "--dry-run").ok().out
    assert owner("connect", "service", "install").code == 7
    told = owner("connect", "service", "install", "--yes", "--json").ok().json
    path = Path(told["path"])
    assert path.read_text() == planned
    assert path.is_relative_to(owner.environ["HOME"])
    assert any("enable --now" in line or "bootstrap" in line for line in told["start"])
    assert str(root(owner)) in planned
    owner("connect", "service", "uninstall").ok()
    assert not path.exists()
    path.write_text("[Service]\nExecStart=/somebody/else\n")
    assert owner("connect", "service", "install", "--yes").code == 6
    assert owner("connect", "service", "uninstall").code == 6
    assert path.exists()


@pytest.mark.slow
def test_what_the_service_starts_is_the_agent(owner: Cmdop, world: World) -> None:
    hostname = unique("served")
    up(owner, world, hostname)
    owner("connect", "stop").ok()
    text = owner("connect", "service", "install", "--dry-run").ok().out
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)[0])
    environ = dict(re.findall(r'"(\w+)=(.*)"', re.findall(r"^Environment=(.*)$", text, re.MULTILINE)[0]))
    with subprocess.Popen(words, env={"HOME": owner.environ["HOME"], "PATH": "/usr/bin:/bin", **environ}, cwd="/",
                          stderr=subprocess.PIPE, text=True) as served:  # fmt: skip
        assert served.stderr is not None
        assert "connected to" in served.stderr.readline()
        assert owner("connect", "status", "--json").ok().json["service"] is True
        ran = owner("connect", "restart", "--json")
        assert ran.code == 6
        assert "restart cmdop-agent" in ran.error["hint"]
        served.send_signal(signal.SIGTERM)
        assert served.wait(30) == 0


@pytest.mark.slow
def test_running_as_another_user_takes_root_and_draws_a_boundary(owner: Cmdop, world: World, tmp_path: Path) -> None:
    hostname = unique("bound")
    up(owner, world, hostname)
    owner("connect", "permissions", "mode", "bypass", "--yes").ok()
    owner("connect", "stop").ok()
    ran: Ran = owner("connect", "service", "install", "--run-as", "nobody", "--dry-run", "--json")
    if os.geteuid() != 0:
        assert (ran.code, ran.error["code"]) == (5, "forbidden")
        assert owner("connect", "daemon", "--run-as", "nobody").code == 5
        return
    assert ran.ok().json["items"][0]["path"].startswith("/etc/systemd/system/")
    assert '"--run-as" "nobody"' in ran.out.replace("\\", "")
    assert owner("connect", "service", "install", "--run-as", "root", "--dry-run").code == 2
    assert owner("connect", "service", "install", "--run-as", "no-such-user", "--dry-run").code == 3
    served = owner.start("connect", "daemon", "--service", "--run-as", "nobody")
    assert served.stderr is not None
    assert "connected to" in served.stderr.readline()
    assert far(world, owner, hostname, "id", "-un") == "nobody\n"
    assert far(world, owner, hostname, "sh", "-c", "echo $HOME $USER").split()[1] == "nobody"
    file = root(owner) / "agent" / "permissions.yaml"
    assert reaching(world, owner)("connect", "exec", hostname, "--", "cat", str(file)).code == 1
    status = owner("connect", "status", "--json").ok().json
    assert (status["run_as"], status["works_as"]) == ("nobody", "nobody")
    served.send_signal(signal.SIGTERM)
    served.communicate(timeout=30)
