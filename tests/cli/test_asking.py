"""Questions: asked on a terminal, answered by a flag, and never a hang where nobody can answer."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.places import read, state, write
from tests.terminal import COMMAND, Cmdop, Terminal

LINE = ["profile", "forget", "default"]
Start = Callable[..., Terminal]


@pytest.mark.parametrize(
    ("answer", "code"), [("y", 0), ("yes", 0), ("YES", 0), ("n", 7), ("", 7), ("yep", 7), ("\x04", 7)]
)
def test_a_terminal_is_asked_and_only_yes_is_yes(
    terminal: Start, isolated: dict[str, str], answer: str, code: int
) -> None:
    path = write(isolated, state())
    before = path.read_bytes()
    screen = terminal([str(COMMAND), *LINE])
    screen.until("forget the profile default? [y/N]")
    screen.type(answer if answer == "\x04" else f"{answer}\r")
    assert screen.end() == code
    assert (path.read_bytes() == before) == (code != 0)
    if code:
        assert "nothing was changed" in screen.text


def test_an_interrupted_question_keeps_its_line(terminal: Start, isolated: dict[str, str]) -> None:
    write(isolated, state())
    screen = terminal([str(COMMAND), *LINE])
    screen.until("forget the profile default? [y/N]")
    screen.type("\x03")
    assert screen.end() == Exit.INTERRUPTED
    assert "error: interrupted" in screen.text.splitlines()


@pytest.mark.parametrize(
    "variables", [{"CI": "true"}, {"CMDOP_NO_INPUT": "1"}, {}], ids=["CI", "CMDOP_NO_INPUT", "--no-input"]
)
def test_a_terminal_that_wants_no_questions_gets_none(
    terminal: Start, isolated: dict[str, str], variables: dict[str, str]
) -> None:
    write(isolated, state())
    screen = terminal([str(COMMAND), *LINE, *([] if variables else ["--no-input"])], environ=variables)
    assert screen.end() == Exit.GUARD
    assert "--yes" in screen.text
    assert "[y/N]" not in screen.text


def test_without_a_terminal_the_flag_is_named(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    for stdin in ("", "y\n"):
        ran = cmdop(*LINE, stdin=stdin)
        assert (ran.code, ran.out) == (Exit.GUARD, "")
        assert ran.err.splitlines()[-1] == "fix: cmdop profile forget default --yes"
    assert cmdop(*LINE, "--json").error["code"] == "confirmation_required"
    cmdop(*LINE, "--yes").ok()
    assert read(isolated)["active"] == {}


def test_only_stdin_is_a_terminal(isolated: dict[str, str], terminal: Start) -> None:
    """A question that nobody would see is not asked: stderr must be a terminal too."""
    write(isolated, state())
    screen = terminal(["sh", "-c", f"{COMMAND} {' '.join(LINE)} 2>err; echo status $?"])
    screen.until(f"status {int(Exit.GUARD)}")


def test_no_input_in_config_holds_for_good(terminal: Start, isolated: dict[str, str]) -> None:
    write(isolated, state())
    write(isolated, b"no_input = true\n", "config.toml")
    screen = terminal([str(COMMAND), *LINE])
    assert screen.end() == Exit.GUARD


def test_a_pasted_fix_works(cmdop: Cmdop, isolated: dict[str, str], tmp_path: Path) -> None:
    write(isolated, state())
    fix = cmdop(*LINE).err.splitlines()[-1].removeprefix("fix: ")
    done = subprocess.run(
        ["sh", "-c", fix], env=isolated | {"PATH": f"{COMMAND.parent}:{isolated['PATH']}"}, cwd=tmp_path, check=False
    )
    assert done.returncode == 0
