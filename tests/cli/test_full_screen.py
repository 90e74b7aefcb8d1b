"""Programs that take the whole screen, over the relay, on a terminal that knows what they ask of it."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.cli.attached import PROMPT, child_of, resize, run, settled
from tests.fleet import Fleet, unique
from tests.terminal import COMMAND, Cmdop, Terminal
from tests.tools import tool

# Has a second screen and the mouse, and nothing that pyte does not know (as xterm's «repeat that character»).
TERM = "screen-256color"
MOUSE = (1000, 1002, 1003, 1006)


def prompted(text: str) -> bool:
    """Tell whether the shell waits."""
    return text.endswith(f"\n{PROMPT.strip()}")


def keys_are_on(text: str) -> list[int]:
    """Return the lines with htop's keys, which it keeps at the bottom."""
    return [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("F1Help")]


def as_fresh(terminal: Terminal) -> bool:
    """Tell whether a terminal has no mode or style on that a program has left behind."""
    screen = terminal.screen
    style = screen.cursor.attrs
    return (
        not any(map(screen.has, (1, 1049, *MOUSE)))
        and screen.has(7)
        and not screen.cursor.hidden
        and (style.fg, style.bg, style.reverse) == ("default", "default", False)
    )


def test_vim_edits_a_file_over_the_relay(at: Callable[..., Terminal], fleet: Fleet) -> None:
    name = unique("edited")
    (fleet.home / name).write_text("first\nsecond\n")
    terminal = at("web-1", width=80, height=24)
    terminal.type(f"TERM=linux {tool('vim')} -u NONE -N ~/{name}\r")  # whose sequences pyte knows, all of them
    terminal.until("second")
    terminal.until(lambda text: text.count("~") > 15)  # the empty lines of a full screen
    terminal.type("Gothird ↵ line\x1b")
    terminal.until("third ↵ line")
    terminal.type(":au VimResized * call append('$', 'now '.&columns.'x'.&lines)\r:echo 'ar'.'med'\r")
    terminal.until("armed")
    resize(terminal, 60, 20)
    terminal.until("now 60x20")
    terminal.type(":wq\r")
    terminal.until(PROMPT.strip())
    assert (fleet.home / name).read_text("utf-8") == "first\nsecond\nthird ↵ line\nnow 60x20\n"
    run(terminal, "echo done-$((1+1))", "done-2")


def test_less_pages_searches_and_leaves_the_screen_as_it_was(at: Callable[..., Terminal], fleet: Fleet) -> None:
    name, lines = unique("long"), [f"line {number:03}" for number in range(1, 201)]
    lines[149] = "a needle"
    (fleet.home / name).write_text("".join(f"{line}\n" for line in lines))
    terminal = at("web-1", width=80, height=24)
    run(terminal, "stty -g; echo main-$((1+1))", "main-2")
    before = terminal.until(prompted)
    command = f"TERM={TERM} {tool('less')} ~/{name}"
    terminal.type(f"{command}\r")
    terminal.until(lambda text: text.startswith("line 001\n") and "\nline 023\n" in text)
    assert terminal.screen.has(1049)
    terminal.type(" ")
    terminal.until(lambda text: text.startswith("line 024\n") and "\nline 046\n" in text)
    terminal.type("/needle\r")
    terminal.until(lambda text: text.startswith("a needle\nline 151\n"))
    terminal.type("q")
    shown = terminal.until(prompted)
    assert shown == f"{before.removesuffix(PROMPT.strip())}{PROMPT}{command}\n{PROMPT.strip()}"
    assert as_fresh(terminal)
    settings = next(line for line in before.splitlines() if line.count(":") > 10)
    run(terminal, "clear; echo now-$((1+1)); stty -g", settings)


def test_htop_follows_a_resize_and_leaves_the_terminal_as_it_was(at: Callable[..., Terminal]) -> None:
    terminal = at("web-1", width=80, height=24)
    run(terminal, "stty -g; echo main-$((1+1))", "main-2")
    before = terminal.until(prompted)
    command = f"TERM={TERM} {tool('htop')}"
    terminal.type(f"{command}\r")
    terminal.until(lambda text: "Load average" in text and keys_are_on(text) == [24])
    assert terminal.screen.has(1049)
    assert terminal.screen.has(1000)  # it listens to the mouse
    resize(terminal, 100, 30)
    terminal.until(lambda text: keys_are_on(text) == [30])
    terminal.type("q")
    shown = terminal.until(prompted)
    assert shown == f"{before.removesuffix(PROMPT.strip())}{PROMPT}{command}\n{PROMPT.strip()}"
    assert as_fresh(terminal)
    settings = next(line for line in before.splitlines() if line.count(":") > 10)
    run(terminal, "clear; echo now-$((1+1)); stty -g", settings)


@pytest.mark.parametrize("ending", ["exit\r", "~.", "the program of ours is ended"])
def test_what_a_program_that_died_has_switched_on_is_undone(
    member: Cmdop, terminal: Callable[..., Terminal], ending: str
) -> None:
    shown = terminal(["sh", "-c", f"{COMMAND} connect web-1; echo ended-$((1+1)); cat"], member.environ)
    settled(shown)
    switched = "".join(f"\\033[?{mode}h" for mode in (1, 1049, *MOUSE))
    dies = f'printf "{switched}\\033[?25l\\033[?7l\\033[38;5;208m\\033[48;5;17m\\033[7mdying"; kill -9 $$'
    shown.type(f"sh -c '{dies}'\r")
    shown.until("Killed")
    assert shown.screen.has(1049)
    assert shown.screen.cursor.attrs.fg == "ff8700"
    assert shown.screen.cursor.hidden
    if ending.startswith("the program"):
        os.kill(child_of(shown.process.pid), signal.SIGTERM)
    else:
        shown.type(f"\r{ending}")
    shown.until("ended-2")
    assert as_fresh(shown)
