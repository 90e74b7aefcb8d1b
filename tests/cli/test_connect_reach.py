"""``cmdop connect M`` and ``connect observe`` on real terminals: what is typed, what is shown, how it ends (D-26)."""

import os
import shlex
import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmdop_wire.frames import LIMITS
from cmdop_wire.vocab import Exit
from tests.cli.attached import PROMPT, child_of, resize, run, settled
from tests.cli.signed import plant
from tests.fleet import EVERYTHING, Fleet, new_fleet, unique
from tests.processes import Server
from tests.terminal import COMMAND, Cmdop, Terminal, eventually
from tests.tools import tool
from tests.world import make_world


def modes(terminal: Terminal) -> list[Any]:
    """Return the line discipline's settings."""
    return termios.tcgetattr(terminal._terminal)


# -- a session -----------------------------------------------------------------------------------------------------


def test_it_says_where_one_is_and_how_to_leave(member: Cmdop, at: Callable[..., Terminal], fleet: Fleet) -> None:
    terminal = member.on_terminal("connect", "web-1")
    shown = terminal.until("Ctrl-D ends the shell")
    assert f"web-1 in workspace {fleet.world.acme.slug} (from the key in CMDOP_API_KEY)" in shown
    assert "~. disconnects" in shown
    terminal.type("exit 7\r")
    assert terminal.end() == 7
    assert "the session on web-1 has ended" in terminal.text


def test_ctrl_c_goes_to_the_far_side_and_ctrl_d_ends_the_shell(at: Callable[..., Terminal]) -> None:
    terminal = at("web-1")
    terminal.type("echo go-$((40+2)); cat\r")
    terminal.until("go-42")  # what is typed before that, the shell may still take for itself
    terminal.type("echoed\r")
    terminal.until(lambda text: text.count("echoed") == 2)
    terminal.type("\x03")
    terminal.until(lambda text: "^C" in text and text.endswith(PROMPT.strip()))
    run(terminal, "echo still-$((40+2))", "still-42")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_a_resize_reaches_the_far_side(at: Callable[..., Terminal]) -> None:
    terminal = at("web-1", width=100, height=40)
    run(terminal, "stty size", "40 100")
    resize(terminal, 132, 50)
    # The new size arrives on its own way, beside what is typed.
    run(terminal, "until [ \"$(stty size)\" = '50 132' ]; do sleep 0.05; done; echo resized-$((1+1))", "resized-2")


def test_two_hundred_lines_of_every_width_arrive_exactly(at: Callable[..., Terminal], fleet: Fleet) -> None:
    pieces = ["plain", "äöü", "日本語", "👩‍👩‍👧‍👦", "e\u0301", "עברית", "한국어", "\u200bzero", "ｗｉｄｅ", "𝔘𝔫𝔦"]
    text = [
        f"{number:03}:" + "".join(pieces[(number + each) % 10] * each for each in range(4)) for number in range(200)
    ]
    name = unique("lines")
    (fleet.home / name).write_text("".join(f"{line}\n" for line in text), "utf-8")
    terminal = at("web-1")
    terminal.type(f"clear; echo begin-$((1)); cat ~/{name}; echo end-$((2))\r")
    terminal.until("end-2")
    body = terminal.written.split(b"begin-1\r\n")[1].split(b"end-2")[0]
    assert body == "".join(f"{line}\r\n" for line in text).encode()


def test_a_tilde_at_the_beginning_of_a_line_is_ours(at: Callable[..., Terminal]) -> None:
    terminal = at("web-1")
    before = modes(terminal)
    terminal.type("~?")
    terminal.until("~.  disconnect")
    terminal.type("echo x~.y\r")  # in the middle of a line it is only a tilde
    terminal.until(lambda text: text.count("x~.y") == 2)
    terminal.type("~.")
    assert terminal.end() == 0
    assert "disconnected from web-1" in terminal.text
    assert before != modes(terminal)  # it was raw, and is not any more


def test_without_a_terminal_it_names_exec(member: Cmdop) -> None:
    ran = member("connect", "web-1")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "fix: cmdop connect exec web-1 -- COMMAND" in ran.err


