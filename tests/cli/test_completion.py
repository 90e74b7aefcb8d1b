"""Completion: what can follow, from the catalog and local state only, and in the shells themselves."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from cmdop_cli.catalog import CATALOG
from cmdop_cli.completion_scripts import SCRIPTS
from tests.cli.hostile import NAMES
from tests.cli.places import state, write
from tests.terminal import COMMAND, Cmdop, Terminal
from tests.tools import tool

WORKSPACES = ["acme", "beta", "ann-personal"]


def candidates(cmdop: Cmdop, *words: str) -> list[str]:
    run = cmdop if "server" in words else cmdop.here  # which hands over to another program, in its own process
    ran = run("complete", *words).ok()
    assert ran.err == ""
    return [line.split("\t")[0] for line in ran.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["works"], ["workspace"]),
        (["workspace", "cu"], ["current"]),
        (["workspace", "use", ""], WORKSPACES),
        (["workspace", "use", "b"], ["beta"]),
        (["workspace", "use", "--n"], ["--none", "--no-api-key", "--no-input", "--no-color"]),
        (["-w", ""], WORKSPACES),
        (["-w", "beta", "workspace", "cur"], ["current"]),
        (["workspace", "current", "--workspace=b"], ["--workspace=beta"]),
        (["--workspace", "beta", "workspace", "switch", "ac"], ["acme"]),
        (["-o", "j"], ["json"]),
        (["--mode", ""], ["prod", "dev"]),
        (["mode", "t"], ["toggle"]),
        (["mode", "dev", ""], ["prod", "dev", "toggle"]),
        (["profile", "use", ""], ["default"]),
        (["config", "get", "out"], ["output"]),
        (["completion", "b"], ["bash"]),
        (["connect", "workspace", "move", "web-1", "--to", "a"], ["acme", "ann-personal"]),
        (["connect", "permissions", "deny", ""], ["execute_command", "session", "read_file", "write_file"]),
        (["connect", "permissions", "deny", "session", ""], []),
        (["auth", "list-keys", "--state", "r"], ["revoked"]),
        (["workspace", "nosuch", ""], []),
        (["nosuch", ""], []),
        (["workspace", "use", "--", "b"], []),
        (["server", "st"], ["start"]),
        (["server", ""], ["start", "bootstrap", "user", "check", "migrate", "backup", "restored", "purge"]),
        (["-w", "server", "server", "user", ""], ["create"]),
        (["server", "user", "create", "--r"], ["--role"]),
        (["server", "user", "create", "a@b.example", "--role", ""], ["owner", "admin", "member", "guest"]),
        (["server", "start", "--tls", ""], ["self-signed"]),
        (["server", "start", "--port", ""], []),
        (["server", "start", "--host", "start", "--po"], ["--port"]),
        (["server", "nosuch", ""], []),
        (["server", "backup", ""], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_can_follow(cmdop: Cmdop, isolated: dict[str, str], words: list[str], expected: list[str]) -> None:
    write(isolated, state())
    assert candidates(cmdop, *words) == expected


def test_every_command_is_offered_with_its_sentence(cmdop: Cmdop) -> None:
    lines = cmdop.here("complete", "").ok().out.splitlines()
    assert lines == [f"{name}\t{entry.summary}" for name, entry in CATALOG.items() if not entry.hidden]


def test_names_of_another_account_are_never_offered(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    document = state()
    document["identities"]["f" * 32] = {
        "origin": "https://other.example",
        "account": {"id": "usr_" + "2" * 20, "email": "bob@other.test"},
        "default": None,
        "memberships": {"at": "2026-01-01T00:00:00Z", "items": [{"id": "ws_" + "q" * 20, "slug": "secret-tenant"}]},
    }
    write(isolated, document)
    assert candidates(cmdop, "workspace", "use", "") == WORKSPACES
    assert candidates(cmdop, "--dev", "workspace", "use", "") == []  # nobody is signed in there
    assert candidates(cmdop, "--mode=prod", "workspace", "use", "") == WORKSPACES


def test_nothing_hostile_reaches_a_shell(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    document = state()
    items = document["identities"][next(iter(document["identities"]))]["memberships"]["items"]
    for name in (each for each in NAMES if "\ud800" not in each):
        items[0]["name"] = name
        write(isolated, document)
        for line in cmdop.here("complete", "workspace", "use", "").ok().out.splitlines():
            value, _, text = line.partition("\t")
            assert value in WORKSPACES
            assert text.isprintable()


def test_a_broken_state_finds_nothing_and_says_nothing(cmdop: Cmdop, isolated: dict[str, str]) -> None:
    write(isolated, b"{")
    assert candidates(cmdop, "workspace", "use", "") == []
    assert candidates(cmdop, "works") == ["workspace"]


@pytest.mark.parametrize("shell", list(SCRIPTS))
def test_the_command_prints_the_script_of_the_repository(cmdop: Cmdop, shell: str) -> None:
    names = {"bash": "cmdop.bash", "zsh": "_cmdop", "fish": "cmdop.fish", "pwsh": "cmdop.ps1"}
    kept = Path(__file__).parent.parent.parent / "completions" / names[shell]
    assert cmdop.here("completion", shell).ok().out == kept.read_text(), "run make docs"


def test_the_script_for_powershell_is_powershell() -> None:
    """What runs the others is not to be had for this one (docs/decisions/testing.md): its grammar says what it can."""
    parser = Parser(Language(tree_sitter_powershell.language()))
    script = SCRIPTS["pwsh"]
    tree = parser.parse(script.encode())
    assert not tree.root_node.has_error
    # ``complete`` gets what stands before the cursor, word by word, and then the word at the cursor.
    assert "& $words[0] complete @before $last" in script
    for broken in (script[:-3], script.replace("'7.3'", "'7.3"), script.replace('"`t", 2', '"`t, 2')):
        assert broken != script
        assert parser.parse(broken.encode()).root_node.has_error


def test_an_unknown_shell_is_a_usage_failure(cmdop: Cmdop) -> None:
    ran = cmdop.here("completion", "tcsh")
    assert (ran.code, ran.out) == (2, "")
    assert "bash, zsh, fish, pwsh" in ran.err


def in_bash(environ: dict[str, str], line: str) -> list[str]:
    """Return what bash would offer after ``line``, broken into words as readline does it."""
    script = f"""
        source <({shlex.quote(str(COMMAND))} completion bash)
        COMP_LINE={shlex.quote(line)}
        COMP_POINT=${{#COMP_LINE}}
        spaced=$(sed 's/[=:]/ & /g' <<<"$COMP_LINE")
        read -ra COMP_WORDS <<<"$spaced"
        [[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _cmdop
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{COMMAND.parent}:{environ['PATH']}"
    done = subprocess.run(
        [tool("bash"), "--norc", "-c", script], env=environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cmdop works", ["workspace"]),
        ("cmdop workspace use b", ["beta"]),
        ("cmdop workspace use ", WORKSPACES),
        ("cmdop --workspace=b", ["beta"]),
        ("cmdop --workspace=", WORKSPACES),
        ("cmdop workspace current --wh", ["--why"]),
        ("cmdop server ch", ["check"]),
    ],
)
def test_bash(isolated: dict[str, str], line: str, expected: list[str]) -> None:
    write(isolated, state())
    assert in_bash(isolated, line) == expected


@pytest.mark.slow
def test_fish(isolated: dict[str, str]) -> None:
    write(isolated, state())
    for line, expected in (
        ("cmdop works", ["workspace"]),
        ("cmdop workspace use ", sorted(WORKSPACES)),
        ("cmdop workspace use b", ["beta"]),
        ("cmdop --workspace=b", ["--workspace=beta"]),
        ("cmdop server mi", ["migrate"]),
    ):
        script = f"cmdop completion fish | source; complete -C {shlex.quote(line)}"
        done = subprocess.run(
            [tool("fish"), "--no-config", "-c", script],
            env=isolated | {"PATH": f"{COMMAND.parent}:{isolated['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert sorted(each.split("\t")[0] for each in done.stdout.splitlines()) == expected, line


def test_zsh_whose_completion_nobody_has_started_takes_the_script(isolated: dict[str, str]) -> None:
    script = f"source <({shlex.quote(str(COMMAND))} completion zsh); print $_comps[cmdop]"
    done = subprocess.run(
        [tool("zsh"), "-f", "-c", script], env=isolated, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("_cmdop\n", "")


@pytest.mark.slow
def test_zsh(isolated: dict[str, str], terminal: Callable[..., Terminal]) -> None:
    write(isolated, state())
    path = f"{COMMAND.parent}:{isolated['PATH']}"
    shell = terminal([tool("zsh"), "-f"], environ={"PATH": path, "PS1": "ready> "}, width=100)
    shell.until("ready>")
    shell.type("autoload -Uz compinit && compinit -u -D && source <(cmdop completion zsh) && print loaded-$?\r")
    shell.until("loaded-0")
    for typed, completed in (
        ("cmdop works\t", "cmdop workspace"),
        ("cmdop workspace use b\t", "cmdop workspace use beta"),
        ("cmdop --workspace=b\t", "cmdop --workspace=beta"),
        ("cmdop server mi\t", "cmdop server migrate"),
    ):
        shell.type(typed)
        shell.until(f"ready> {completed}")
        shell.type("\x15")  # clear the line
