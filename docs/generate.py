"""Writes the documents that are made from code: ``make docs``; ``--check`` names those that are out of date.

Tables live once, in code: permissions in ``access.policy``, codes in ``vocab`` with their statuses beside them. Nothing
here is edited by hand, and nothing made here is retyped elsewhere.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make docs`; do not edit. -->\n\n"
SHELLS = {
    "bash": "completions/cmdop.bash",
    "zsh": "completions/_cmdop",
    "fish": "completions/cmdop.fish",
    "pwsh": "completions/cmdop.ps1",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def permissions() -> str:
    """Return the role and scope tables of the one authoriser."""
    from cmdop_server.access.policy import ROLE_ACTIONS, SCOPE_ACTIONS, WORKSPACE_KEY_CEILING, scope_for
    from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, RESERVED_SCOPES, Action, Role, Scope

    def mark(holds: bool) -> str:
        return "✓" if holds else "–"

    roles = [
        [
            f"`{action}`",
            *(mark(action in ROLE_ACTIONS[role]) for role in Role),
            mark(action in WORKSPACE_KEY_CEILING and scope_for(action) is not None),
            f"`{scope_for(action)}`" if scope_for(action) else "closed to keys",
        ]
        for action in Action
    ]
    scopes = [
        [
            f"`{scope}`",
            ", ".join(f"`{action}`" for action in Action if action in SCOPE_ACTIONS[scope]) or "nothing yet",
            "reserved" if scope in RESERVED_SCOPES else "default" if scope in DEFAULT_KEY_SCOPES else "",
        ]
        for scope in Scope
    ]
    return (
        f"# Permissions\n\n{NOTE}"
        "Whoever asks, over whichever surface, one function answers from these tables: `decide` in"
        " `cmdop_server/access/policy.py`. What an actor may do is the role's row, narrowed by the key's scopes, by the"
        " state of the workspace and, for what happens on a machine, by that machine's own gate. What is not listed is"
        " refused. Somebody who is no member is told that the workspace does not exist.\n\n"
        "## Roles\n\n"
        "The last two columns are about keys: whether a workspace key may ever do it, and the scope that opens it.\n\n"
        f"{table(['action', *Role, 'workspace key', 'scope'], roles)}\n"
        "Beyond the table: nobody gives a role above their own, nobody changes or removes somebody of a higher rank,"
        " and a workspace always keeps an owner.\n\n"
        "## Scopes of keys\n\n"
        f"{table(['scope', 'opens', ''], scopes)}\n"
        "A key is created with the default scopes unless others are asked for. Reserved scopes are accepted and open"
        " nothing until their features exist. A personal key never does more than its owner's role allows at that"
        " moment; a workspace key never more than an admin.\n"
    )


def gate() -> str:
    """Return the floor of a machine's gate, and what its mode ``default`` asks about."""
    from cmdop_agent import gate as data
    from cmdop_agent import within

    def listed(words: Iterable[str]) -> str:
        return ", ".join(f"`{word}`" for word in words)

    commands = [[listed(sorted(each.programs)), each.only or "always", each.why] for each in data.DANGEROUS]
    return (
        f"# The gate: floor and dangerous operations\n\n{NOTE}"
        "What these lists are for is in [permissions](../permissions.md). They are data in `cmdop_agent/gate.py`.\n\n"
        "## The floor\n\n"
        "Never allowed, by no rule and in no mode:\n\n"
        "- reading or writing the files of cmdop itself: its whole configuration directory, by whatever name (a hard\n"
        "  link, a bind mount)\n"
        f"- reading or writing {listed(data.FLOOR_FILES)}\n"
        f"- writing {listed(data.FLOOR_DEVICES)}\n"
        f"- `cmdop` with {listed(sorted(data.GATE_VERBS))}: the gate is moved at the machine only\n"
        "- `rm` with `-r` of `/`, and fork bombs\n\n"
        "## What mode `default` asks about\n\n"
        f"{table(['command', 'when', 'because it'], commands)}\n"
        f"Also behind {listed(sorted(within.WRAPPERS))} and in the text of a shell ({listed(sorted(within.SHELLS))}),"
        " as far as it can be seen there. It errs on the side of asking.\n\n"
        f"Reading {listed(data.DANGEROUS_READS)}.\n\n"
        f"Writing {listed(data.DANGEROUS_WRITES)}.\n"
    )


