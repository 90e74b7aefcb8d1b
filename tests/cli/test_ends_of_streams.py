"""What people read when their terminal, command or sign-in meets another one, or a server that has died."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.signed import plant
from tests.fleet import Fleet, new_fleet
from tests.processes import Server, start_again, stop
from tests.terminal import Cmdop, Terminal
from tests.world import make_world

pytestmark = pytest.mark.slow


@pytest.fixture
def terminals() -> Iterator[Callable[..., Terminal]]:
    """Open terminals: ``terminals(cmdop, "connect", "web-1")``; closed for the test."""
    opened: list[Terminal] = []

    def open_one(cmdop: Cmdop, *line: str) -> Terminal:
        opened.append(cmdop.on_terminal(*line, width=200))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.process.send_signal(signal.SIGTERM)  # so that a session is closed, not lost
        stop(terminal.process)
        terminal.close()


def person(cmdop: Cmdop, fleet: Fleet, who: str) -> Cmdop:
    """Return the command line of somebody who is signed in to acme, with a configuration of their own."""
    theirs = cmdop.with_(CMDOP_CONFIG_DIR=f"{cmdop.environ['CMDOP_CONFIG_DIR']}-{who}")
    plant(theirs, fleet.world, who, "acme", reach="all")
    return theirs.with_(CMDOP_WORKSPACE=fleet.world.acme.slug)


def test_a_session_of_one_s_own_is_ended_and_opened_again_with_the_fix(
    cmdop: Cmdop, fleet: Fleet, terminals: Callable[..., Terminal]
) -> None:
    member = person(cmdop, fleet, "member")
    first = terminals(member, "connect", "web-2")
    first.until("Ctrl-D ends the shell")
    second = terminals(member, "connect", "web-2")
    assert second.end() == Exit.CONFLICT
    email = fleet.world["member"].email
    assert f"error: {email} has the active session on web-2: that is you, from elsewhere" in second.text
    fix = second.text.partition("fix: ")[2].splitlines()[0]
    end, both, again = fix.partition(" && ")
    assert (both, again) == (" && ", "cmdop connect web-2")
    member(*end.split()[1:], "--yes").ok()
    assert first.end() != 0
    third = terminals(member, *again.split()[1:])
    third.until("Ctrl-D ends the shell")
    third.type("exit\r")
    assert third.end() == 0


def test_who_loses_a_session_is_led_to_watching_it(
    cmdop: Cmdop, fleet: Fleet, terminals: Callable[..., Terminal]
) -> None:
    owner, member = person(cmdop, fleet, "owner"), person(cmdop, fleet, "member")
    theirs = terminals(member, "connect", "web-2")
    theirs.until("Ctrl-D ends the shell")
    watching = terminals(owner, "connect", "observe", "web-2")
    watching.until("read only")
    taking = terminals(owner, "connect", "web-2", "--take-over")
    taking.until("Ctrl-D ends the shell")
    for lost in (theirs, watching):
        assert lost.end() == Exit.CONFLICT
        assert "somebody took the session over" in lost.text
        assert "fix: cmdop connect observe web-2" in lost.text
    taking.type("exit\r")
    assert taking.end() == 0


def test_where_nothing_is_to_be_watched_a_terminal_can_be_opened(cmdop: Cmdop, fleet: Fleet) -> None:
    ran = person(cmdop, fleet, "member")("connect", "observe", "web-2")
    assert ran.code == Exit.NOT_FOUND
    assert "fix: cmdop connect to web-2\n" in ran.err


def test_a_command_that_is_not_there_leads_to_where_it_was_looked_for(cmdop: Cmdop, fleet: Fleet) -> None:
    ran = person(cmdop, fleet, "member")("connect", "exec", "web-2", "--timeout", "20s", "--", "no-such-command", "-x")
    assert ran.code == Exit.REMOTE
    assert "fix: cmdop connect exec web-2 --timeout 20s -- printenv PATH\n" in ran.err


def test_a_command_whose_relay_died_may_have_run(
    cmdop: Cmdop, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server()
    world = make_world(server)
    fleet = new_fleet(world, tmp_path / "machines", "web-1")
    again: Server | None = None
    try:
        line = ["connect", "exec", "web-1", "--timeout", "5m", "--", "sh", "-c", "echo begun; sleep 240"]
        running = cmdop.with_(**fleet.as_("member")).start(*line)
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        server.process.kill()
        server.process.wait()
        again = start_again(server, "--port", str(urlsplit(server.url).port))
        with running:
            said = running.communicate(timeout=60)[1]
        assert running.returncode == Exit.REMOTE
        assert "could not be resumed: " in said
        assert "; it may have run to its end\n" in said
        if "it has ended meanwhile" in said:  # else the server took longer to be back than a stream is waited for
            assert "fix: cmdop audit list\n" in said
    finally:
        fleet.stop()
        if again is not None:
            again.stop()
        world.close()


def test_a_sign_in_whose_server_died_goes_on_asking_and_says_so(
    cmdop: Cmdop, new_server: Callable[..., Server], terminals: Callable[..., Terminal]
) -> None:
    server = new_server()
    login = terminals(cmdop, "login", "--no-browser", "--server", server.url)
    login.until("within 10 minutes")
    server.process.kill()
    server.process.wait()
    shown = login.until("Ctrl-C gives up")
    assert f"cannot reach {server.url}: " in shown
    login.type("\x03")
    assert login.end() == Exit.INTERRUPTED
