"""What ``cmdop connect`` on a registered machine refuses, and lines to paste that then do what was wanted."""

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.signed import plant
from tests.fleet import unique
from tests.terminal import Cmdop, Ran, eventually
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def agents(isolated: dict[str, str]) -> Iterator[None]:
    """End every agent that a test left running in its home."""
    yield
    for pid in Path(isolated["HOME"]).parent.glob("**/agent/pid"):
        with suppress(ValueError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture
def owner(cmdop: Cmdop, world: World, agents: None) -> Cmdop:
    """The command line of acme's owner, signed in, on a machine that is not registered."""
    plant(cmdop, world, "owner", world.acme.slug, reach="all")
    return cmdop


def fix(ran: Ran) -> str:
    """Return the line to paste."""
    (line,) = re.findall("^fix: (.*)$", ran.err, re.MULTILINE)
    return str(line)


def pasted(cmdop: Cmdop, line: str, stdin: str = "") -> Ran:
    """Run a line as a shell would, which stops at the first part that fails."""
    for part in line.split(" && "):
        ran = cmdop(*shlex.split(part)[1:], stdin=stdin).ok()
    return ran


def test_another_name_for_a_running_machine_is_one_line_away(owner: Cmdop, world: World) -> None:
    first, second = unique("first"), unique("second")
    line = ("connect", "--detach", "--workspace", world.acme.slug, "--yes", "--hostname")
    owner(*line, first).ok()
    ran = owner(*line, second)
    assert ran.code == 6
    assert ran.err.startswith(f"error: this machine is registered as {first}\n")
    pasted(owner, fix(ran))
    assert owner("connect", "status", "--json").ok().json["machine"]["hostname"] == second
    for _ in range(2):  # also where none runs any more
        told = owner("connect", "stop", "--json").ok().json
        assert (told["schema"], told["running"], told["machine"]["hostname"]) == ("cmdop.agent.v1", False, second)
    assert owner("connect", "stop").ok().out == ""


def test_another_server_is_never_passed_over_for_the_running_agents(owner: Cmdop, world: World) -> None:
    owner("connect", "--detach", "--workspace", world.acme.slug, "--yes", "--hostname", unique("here")).ok()
    there = ("connect", "--detach", "--yes")
    for ran in (
        owner(*there, "--server", "http://127.0.0.1:9"),
        owner.with_(CMDOP_SERVER_URL="http://127.0.0.1:9")(*there),
    ):
        assert (ran.code, ran.out) == (6, "")
        assert f"registered at {world.server.url}, not at http://127.0.0.1:9\n" in ran.err
    owner(*there, "--server", world.server.url).ok()


def test_a_hostname_that_is_none_is_put_right_in_the_same_line(owner: Cmdop, world: World) -> None:
    line = ("connect", "--detach", "--hostname", "web_1", "--workspace", world.acme.slug, "--yes")
    ran = owner(*line)
    assert ran.code == 2
    assert fix(ran) == f"cmdop connect --detach --workspace {world.acme.slug} --yes --hostname web-1"
    pasted(owner, fix(ran))


def test_the_copy_of_a_machine_that_joined_with_a_token_takes_another_token(
    cmdop: Cmdop, world: World, agents: None
) -> None:
    def token() -> str:
        made = world.as_("owner").post(f"/workspaces/{world.acme.slug}/join-tokens", json={"name": unique("t")})
        return str(made.json()["secret"])

    hostname = unique("image")
    line = ("connect", "--detach", "--hostname", hostname, "--server", world.server.url, "--join-token", "-", "--yes")
    cmdop(*line, stdin=token()).ok()
    home = Path(cmdop.environ["CMDOP_CONFIG_DIR"])
    shutil.copytree(home, home.parent / "copy", ignore=shutil.ignore_patterns("*.sock", "pid", "*.lock"))
    copy = cmdop.with_(CMDOP_CONFIG_DIR=str(home.parent / "copy"))
    ran = copy("connect", "start")
    assert ran.code == 6
    pasted(copy, fix(ran), token())
    assert copy("connect", "status", "--json").ok().json["machine"]["hostname"] == f"{hostname}-2"


def test_whoever_stops_waiting_is_told_that_the_agent_goes_on(owner: Cmdop, world: World) -> None:
    line = ("connect", "--detach", "--workspace", world.acme.slug, "--yes", "--hostname", unique("slow"))
    owner(*line).ok()
    owner("connect", "stop").ok()
    world.server.process.send_signal(signal.SIGSTOP)  # so that no link comes up meanwhile
    try:
        starting = owner.start("connect", "start")
        eventually(lambda: owner("connect", "status"), lambda ran: ran.code == 0)  # it runs, and waits for its link
        starting.send_signal(signal.SIGINT)
        _, err = starting.communicate(timeout=20)
    finally:
        world.server.process.send_signal(signal.SIGCONT)
    assert starting.returncode == 130
    assert err.startswith("the agent goes on in the background; to stop it: cmdop connect stop\nerror: interrupted\n")
    owner("connect", "stop").ok()
