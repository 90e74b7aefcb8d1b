"""The fast path answers exactly what the full command answers, byte for byte, or leaves it the line."""

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmdop_cli import fast, frame
from cmdop_cli.catalog import Noun, rows
from tests.cli.places import ACME, BETA, HOME, KEYS, state, write
from tests.terminal import COMMAND, Cmdop, Terminal

LINES = (["workspace", "current"], ["workspace", "current", "--json"], ["prompt"], ["--version"])
STATES: dict[str, Any] = {
    "usual": state(),
    "default": state(active=None),
    "none": state(active=None, none=True),
    "empty": {"schema": 1},
    "signed out": state(signed_in=False, active=None),
    "active without a sign-in": state(signed_in=False),
    "bound here": state(bindings=({**BETA, "path": "/"},)),
    "bound elsewhere": state(bindings=({**BETA, "path": "/nonexistent"},)),
    "no default": state(active=None, default=None),
    "dev": state(mode="dev"),
    "both modes": state() | {"active": {"default": {"prod": ACME, "dev": BETA}}, "mode": "dev"},
    "two profiles": state() | {"active": {"default": {"prod": ACME}, "work": {"prod": BETA}}, "profile": "work"},
    "by id only": state(active={"id": BETA["id"], "slug": None}),
    "by slug only": state(active={"id": None, "slug": "beta"}),
    "newer": state() | {"schema": 9},
    "no schema": {key: value for key, value in state().items() if key != "schema"},
    "corrupt": b"{",
    "wrong shape": state() | {"previous": 3},
    "twice": b'{"schema": 1, "schema": 1}',
    "not a number": b'{"schema": 1, "x": NaN}',
    "hostile mail": state(active=None) | {"identities": {}},
}
VARIABLES: list[dict[str, str]] = [
    {},
    {"CMDOP_WORKSPACE": "beta"},
    {"CMDOP_WORKSPACE": BETA["id"]},
    {"CMDOP_WORKSPACE": "elsewhere"},
    {"CMDOP_WORKSPACE": "ws_" + "z" * 20},
    {"CMDOP_WORKSPACE": "Not A Slug"},
    {"CMDOP_WORKSPACE": ""},
    {"CMDOP_PROFILE": "work"},
    {"CMDOP_PROFILE": "nobody"},
    {"CMDOP_PROFILE": ""},
    {"CMDOP_MODE": "dev"},
    {"CMDOP_MODE": "staging"},
    {"CMDOP_API_KEY": KEYS["beta"]},
    {"CMDOP_API_KEY": ""},
    {"CMDOP_EXPECT_WORKSPACE": "beta"},
    {"CMDOP_SERVER_URL": "http://127.0.0.1:9"},
    {"CMDOP_SERVER_URL": "https://other.example"},
    {"CMDOP_OUTPUT": "json"},
    {"CMDOP_OUTPUT": "table"},
    {"CMDOP_READONLY": "1"},
    {"CMDOP_REQUIRE_WORKSPACE": "1"},
    {"NO_COLOR": "1"},
]


