"""The global options stand anywhere on the line, once, and mean the same everywhere (D-19); extensions get theirs."""

import itertools
import os
from pathlib import Path

import pytest

from cmdop_cli import app
from cmdop_cli.catalog import CATALOG, Noun, Verb, paths, row
from cmdop_cli.context import Call
from cmdop_cli.options import GLOBAL_OPTIONS, Given, Options, wants_json
from cmdop_wire.vocab import Exit
from tests.cli.places import KEYS, state, write
from tests.terminal import Cmdop

SPELLED = (["--workspace", "beta"], ["--workspace=beta"], ["-w", "beta"], ["-wbeta"])


@pytest.mark.parametrize("given", SPELLED, ids=" ".join)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_override_works_anywhere_on_the_line(
    cmdop: Cmdop, isolated: dict[str, str], given: list[str], place: int
) -> None:
    write(isolated, state())
    line = ["workspace", "current"]
    line[place:place] = given
    assert cmdop.here(*line).ok().out == "beta\n"
    assert cmdop.here("--json", *line).ok().json["source"] == "flag"


def test_every_option_is_known_at_every_place(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    values = {
        "workspace": "acme", "profile": "default", "mode": "prod", "api_key": "env:KEY", "server": "http://127.0.0.1:9",
        "output": "tsv", "fields": "label", "limit": "3", "expect": "acme",
    }  # fmt: skip
    here = cmdop.with_(KEY=KEYS["acme"])
    for option in GLOBAL_OPTIONS:
        if option.name in ("dev", "version"):  # another mode holds nothing; the version ends the line
            continue
        words = [option.spellings[0], *([values[option.name]] if option.metavar else [])]
        answers = set()
        for place in range(3):
            line = ["workspace", "current"]
            line[place:place] = words
            answers.add(here.here(*line).ok().out)
        assert len(answers) == 1, option.name


def test_the_same_value_twice_is_fine_and_two_values_are_not(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    assert cmdop.here("-w", "beta", "workspace", "--workspace=beta", "current").ok().out == "beta\n"
    for line, named in (
        (["-w", "beta", "workspace", "current", "--workspace", "acme"], "--workspace"),
        (["workspace", "current", "-w", "beta", "-w", "acme"], "--workspace"),
        (["--dev", "workspace", "current", "--mode", "prod"], "--dev"),
        (["--json", "workspace", "current", "-o", "table"], "--json"),
        (["-q", "workspace", "current", "--json"], "--quiet"),
        (["--limit", "1", "config", "list", "--limit", "2"], "--limit"),
    ):
        ran = cmdop.here(*line)
        assert ran.code == Exit.USAGE, line
        assert named in ran.err
    assert cmdop.here("--dev", "--mode", "dev", "mode").ok().out == "dev\n"


@pytest.mark.parametrize("option", [o for o in GLOBAL_OPTIONS if o.metavar], ids=lambda option: option.name)
def test_a_value_that_looks_like_an_option_is_refused(cmdop: Cmdop, option: object) -> None:
    name = getattr(option, "spellings")[0]  # noqa: B009
    for line in ([name, "--yes", "mode"], [f"{name}=-x", "mode"], [f"{name}=", "mode"], ["mode", name]):
        ran = cmdop.here(*line)
        assert ran.code == Exit.USAGE, line
        assert ran.out == ""


def test_after_two_dashes_nothing_is_an_option(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    assert cmdop.here("workspace", "use", "--", "beta").ok().out == "beta\n"
    ran = cmdop.here("workspace", "current", "--", "--json")
    assert ran.code == Exit.USAGE
    assert ran.err.startswith("error: ")  # not JSON: nobody asked for it


def test_a_key_comes_from_stdin_a_file_or_a_variable(cmdop: Cmdop, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEYS["beta"] + "\n")
    here = cmdop.with_(KEY=KEYS["beta"])
    for source, stdin in (("-", KEYS["beta"] + "\n"), (f"file:{tmp_path}/key", ""), ("env:KEY", "")):
        shown = here.here("workspace", "current", "--api-key", source, "--json", stdin=stdin).ok().json
        assert (shown["label"], shown["source"], shown["detail"]) == ("beta", "key", "the key in --api-key")
    for source, stdin in (("-", ""), ("-", "two\nlines"), ("file:/nonexistent", ""), ("env:NOTHING", "")):
        assert here.here("workspace", "current", "--api-key", source, stdin=stdin).code == Exit.NO_CREDENTIAL
    for source in ("file:", "env:", "stdin", KEYS["beta"]):
        assert here.here("workspace", "current", "--api-key", source).code == Exit.USAGE
    assert here.here("--no-api-key", "--api-key", "env:KEY", "mode").code == Exit.USAGE


def test_an_explicit_key_beats_the_environment(cmdop: Cmdop) -> None:
    here = cmdop.with_(CMDOP_API_KEY=KEYS["acme"], OTHER=KEYS["beta"])
    assert here.here("workspace", "current").ok().out == "acme\n"
    assert here.here("workspace", "current", "--api-key", "env:OTHER").ok().out == "beta\n"
    assert here.here("workspace", "current", "--no-api-key").code == Exit.NO_CREDENTIAL


def test_a_key_of_another_workspace_than_the_named_one_is_exit_2(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, state())
    ran = cmdop.with_(CMDOP_API_KEY=KEYS["acme"]).here("-w", "beta", "workspace", "current")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "fix: cmdop workspace current --check" in ran.err


AUTHORITY = ("CMDOP_API_KEY", "CMDOP_WORKSPACE", "CMDOP_PROFILE", "CMDOP_SERVER_URL", "CMDOP_MODE")


@pytest.mark.parametrize("name", AUTHORITY)
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_variable_is_an_error_and_not_unset(
    cmdop: Cmdop, isolated: dict[str, str], name: str, empty: str
) -> None:
    write(isolated, state())
    here = cmdop.with_(**{name: empty})
    for line in (["workspace", "current"], ["workspace", "use", "beta"], ["mode"], ["config", "list"], ["whoami"]):
        ran = here.here(*line)
        assert (ran.code, ran.out) == (Exit.LOCAL_STATE, ""), line
        assert name in ran.err
    for line in (["--help"], ["--version"], ["workspace", "--help"], ["login", "--help"], ["completion", "bash"],
                 ["help", "environment"], ["help", "workspace", "use"], ["prompt"]):  # fmt: skip
        assert here.here(*line).code == Exit.DONE, line


def test_no_option_of_a_command_means_something_else_elsewhere() -> None:
    """A long option that is global is nobody's own, and one that two commands share has one kind."""
    ours = {spelling for option in GLOBAL_OPTIONS for spelling in option.spellings} | {"--help", "-h"}
    kinds: dict[str, set[bool]] = {}
    for words in paths():
        found = row(words)
        if not isinstance(found, Verb):
            continue
        for parameter in app.made(words[-1], found).params:
            if parameter.param_type_name != "option" or (parameter.name or "").startswith("global_"):
                continue
            assert not ours & {*parameter.opts, *parameter.secondary_opts}, words
            for spelling in parameter.opts:
                kinds.setdefault(spelling, set()).add(bool(getattr(parameter, "is_flag")))  # noqa: B009
    assert not {spelling for spelling, found in kinds.items() if len(found) > 1}


def parsed(*arguments: str) -> tuple[bool, str | None, dict[str, object]]:
    """Return what ``auth create-key`` understands: bare --workspace, the workspace, its own parameters."""
    entry = CATALOG["auth"]
    assert isinstance(entry, Noun)
    call = Call(arguments, {})
    command = app.made("create-key", entry.verbs["create-key"])
    context = command.make_context("cmdop auth create-key", list(arguments), obj=call)
    return call.bare_workspace, call.given.options().workspace, context.params


@pytest.mark.parametrize(
    ("line", "is_bare", "workspace"),
    [
        (["--workspace", "--name", "ci-cd"], True, None),
        (["--name", "ci-cd", "--workspace"], True, None),
        (["--workspace", "acme", "--name", "ci-cd"], False, "acme"),
        (["--workspace=acme", "--name", "ci-cd"], False, "acme"),
        (["-w", "acme", "--name", "ci-cd"], False, "acme"),
        (["--workspace", "-w", "acme", "--name", "ci-cd"], True, "acme"),
        (["--name", "ci-cd", "--shared", "--workspace", "acme"], False, "acme"),
        (["--name", "ci-cd", "--workspace", "--json"], True, None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bare_workspace_on_create_key_means_a_shared_key(
    line: list[str], is_bare: bool, workspace: str | None
) -> None:
    found = parsed(*line)
    assert found[:2] == (is_bare, workspace)
    assert found[2]["name"] == "ci-cd"


def test_a_name_that_looks_like_the_bare_option_stays_a_name() -> None:
    assert parsed("--name", "--workspace")[2]["name"] == "--workspace"
    assert not parsed("--name", "--workspace")[0]


def test_elsewhere_a_bare_workspace_is_refused(cmdop: Cmdop) -> None:
    assert cmdop.here("workspace", "current", "--workspace").code == Exit.USAGE
    assert cmdop.here("workspace", "current", "--workspace", "--json").code == Exit.USAGE


# -- unknown commands and extensions -------------------------------------------------------------------------------


def extension(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"cmdop-{name}"
    path.write_text(
        '#!/bin/sh\necho "$0"\nfor word in "$@"; do echo "<$word>"; done\nenv | grep ^CMDOP_ | sort\nexit 9\n'
    )
    path.chmod(0o755)
    return path


def test_an_extension_gets_its_arguments_untouched(cmdop: Cmdop, tmp_path: Path) -> None:
    path = extension(tmp_path / "bin", "hello")
    here = cmdop.with_(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    ran = here("-w", "acme", "--dev", "hello", "--workspace", "--json", "-w", "a", "-w", "b", "--", "--help", "a b")
    assert ran.code == 9
    lines = ran.out.splitlines()
    assert lines[0] == str(path)
    assert lines[1:10] == [f"<{word}>" for word in "--workspace --json -w a -w b -- --help".split()] + ["<a b>"]
    assert "CMDOP_WORKSPACE=acme" in lines
    assert "CMDOP_MODE=dev" in lines


def test_extensions_never_come_from_the_working_directory(cmdop: Cmdop) -> None:
    extension(cmdop.folder, "evil")
    inner = extension(cmdop.folder / "sub", "evil2").parent
    for path in (".", "", "sub", "./sub", f":{os.environ['PATH']}", str(cmdop.folder), f"{cmdop.folder}/sub/.."):
        for name in ("evil", "evil2"):
            ran = cmdop.with_(PATH=path).here(name)
            assert ran.code == Exit.USAGE, path
            assert "is no command" in ran.err
    assert cmdop.with_(PATH=str(inner))("evil2").code == 9


def test_extensions_never_take_a_built_in_name(cmdop: Cmdop, tmp_path: Path) -> None:
    for name in ("mode", "workspace", "help", "complete"):
        extension(tmp_path / "bin", name)
    here = cmdop.with_(PATH=f"{tmp_path}/bin")
    assert here.here("mode").ok().out == "prod\n"
    assert here.here("workspace", "hello").code == Exit.USAGE


def test_an_extension_never_gets_a_key_on_its_line(cmdop: Cmdop, tmp_path: Path) -> None:
    extension(tmp_path / "bin", "hello")
    here = cmdop.with_(PATH=f"{tmp_path}/bin", KEY=KEYS["acme"])
    assert here.here("--api-key", "env:KEY", "hello").code == Exit.USAGE


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (["worksapce", "list"], "cmdop workspace list"),
        (["worksapce"], "cmdop workspace --help"),
        (["conect", "list"], "cmdop connect list"),
        (["connect", "permissions", "remove", "1"], "cmdop connect permissions revoke 1"),
        (["connect", "exec", "web-1", "ls", "-la"], "cmdop connect exec web-1 -- ls -la"),
        (["workspace", "curent"], "cmdop workspace current"),
        (["workspace", "current", "--jsno"], "cmdop workspace current --json"),
        (["config", "get", "outptu"], "cmdop config get output"),
        (["xyzzy"], "cmdop --help"),
        (["version"], "cmdop --version"),
        (["workspace", "list", "--output", "yaml"], "cmdop help options"),
        (["audit", "list", "--limit", "x"], "cmdop help options"),
        (["helo"], "cmdop hello"),
        (["workspace", "list", "--limti", "3", "-q"], "cmdop workspace list --limit 3 -q"),
        (["auth", "create-key", "--nam=it", "--json"], "cmdop auth create-key --name=it --json"),
        (["connect", "sessions", "--days", "3"], "cmdop connect sessions --help"),
        (["workspace", "list", "--ys"], "cmdop workspace list --help"),
        (["help", "exit-code"], "cmdop help exit-codes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_typo_gets_the_nearest_suggestion_and_runs_nothing(
    cmdop: Cmdop, tmp_path: Path, line: list[str], hint: str
) -> None:
    extension(tmp_path / "bin", "hello")
    ran = cmdop.with_(PATH=f"{tmp_path}/bin").here(*line)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    if "--json" not in line:
        assert ran.err.splitlines()[-1] == f"fix: {hint}"
    else:
        assert ran.error["hint"] == hint


COMPLAINTS = {
    "workspace list x": "cmdop workspace list takes no words after it, such as x",
    "workspace use a b c": "b c is more than cmdop workspace use takes",
    "workspace list --nosuch": "there is no option --nosuch of cmdop workspace list",
    "-x": "there is no option -x of cmdop",
    "workspace list --limit": "--limit needs a value",
    "config list --show-origin=3": "--show-origin takes no value",
    "auth create-key": "cmdop auth create-key needs --name NAME: what the key is called; unique among your live keys",
    "workspace set-role ann@acme.test": "cmdop workspace set-role needs ROLE: owner, admin, member or guest",
    "connect logs --lines x": "--lines is a whole number from 0",
    "connect logs --lines -3": "--lines is a whole number from 0",
    "workspace xyzzy": "xyzzy is no command of cmdop workspace",
    "help xyzzy": "xyzzy is no topic, and no command",
}


@pytest.mark.parametrize(("line", "what"), COMPLAINTS.items(), ids=list(COMPLAINTS))
def test_complaints_are_in_the_house_s_words(cmdop: Cmdop, line: str, what: str) -> None:
    ran = cmdop.here(*line.split())
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    said = ran.err.splitlines()
    assert said[0] == f"error: {what}"
    assert said[-1].startswith("fix: cmdop ")
    assert not [each for each in said[1:-1] if not each.startswith("why: ")]


# -- the pieces ----------------------------------------------------------------------------------------------------


def test_wants_json_reads_lines_that_nobody_else_could() -> None:
    yes = (["--json"], ["x", "--json", "y"], ["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "ndjson"])
    no = ([], ["--", "--json"], ["-o", "table"], ["-q"])
    for argv, variable in itertools.product(yes, ("", "table", "json")):
        assert wants_json(argv, {"CMDOP_OUTPUT": variable}), argv
    for argv in no:
        assert not wants_json(argv, {}), argv
    assert wants_json(["mode"], {"CMDOP_OUTPUT": "json"})
    assert not wants_json(["mode", "-o", "table"], {"CMDOP_OUTPUT": "json"})


def test_nothing_given_is_nothing() -> None:
    assert Given().options() == Options()
