"""The agent as the process it is: what it adopts, what it keeps open, how it is started, and how it is killed."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cmdop_sdk import AsyncCMDOPClient
from tests.cli.attached import run, settled
from tests.cli.signed import plant
from tests.fleet import EVERYTHING
from tests.processes import read_line, stop
from tests.terminal import COMMAND, Cmdop, eventually
from tests.world import World

# Ways to leave somebody behind: jobs that outlive their shell, and daemons, which fork twice in a session of their own.
COMMANDS = (
    ("true",),
    ("sh", "-c", "sleep 0.1 & exit 3"),
    ("sh", "-c", "(setsid sh -c 'sleep 0.1 & exit' >/dev/null 2>&1 &); exit 4"),
    ("sh", "-c", "setsid -f sh -c 'sleep 0.1; true' >/dev/null 2>&1"),
)
STATUSES = (0, 3, 4, 0)


@pytest.fixture
def owner(cmdop: Cmdop, world: World) -> Iterator[Cmdop]:
    """The command line of acme's owner on a machine called web-1 whose gate is open; its agent runs."""
    plant(cmdop, world, "owner", world.acme.slug, reach="all")
    named = ("--hostname", "web-1", "--workspace", world.acme.slug, "--yes")
    cmdop("connect", "--detach", *named).ok()
    cmdop("connect", "permissions", "mode", "bypass", "--yes").ok()
    yield cmdop
    cmdop("connect", "stop")


@pytest.fixture
def member(cmdop: Cmdop, world: World) -> Cmdop:
    """The command line of a member with a key, elsewhere."""
    return cmdop.with_(
        CMDOP_API_KEY=world.key("member", *EVERYTHING)["text"],
        CMDOP_SERVER_URL=world.server.url,
        CMDOP_CONFIG_DIR=str(Path(cmdop.environ["HOME"]) / "member"),
    )


def agent_of(owner: Cmdop) -> psutil.Process:
    """Return the running agent."""
    return psutil.Process(owner("connect", "status", "--json").ok().json["pid"])


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_hundred_commands_leave_no_zombie_and_no_descriptor(owner: Cmdop, member: Cmdop, world: World) -> None:
    agent = agent_of(owner)

    async def ten(client: AsyncCMDOPClient) -> None:
        each = [client.terminal.execute("web-1", COMMANDS[turn % 4]) for turn in range(10)]
        codes = [result.exit_code for result in await asyncio.gather(*each)]
        assert codes == [STATUSES[turn % 4] for turn in range(10)]

    async def play() -> None:
        key = member.environ["CMDOP_API_KEY"]
        async with AsyncCMDOPClient.remote(api_key=key, server=world.server.url) as client:
            await ten(client)
            eventually(agent.children, lambda left: not left)
            before = agent.num_fds()
            for _ in range(20):
                await ten(client)
            eventually(agent.children, lambda left: not left)  # neither running nor defunct
            eventually(agent.num_fds, lambda now: now <= before)

    asyncio.run(play())


def test_killed_it_takes_its_shells_along_and_can_be_started_again(owner: Cmdop, member: Cmdop) -> None:
    agent = agent_of(owner)
    terminal = settled(member.on_terminal("connect", "web-1"))
    try:
        run(terminal, "sleep 1000 & echo begun-$((1+1)); cat", "begun-2")
        shell = eventually(lambda: agent.children(recursive=True), lambda found: len(found) == 3)
        writing = member.start("connect", "exec", "web-1", "--", "sh", "-c", "echo $$; exec yes")
        assert writing.stdout is not None
        pid = int(read_line(writing.stdout, writing))
        agent.kill()
        # The shell and its jobs are hung up on, as by a terminal that goes; who writes has no reader any more.
        eventually(
            lambda: [each for each in (*(one.pid for one in shell), pid) if is_alive(each)], lambda left: not left
        )
        assert owner("connect", "status").code == 3
        owner("connect", "start").ok()
        assert member("connect", "exec", "web-1", "--", "echo", "again").ok().out == "again\n"
        stop(writing)
    finally:
        terminal.process.send_signal(signal.SIGTERM)
        terminal.end()
        terminal.close()


def test_it_needs_no_standard_streams(owner: Cmdop, member: Cmdop) -> None:
    owner("connect", "stop").ok()
    line = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(COMMAND), "connect", "daemon", "--service"]
    with subprocess.Popen(line, env=owner.environ, cwd="/") as served:
        try:
            eventually(
                lambda: owner("connect", "status", "--json"), lambda ran: not ran.code and ran.json["link"]["up"]
            )
            ran = member(
                "connect", "exec", "web-1", "--", "sh", "-c", "cat; ls /proc/$$/fd; echo err >&2", stdin="in\n"
            )
            assert (ran.ok().out.split(), ran.err) == (["in", "0", "1", "2"], "err\n")
            assert member("connect", "exec", "web-1", "--", "no-such-command").code == 255
            for descriptor in range(3):  # nothing of the agent's own has taken their place
                assert str(Path(f"/proc/{served.pid}/fd/{descriptor}").readlink()) == os.devnull
            owner("connect", "stop").ok()
            assert served.wait(60) == 0
        finally:
            served.kill()