class Screen(io.StringIO):
    """A stdout that may say that it is a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def both(environ: dict[str, str], line: list[str], *, is_terminal: bool = False) -> tuple[Any, Any]:
    """Return (status, stdout, stderr) of the fast path and of the full command; twice ``None`` when it declines."""
    answers: list[Any] = []
    for run in (lambda: fast.run(line, os.environ), lambda: frame.run(line)):
        out, err = Screen(is_terminal), Screen(is_terminal)
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            mock.patch.multiple(sys, stdout=out, stderr=err),
        ):
            status = run()
        if status is None:
            return None, None
        answers.append((status, out.getvalue(), err.getvalue()))
    return answers[0], answers[1]


@pytest.mark.parametrize("name", list(STATES))
def test_both_say_the_same(isolated: dict[str, str], name: str) -> None:
    answered = 0
    for variables, line, is_terminal in itertools.product(VARIABLES, LINES, (False, True)):
        write(isolated, STATES[name])
        quick, full = both(isolated | variables, line, is_terminal=is_terminal)
        if quick is not None:
            assert quick == full, (variables, line)
            answered += 1
    assert answered >= 2 * sum("CMDOP_OUTPUT" not in each for each in VARIABLES)  # at least the version


def test_the_usual_case_is_answered_fast(isolated: dict[str, str]) -> None:
    write(isolated, state())
    for variables in ({}, {"CMDOP_WORKSPACE": "beta"}, {"CMDOP_MODE": "prod"}, {"CMDOP_PROFILE": "default"}):
        for line in LINES:
            assert both(isolated | variables, line)[0] is not None, (variables, line)


def test_a_changed_config_is_noticed(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    cmdop.here("config", "set", "output", "json").ok()
    quick, full = both(isolated, ["workspace", "current"])
    assert quick == full
    assert quick[1].startswith("{")
    write(isolated, b'output = "quiet"\n', "config.toml")  # edited by hand: nobody told state.json
    quick, full = both(isolated, ["workspace", "current"])
    assert quick is None
    assert cmdop.here("workspace", "current").ok().out == "acme\n"
    cmdop.here("workspace", "use", "beta").ok()
    quick, full = both(isolated, ["workspace", "current"])
    assert quick == full == (0, "beta\n", "")


NOUNS = [(), *(words for words, found in rows(hidden=True) if isinstance(found, Noun))]


@pytest.mark.parametrize("words", NOUNS, ids=lambda words: " ".join(words) or "cmdop")
def test_help_of_a_noun_is_the_same_page_without_typer(isolated: dict[str, str], words: tuple[str, ...]) -> None:
    for line in ([*words, "--help"], [*words, "-h"], ["help", *words]):
        quick, full = both(isolated, line)
        assert quick == full, line
        assert quick[1].startswith(f"Usage: {' '.join(['cmdop', *words])} ")
        assert quick[1].isascii()


def test_nothing_at_all_is_the_program_s_help(isolated: dict[str, str]) -> None:
    quick, full = both(isolated, [])
    assert quick == full == both(isolated, ["--help"])[0]


@pytest.mark.parametrize(
    "line",
    [["help", "nosuch"], ["nosuch", "--help"], ["workspace", "use", "--help"], ["help", "output"], ["help", "-x"]],
)
def test_other_help_is_left_to_the_full_command(isolated: dict[str, str], line: list[str]) -> None:
    assert both(isolated, line)[0] is None


@pytest.mark.parametrize("change", ["mode", "link", "directory"])
def test_a_file_that_is_not_as_we_left_it_is_not_answered_fast(
    isolated: dict[str, str], tmp_path: Path, change: str
) -> None:
    path = write(isolated, state())
    if change == "mode":
        path.chmod(0o640)
    elif change == "directory":
        path.parent.chmod(0o755)
    else:
        path.rename(tmp_path / "real")
        path.symlink_to(tmp_path / "real")
    with mock.patch.dict(os.environ, isolated, clear=True):
        assert fast.run(["workspace", "current"], os.environ) is None


places = st.sampled_from([None, ACME, BETA, {"id": None, "slug": "beta"}, {"id": BETA["id"], "slug": None}])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    active=places,
    previous=places,
    default=st.sampled_from([None, HOME]),
    none=st.booleans(),
    mode=st.sampled_from(["prod", "dev"]),
    signed_in=st.booleans(),
    variables=st.sampled_from(VARIABLES),
    line=st.sampled_from(LINES),
)
def test_both_say_the_same_of_any_state(
    isolated: dict[str, str], variables: dict[str, str], line: list[str], **fields: Any
) -> None:
    write(isolated, state(**fields))
    quick, full = both(isolated | variables, line)
    assert quick is None or quick == full


def test_real_processes_say_the_same(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    """The installed command takes the fast path; ``-o tsv`` is the same question, asked of the full one."""
    write(isolated, state())
    assert cmdop("workspace", "current").ok().out == cmdop("workspace", "current", "-o", "tsv").ok().out == "acme\n"
    plain = subprocess.run([sys.executable, "-m", "cmdop_cli", "prompt"], env=isolated, capture_output=True, check=True)
    assert plain.stdout == b"acme\n"


def test_a_terminal_says_the_same(terminal: Callable[..., Terminal], isolated: dict[str, str]) -> None:
    write(isolated, state())
    shown = []
    for line in (["workspace", "current"], ["workspace", "current", "-o", "table"]):
        screen = terminal([str(COMMAND), *line], width=80)
        assert screen.end() == 0
        shown.append(screen.written)
    assert shown[0] == shown[1]
    assert b"from       the active workspace of profile default, mode prod" in shown[0]