def test_the_shells_terminal_is_restored_however_it_ends(member: Cmdop, terminal: Callable[..., Terminal]) -> None:
    script = (
        f"stty -a > before; {COMMAND} connect web-1; echo status=$?; stty -a > after; cmp before after && echo same"
    )
    shown = terminal(["sh", "-c", script], member.environ)
    settled(shown)
    shown.type("printf '\\033[?1049h\\033[?25l\\033[?1000hfull'\r")
    shown.until("full")
    os.kill(child_of(shown.process.pid), signal.SIGTERM)
    shown.until("same")
    assert "status=143" in shown.text
    tail = shown.written.rpartition(b"full")[2]
    for mode in (b"\x1b[?1000l", b"\x1b[?25h", b"\x1b[?1049l"):
        assert mode in tail


def test_stopped_it_leaves_the_terminal_to_the_shell_and_goes_on_in_the_foreground(
    member: Cmdop, terminal: Callable[..., Terminal]
) -> None:
    shown = terminal([tool("bash"), "--norc", "-i"], member.environ | {"PS1": "local> "})
    shown.until("local>")
    shown.type(f"stty -a > before; {COMMAND} connect web-1\r")
    settled(shown)
    attached = modes(shown)
    ours = child_of(shown.process.pid)
    os.kill(ours, signal.SIGTSTP)
    shown.until("Stopped")
    shown.type("stty -a > after; cmp before after && echo same-$((1+1))\r")
    shown.until("same-2")
    shown.type("stty cols 90; clear; fg\r")
    eventually(lambda: modes(shown), lambda now: now == attached)
    run(shown, "\runtil stty size | grep -q 90; do sleep 0.05; done; echo far-$((1+1))", "far-2")
    os.kill(ours, signal.SIGSTOP)  # which cannot be prepared for
    shown.until("Stopped")
    shown.type("fg\r")
    eventually(lambda: modes(shown), lambda now: now == attached)
    run(shown, "\recho further-$((1+1))", "further-2")
    shown.type("exit 5\r")
    shown.until("the session on web-1 has ended\nlocal>")  # the one before fg is still on the screen
    run(shown, "echo status-$?; stty cols 100; stty -a > after; cmp before after && echo still-$((1+1))", "still-2")
    assert "status-5" in shown.text


def test_an_interrupt_from_elsewhere_restores_the_terminal(member: Cmdop, terminal: Callable[..., Terminal]) -> None:
    script = (
        f"stty -a > before; {COMMAND} connect web-1; echo status=$?; stty -a > after; cmp before after && echo same"
    )
    shown = terminal(["sh", "-c", f"trap : INT; {script}"], member.environ)
    settled(shown)
    os.kill(child_of(shown.process.pid), signal.SIGINT)
    shown.until("same")
    assert "status=130" in shown.text


def test_a_terminal_that_goes_away_closes_the_session(at: Callable[..., Terminal], member: Cmdop) -> None:
    terminal = at("web-2")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), terminal._terminal)  # as when its window is closed
    assert terminal.process.wait(60) in (Exit.DONE, Exit.TERMINATED)
    listing = ("connect", "sessions", "--machine", "web-2", "--limit", "1", "--json")
    session = eventually(
        lambda: member.here(*listing).ok().json["items"][0],
        lambda each: each["state"] == "ended",
        LIMITS.grace / 2,  # closed, not lost and waited for
    )
    assert session["end_reason"] == "closed"


# -- two people ----------------------------------------------------------------------------------------------------


def test_a_second_operator_is_told_who_has_it(at: Callable[..., Terminal], member: Cmdop, fleet: Fleet) -> None:
    terminal = at("web-2")
    other = member.with_(**fleet.as_("admin"))
    second = other.on_terminal("connect", "web-2")
    assert second.end() == Exit.CONFLICT
    assert "has the active session on web-2" in second.text
    assert "--take-over" in second.text
    assert "fix: cmdop connect observe web-2" in second.text
    run(terminal, "echo mine-$((1+1))", "mine-2")


def test_an_admin_takes_over_and_a_member_does_not(
    at: Callable[..., Terminal], member: Cmdop, cmdop: Cmdop, fleet: Fleet
) -> None:
    terminal = at("web-2")
    denied = member.with_(CMDOP_API_KEY=fleet.world.key("member", *EVERYTHING)["text"])
    refused = denied.on_terminal("connect", "to", "web-2", "--take-over")
    assert refused.end() == Exit.FORBIDDEN
    plant(cmdop, fleet.world, "admin")
    taken = at("web-2", "--take-over", who=cmdop)
    assert terminal.end() == Exit.CONFLICT
    assert "took the session over" in terminal.text
    run(taken, "echo theirs-$((1+1))", "theirs-2")


