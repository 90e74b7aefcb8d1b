"""The tree of commands: every one is in the catalog, explains itself, can be pasted, and keeps the house's promises."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperArgument, TyperOption

import cmdop_cli.commands
from cmdop_cli import app, command_pages
from cmdop_cli.catalog import Foreign, Noun, Verb, paths, row, rows
from cmdop_cli.context import Call
from cmdop_cli.declare import declared
from tests.cli.places import state, write
from tests.terminal import Cmdop

COMMANDS = Path(cmdop_cli.commands.__file__).parent
VERBS = [words for words in paths() if isinstance(row(words), Verb)]
IDS = [" ".join(words) for words in VERBS]
# Reviewed by hand: what changes nothing, here or at the server. Everything else must be stopped by CMDOP_READONLY.
READING = {
    "whoami", "status", "prompt", "completion", "demo",
    "workspace list", "workspace settings show", "workspace current", "workspace show", "workspace members",
    "auth list-keys", "auth show-key", "auth status", "auth token", "audit list", "audit head",
    "connect list", "connect show", "connect observe", "connect get", "connect sessions", "connect workspace list",
    "connect workspace sync", "connect join-token list", "connect status", "connect logs", "connect permissions list",
    "connect permissions audit",
    "profile list", "config list", "config get", "config path", "config validate",
    "help exit-codes", "help environment", "help output", "help resolution", "help options",
    "help scopes",
}  # fmt: skip
# They read without their argument and change with it, or begin and end a credential: they check for themselves.
BOTH = {"mode", "login", "logout", "auth login", "auth logout"}
LOCAL_READING = [
    ["workspace", "current"], ["workspace", "current", "--why"], ["mode"], ["profile", "list"], ["config", "list"],
    ["config", "list", "--show-origin"], ["config", "get", "output"], ["config", "path"], ["config", "validate"],
    ["prompt"], ["completion", "bash"], ["auth", "status"], ["help", "exit-codes"], ["help", "environment"],
    ["help", "output"], ["help", "resolution"], ["help", "options"],
]  # fmt: skip


def entry(words: tuple[str, ...]) -> Verb:
    found = row(words)
    assert isinstance(found, Verb)
    return found


def command(words: tuple[str, ...]) -> Any:
    return app.made(words[-1], entry(words))


def page(words: tuple[str, ...]) -> str:
    context = command(words).make_context(f"cmdop {' '.join(words)}", [], obj=Call([]), resilient_parsing=True)
    return str(context.command.get_help(context))


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_the_catalog_says_what_the_function_says(words: tuple[str, ...]) -> None:
    prose, _ = command_pages.split_help(command(words).help)
    assert prose[0] == entry(words).summary
    assert prose[0].endswith(".")
    assert len(prose[0]) <= 60


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_help_fits_eighty_columns_and_ends_with_lines_to_paste(words: tuple[str, ...]) -> None:
    text = page(words)
    assert not [line for line in text.splitlines() if len(line) > 80]
    _, examples = command_pages.split_help(command(words).help)
    assert len(examples) >= 2
    assert all(line in text for line in examples)
    assert examples[0].startswith("cmdop ")


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_every_example_is_a_line_that_is_understood(words: tuple[str, ...]) -> None:
    for example in command_pages.split_help(command(words).help)[1]:
        if not example.startswith("cmdop "):
            continue
        line = shlex.split(re.split(r" [|<>] ", example)[0])[1:]
        parse(line)


def parse(line: list[str]) -> None:
    """Read a line to its end without running anything; the parser's complaints are failures."""
    call = Call(line)
    context = app.root().make_context("cmdop", list(line), obj=call)
    rest = [*context._protected_args, *context.args]
    while rest:
        name, found, rest = context.command.resolve_command(context, rest)
        context = found.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args] if isinstance(context.command, app.Group) else []


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_parameters_are_explained_in_one_style(words: tuple[str, ...]) -> None:
    for parameter in command(words).params:
        if (parameter.name or "").startswith("global_"):
            continue
        assert isinstance(parameter, TyperArgument | TyperOption)
        text = parameter.help or ""
        assert text, parameter.name
        assert not text.endswith("."), (parameter.name, text)
        assert not text[0].isupper() or text[:2].isupper(), (parameter.name, text)


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_what_changes_something_says_so(words: tuple[str, ...]) -> None:
    name, found = " ".join(words), declared(command(words).callback)
    if name in READING:
        assert not found.mutates
    elif name not in BOTH:
        assert found.mutates, f"{name}: is it reading? then it belongs into READING"
        assert "--dry-run" in page(words)


def test_the_reviewed_sets_name_real_commands() -> None:
    assert set(IDS) >= READING | BOTH


