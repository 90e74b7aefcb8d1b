"""``cmdop server …`` speaks like every other command: its pages, and its complaints about a line."""

import argparse
import json
from collections.abc import Iterator

import pytest

from cmdop_cli.failures import Failure, document
from cmdop_server.__main__ import Grammar

COMPLAINTS = {
    "": ("cmdop server needs COMMAND", "cmdop server --help"),
    "strat": ("strat is no command of cmdop server", "cmdop server start --help"),
    "xyzzy": ("xyzzy is no command of cmdop server", "cmdop server --help"),
    "start --prot 3": (
        "there is no option --prot of cmdop server start; the nearest is --port",
        "cmdop server start --help",
    ),
    "start --tls x": ("--tls is one of self-signed", "cmdop server start --help"),
    "start --port": ("--port needs a value", "cmdop server start --help"),
    "check --json=1": ("--json takes no value", "cmdop server check --help"),
    "backup": ("cmdop server backup needs PATH", "cmdop server backup --help"),
    "backup a b": ("b is more than cmdop server backup takes", "cmdop server backup --help"),
    "bootstrap": ("cmdop server bootstrap needs --email", "cmdop server bootstrap --help"),
    "bootstrap --password hunter2": ("cmdop server bootstrap needs --email", "cmdop server bootstrap --help"),
    "user": ("cmdop server user needs COMMAND", "cmdop server user --help"),
}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of the commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@pytest.mark.parametrize("parser", list(parsers(Grammar().parser)), ids=lambda parser: parser.prog)
def test_pages_have_the_house_s_look(parser: argparse.ArgumentParser) -> None:
    page = parser.format_help()
    assert page.startswith(f"Usage: {parser.prog} ")
    assert not [line for line in page.splitlines() if len(line) > 80]
    for action in parser._actions:
        if action.dest not in ("help", "command", "verb"):
            assert f"\n  {action.option_strings[0] if action.option_strings else action.metavar}" in page
    for argparse_s_own in ("positional arguments", "optional arguments", "show this help", "usage:"):
        assert argparse_s_own not in page


@pytest.mark.parametrize(("line", "said"), COMPLAINTS.items(), ids=list(COMPLAINTS))
def test_complaints_are_in_the_house_s_words(
    capsys: pytest.CaptureFixture[str], line: str, said: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Grammar().read(line.split())
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    what, why, fix = err.splitlines()
    assert (out, what, fix) == ("", f"error: {said[0]}", f"fix: {said[1]}")
    assert why.startswith("why: its usage is cmdop server ")
    assert "hunter2" not in err


@pytest.mark.parametrize("line", ["xyzzy --json", "check --nope --json", "user create --json", "backup --json"])
def test_under_json_a_complaint_is_one_object(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        Grammar().read(line.split())
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    said = json.loads(err)
    assert (out, said["code"], said["exit_code"]) == ("", "usage", 2)
    assert said["hint"].startswith("cmdop server ")
    assert list(said) == list(document(Failure("usage", "")))
    with pytest.raises(SystemExit):  # and the next line is read for itself
        Grammar().read(["xyzzy"])
    assert capsys.readouterr().err.startswith("error: ")