def test_a_guest_watches_and_cannot_type(
    at: Callable[..., Terminal], cmdop: Cmdop, fleet: Fleet, tmp_path: Path
) -> None:
    terminal = at("db-1")
    run(terminal, "echo before-$((1+1))", "before-2")
    plant(cmdop, fleet.world, "guest")
    guest = cmdop.on_terminal("connect", "observe", "db-1")
    guest.until("before-2")  # they see what was on the screen
    assert b"read only" in guest.written
    mark = unique("guest")
    guest.type(f"touch ~/{mark}\r")
    run(terminal, "echo after-$((1+1))", "after-2")
    guest.until("after-2")
    assert mark not in terminal.text
    assert not (fleet.home / mark).exists()
    guest.type("\x03")
    assert guest.end() == 0
    run(terminal, "echo alone-$((1+1))", "alone-2")
    refused = cmdop.on_terminal("connect", "db-1")
    assert refused.end() == Exit.FORBIDDEN


def test_who_watches_is_told_of_the_end(at: Callable[..., Terminal], member: Cmdop) -> None:
    terminal = at("db-1")
    run(terminal, "echo seen-$((1+1))", "seen-2")
    watching = member.on_terminal("connect", "observe", "db-1")
    watching.until("seen-2")
    recording = member.start("connect", "observe", "db-1", text=False)
    assert recording.stderr is not None
    assert recording.stdout is not None
    said = b""
    while b"read only" not in said:  # it watches now
        line = recording.stderr.readline()
        assert line, said
        said += line
    watching_too = member.on_terminal("connect", "observe", "db-1")
    watching_too.until("seen-2")
    terminal.type("echo last-$((1+1)); exit\r")
    assert terminal.end() == 0
    assert watching.end() == watching_too.end() == 0
    assert "the session on db-1 has ended" in watching.text
    out, _ = recording.communicate(timeout=60)
    assert recording.returncode == 0
    assert b"last-2" in out


def test_watching_nothing_is_exit_3(member: Cmdop) -> None:
    ran = member("connect", "observe", "web-1")
    assert ran.code == Exit.NOT_FOUND
    assert "no active session on web-1" in ran.err