@pytest.mark.parametrize("line", [["login"], ["login", "--token", "-"], ["logout"], ["auth", "logout", "--all"]])
def test_readonly_stops_sign_ins_from_beginning_and_ending(
    cmdop: Cmdop, isolated: dict[str, str], line: list[str]
) -> None:
    write(isolated, state())
    ran = cmdop.with_(CMDOP_READONLY="1").here(*line)
    assert (ran.code, ran.out) == (7, "")
    assert "CMDOP_READONLY" in ran.err


@pytest.mark.parametrize("words", [w for w in VERBS if " ".join(w) not in READING | BOTH], ids=" ".join)
def test_readonly_stops_every_change_before_anything_is_sent(
    cmdop: Cmdop, isolated: dict[str, str], words: tuple[str, ...]
) -> None:
    write(isolated, state())
    required = {
        "workspace create": ["Acme"], "workspace use": ["beta"], "workspace switch": ["beta"],
        "workspace set-role": ["a@b.test", "guest"], "workspace settings set": ["timezone=UTC"],
        "workspace remove": ["a@b.test"],
        "auth create-key": ["--name", "x"], "auth revoke-key": ["key_1"], "profile use": ["default"],
        "profile rename": ["default", "x"], "profile forget": ["default"], "config set": ["output", "json"],
        "connect put": ["file", "web-1:file"], "connect end": ["web-1"], "connect rename": ["web-1", "x"],
        "connect tag": ["web-1", "a:b"], "connect remove": ["web-1"], "connect workspace use": ["beta"],
        "connect workspace move": ["web-1", "--to", "beta"], "connect join-token revoke": ["jtk_1"],
        "connect permissions allow": ["session"], "connect permissions deny": ["session"],
        "connect permissions ask": ["session"], "connect permissions revoke": ["1"],
    }.get(" ".join(words), [])  # fmt: skip
    ran = cmdop.with_(CMDOP_READONLY="1").here(*words, *required, "--yes")
    assert (ran.code, ran.out) == (7, ""), ran
    assert "CMDOP_READONLY" in ran.err


@pytest.mark.parametrize("line", LOCAL_READING, ids=" ".join)
def test_what_reads_here_speaks_json(cmdop: Cmdop, isolated: dict[str, str], line: list[str]) -> None:
    write(isolated, state())
    ran = cmdop.here(*line, "--json").ok()
    assert ran.err == ""
    assert isinstance(ran.json, dict)
    assert ran.json["schema"].startswith("cmdop.")
    assert ran.json["schema"].endswith(".v1")


def test_every_function_that_is_a_command_is_in_the_catalog() -> None:
    targets = {found.target for words in paths(hidden=True) if isinstance(found := row(words), Verb | Foreign)}
    written = set()
    for path in COMMANDS.glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(each, ast.Call) and getattr(each.func, "id", "") == "verb" for each in node.decorator_list
            ):
                written.add(f"{path.stem}:{node.name}")
    assert written <= targets
    foreign = {found.target for words in paths(hidden=True) if isinstance(found := row(words), Foreign)}
    assert targets - written <= foreign


def test_only_output_prints() -> None:
    allowed = {"output.py", "fast.py", "stage.py"}
    for path in COMMANDS.parent.rglob("*.py"):
        if path.name in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(node, "func", None)
            assert getattr(called, "id", "") != "print", path
            assert ast.unparse(called) != "sys.stdout.write" if called is not None else True, path


def test_no_command_ends_the_process() -> None:
    for path in COMMANDS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("sys.exit", "exit", "os._exit", "quit"), path


def test_nouns_explain_themselves(cmdop: Cmdop) -> None:
    for words, found in rows():
        if not isinstance(found, Noun):
            continue
        shown = cmdop.here(*words, "--help").ok().out
        assert found.summary in shown
        assert all(verb in shown and each.summary in shown for verb, each in found.verbs.items() if not each.hidden)
        assert not [line for line in shown.splitlines() if len(line) > 80]


def test_help_can_be_asked_for_in_three_ways(cmdop: Cmdop) -> None:
    shown = {cmdop.here(*line).ok().out for line in (
        ["workspace", "use", "--help"], ["workspace", "use", "-h"], ["help", "workspace", "use"],
        ["workspace", "--json", "use", "--help"], ["workspace", "use", "beta", "--help"],
    )}  # fmt: skip
    assert len(shown) == 1
    assert cmdop.here().ok().out == cmdop.here("--help").ok().out == cmdop.here("help").ok().out
    assert cmdop.here("workspace").code == 2
    assert cmdop.here("--json").code == 2


def test_the_manual_names_every_command_and_option() -> None:
    text = (Path(__file__).parent.parent.parent / "docs/reference/cli.md").read_text("utf-8")
    for words in VERBS:
        assert f"# cmdop {' '.join(words)}\n" in text
        for parameter in command(words).params:
            if isinstance(parameter, TyperOption) and not parameter.hidden:
                assert parameter.opts[0] in text