def errors() -> str:
    """Return every code with its HTTP status and the exit status it leads to."""
    from cmdop_cli.exit_meanings import EXIT_MEANINGS
    from cmdop_cli.failures import EXIT
    from cmdop_server.api.statuses import HTTP_STATUS
    from cmdop_wire.vocab import ErrorCode

    def status(code: str) -> str:
        return f"{int(EXIT[code])}"

    served = [[f"`{code}`", str(HTTP_STATUS[code]), status(code)] for code in ErrorCode]
    local = [[f"`{code}`", status(code)] for code in EXIT if code not in HTTP_STATUS]
    exits = [
        [str(int(exit_)), meaning, ", ".join(f"`{code}`" for code in EXIT if EXIT[code] is exit_)]
        for exit_, meaning in EXIT_MEANINGS.items()
    ]
    return (
        f"# Error codes and exit statuses\n\n{NOTE}"
        'Every refusal of the API is `{"error": {"code", "message", "hint", "details", "request_id"}}`; the code is'
        " stable, the sentence is for people. Under `--json` the command line prints the same code as one object on"
        " stderr and ends with the exit status of this table.\n\n"
        f"## Codes of the server\n\n{table(['code', 'HTTP status', 'exit status'], served)}\n"
        f"## Codes of the command line, the SDK and machines\n\n{table(['code', 'exit status'], local)}\n"
        f"## Exit statuses\n\n{table(['status', 'means', 'codes'], exits)}"
    )


def openapi() -> str:
    """Return the document that the server serves at ``/api/v1/openapi.json``."""
    from cmdop_server.api.openapi import document

    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _printed(*arguments: str) -> str:
    """Return what ``cmdop`` prints for a line that needs neither state nor server, run in this process."""
    from cmdop_cli.__main__ import run

    out = io.StringIO()
    with mock.patch.multiple(sys, argv=["cmdop", *arguments], stdout=out), contextlib.suppress(SystemExit):
        run()
    return out.getvalue()


def _page(title: str, text: str) -> str:
    return f"{title}\n\n```text\n{text.rstrip()}\n```\n\n"


def _server_pages() -> str:
    """Return the help of ``cmdop server``, which is the control plane's own and replaces the process."""
    from argparse import ArgumentParser, _SubParsersAction

    from cmdop_server.__main__ import Grammar

    def pages(parser: ArgumentParser, level: str) -> Iterator[str]:
        yield _page(f"{level} {parser.prog}", parser.format_help())
        for action in parser._actions:
            if isinstance(action, _SubParsersAction):
                for verb in action.choices.values():
                    yield from pages(verb, "###")

    with mock.patch.dict(os.environ, COLUMNS="80"):
        return "".join(pages(Grammar().parser, "##"))


def cli() -> str:
    """Return the manual of the command line: the help of every command, as it is printed."""
    from cmdop_cli.catalog import Foreign, rows
    from cmdop_cli.environment import VARIABLES
    from cmdop_cli.exit_meanings import EXIT_MEANINGS

    text = f"# The command line\n\n{NOTE}What `--help` prints, command by command.\n\n"
    text += _page("## cmdop", _printed("--help"))
    for words, row in rows():
        if isinstance(row, Foreign):
            text += _server_pages()
        else:
            text += _page(f"{'#' * min(len(words) + 1, 4)} cmdop {' '.join(words)}", _printed(*words, "--help"))
    variables = [[f"`{name}`", meaning] for name, meaning in VARIABLES.items()]
    exits = [[str(int(status)), meaning] for status, meaning in EXIT_MEANINGS.items()]
    return (
        f"{text}## Environment\n\n{table(['variable', 'meaning'], variables)}\n"
        f"## Exit statuses\n\n{table(['status', 'means'], exits)}"
    )


def completion(shell: str) -> str:
    """Return the script that makes ``shell`` ask ``cmdop`` at every TAB."""
    from cmdop_cli.completion_scripts import SCRIPTS

    return SCRIPTS[shell].lstrip("\n")


def documents() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield each generated file, relative to the repository, with what makes it."""
    yield "docs/reference/permissions.md", permissions
    yield "docs/reference/gate.md", gate
    yield "docs/reference/errors.md", errors
    yield "docs/reference/openapi.json", openapi
    yield "docs/reference/cli.md", cli
    for shell, path in SHELLS.items():
        yield path, partial(completion, shell)


def main() -> int:
    """Write every document, or with ``--check`` only compare; 1 when one was out of date."""
    only_check, late = "--check" in sys.argv[1:], 0
    with tempfile.TemporaryDirectory() as empty:
        os.environ |= {
            "CMDOP_CONFIG_DIR": empty,
            "CMDOP_DATA_DIR": empty,
            "DJANGO_SETTINGS_MODULE": "cmdop_server.settings",
        }
        import django

        django.setup()
        for path, make in documents():
            target, text = REPOSITORY / path, make()
            if not only_check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8")
            elif not target.exists() or target.read_text("utf-8") != text:
                print(f"{path} is out of date: run make docs", file=sys.stderr)
                late = 1
    return late


if __name__ == "__main__":
    sys.exit(main())