def test_only_who_may_operate_is_told_to_begin_a_session(member: Cmdop, cmdop: Cmdop, fleet: Fleet) -> None:
    assert "\nfix: cmdop connect to web-1\n" in member("connect", "observe", "web-1").err
    begun = member.on_terminal("connect", "observe", "db")  # the beginning of a name is enough there
    assert begun.end() == Exit.NOT_FOUND
    assert "fix: cmdop connect to db-1" in begun.text
    plant(cmdop, fleet.world, "guest")
    ran = cmdop("connect", "observe", "web-1")
    assert ran.code == Exit.NOT_FOUND
    assert "\nfix: cmdop connect sessions\n" in ran.err
    cmdop("connect", "sessions").ok()  # which a guest may
    watcher = fleet.world.key("member", "sessions:observe")["text"]
    ran = member.with_(CMDOP_API_KEY=watcher)("connect", "observe", "web-1")
    assert (ran.code, "fix:" in ran.err) == (Exit.NOT_FOUND, False)  # such a key may watch, and nothing else


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_unique_beginning_is_enough_at_a_terminal(member: Cmdop) -> None:
    terminal = member.on_terminal("connect", "db")
    shown = terminal.until("Ctrl-D ends the shell")
    assert "db is db-1" in shown
    assert "\ndb-1 in workspace " in shown  # from then on it is called by its name
    terminal.type("exit\r")
    assert terminal.end() == 0
    assert "the session on db-1 has ended" in terminal.text


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["connect", "web"], Exit.USAGE, "web may be any of web-1, web-2"),
        (["connect", "w"], Exit.NOT_FOUND, "is called w"),
        (["connect", "xyz"], Exit.NOT_FOUND, "is called xyz"),
        (["connect", "sesions"], Exit.NOT_FOUND, "fix: cmdop connect sessions"),
        (["connect", "to", "webb-1"], Exit.NOT_FOUND, "fix: cmdop connect to web-1"),
        (["connect", "to", "webb-1"], Exit.NOT_FOUND, "is called webb-1; the nearest is web-1"),
        (["connect", "show", "web"], Exit.USAGE, "web may be any of web-1, web-2"),
        (["connect", "observe", "db"], Exit.NOT_FOUND, "no active session on db-1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_beginning_that_leads_nowhere(member: Cmdop, line: list[str], code: int, said: str) -> None:
    terminal = member.on_terminal(*line)
    assert terminal.end() == code
    assert said in terminal.text


def test_without_a_terminal_the_nearest_verb_is_named(member: Cmdop) -> None:
    for words, fix in (
        (["lst"], "cmdop connect list"),
        (["obsrve", "web-1"], "cmdop connect observe web-1"),
        (["web-1"], "cmdop connect exec web-1 -- COMMAND"),
        (["to", "lst"], "cmdop connect exec lst -- COMMAND"),
    ):
        ran = member("connect", *words)
        assert ran.code == Exit.USAGE
        assert f"\nfix: {fix}\n" in ran.err, ran.err


def test_a_script_must_say_exactly_what_it_means(member: Cmdop) -> None:
    for line in (["connect", "show", "db"], ["connect", "observe", "db"], ["connect", "exec", "db", "--", "true"]):
        ran = member(*line)
        assert ran.code in (Exit.NOT_FOUND, Exit.REMOTE), line
        assert "called db" in ran.err
        assert "fix: cmdop connect list\n" in ran.err  # db-1 is one machine of perhaps many


def test_a_folder_that_is_not_there_is_one_line_away(member: Cmdop) -> None:
    (member.folder / "a.txt").write_text("a")
    line = ("connect", "put", "a.txt", "web-1:not there/yet/a.txt")
    ran = member.here(*line)
    assert ran.code == Exit.NOT_FOUND
    assert ran.err.startswith("error: there is no folder not there/yet on web-1\n")
    fix = ran.err.rpartition("fix: ")[2]
    assert fix == "cmdop connect exec web-1 -- mkdir -p 'not there/yet'\n"
    member(*shlex.split(fix)[1:]).ok()
    member.here(*line).ok()


def test_a_machine_can_be_picked_at_a_terminal(member: Cmdop) -> None:
    terminal = member.on_terminal("connect", "to")
    shown = terminal.until("open a terminal on [1-")
    assert "off-1" not in shown  # it is not online
    number = next(line.split()[0] for line in shown.splitlines() if line.endswith("db-1"))
    terminal.type(f"{number}\r")
    terminal.until("db-1 in workspace ")
    terminal.until("Ctrl-D ends the shell")
    terminal.type("exit\r")
    terminal.until("the session on db-1 has ended")
    assert terminal.end() == 0
    piped = member("connect", "show")
    assert piped.code == Exit.USAGE


def test_a_machine_called_as_a_verb_is_reached_with_to(member: Cmdop, fleet: Fleet) -> None:
    fleet.start("list")
    assert member("connect", "list", "--json").ok().json["schema"] == "cmdop.machine.v1"
    terminal = member.on_terminal("connect", "to", "list")
    terminal.until("Ctrl-D ends the shell")
    terminal.type("exit\r")
    assert terminal.end() == 0


# -- when things break ---------------------------------------------------------------------------------------------


@pytest.fixture
def own(new_server: Callable[..., Server], tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a server of the test's own, which it may kill."""
    made = new_fleet(make_world(new_server()), tmp_path / "own", "web-1")
    yield made
    made.stop()


def test_modes_are_restored_after_the_relay_was_killed(
    cmdop: Cmdop, own: Fleet, terminal: Callable[..., Terminal]
) -> None:
    here = cmdop.with_(**own.as_("member"))
    script = (
        f"stty -a > before; {COMMAND} connect web-1; echo status=$?; stty -a > after; cmp before after && echo same"
    )
    shown = terminal(["sh", "-c", script], here.environ)
    settled(shown)
    own.world.server.process.kill()
    shown.until("the connection was lost; reconnecting")
    shown.type("\r~.")  # also now
    shown.until("same")
    assert "status=0" in shown.text


@pytest.mark.slow
def test_without_a_relay_it_ends_after_the_grace(cmdop: Cmdop, own: Fleet, terminal: Callable[..., Terminal]) -> None:
    here = cmdop.with_(**own.as_("member"))
    script = (
        f"stty -a > before; {COMMAND} connect web-1; echo status=$?; stty -a > after; cmp before after && echo same"
    )
    shown = terminal(["sh", "-c", script], here.environ)
    settled(shown)
    own.world.server.process.kill()
    shown.until("same")
    assert f"status={int(Exit.UNREACHABLE)}" in shown.text
    assert "could not be resumed" in shown.text
