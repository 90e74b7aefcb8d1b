"""Writes the documents that are made from code: ``make docs``; ``--check`` names those that are out of date.

Tables live once, in code: permissions in ``access.policy``, codes in ``vocab`` with their statuses beside them. Nothing
here is edited by hand, and nothing made here is retyped elsewhere.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

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


def errors() -> str:
    """Return every code with its HTTP status and the exit status it leads to."""
    from cmdop_cli.failures import EXIT, Code
    from cmdop_server.api.errors import HTTP_STATUS
    from cmdop_wire.vocab import ErrorCode, Exit

    def status(code: str) -> str:
        return f"{int(EXIT[code])}"

    served = [[f"`{code}`", str(HTTP_STATUS[code]), status(code)] for code in ErrorCode]
    local = [[f"`{code}`", status(code)] for code in Code]
    exits = [
        [
            str(int(code)),
            code.name.lower().replace("_", " "),
            ", ".join(f"`{each}`" for each in EXIT if EXIT[each] is code),
        ]
        for code in Exit
    ]
    return (
        f"# Error codes and exit statuses\n\n{NOTE}"
        'Every refusal of the API is `{"error": {"code", "message", "hint", "details", "request_id"}}`; the code is'
        " stable, the sentence is for people. Under `--json` the command line prints the same code as one object on"
        " stderr and ends with the exit status of this table.\n\n"
        f"## Codes of the server\n\n{table(['code', 'HTTP status', 'exit status'], served)}\n"
        f"## Codes that never leave the machine\n\n{table(['code', 'exit status'], local)}\n"
        f"## Exit statuses\n\n{table(['status', 'means', 'codes'], exits)}"
    )


def openapi() -> str:
    """Return the document that the server serves at ``/api/v1/openapi.json``."""
    from cmdop_server.api.openapi import document

    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _command(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "CMDOP_CONFIG_DIR": home,
            "COLUMNS": "80",
            "LANG": "C.UTF-8",
        }
        command = [str(Path(sys.executable).parent / "cmdop"), *arguments]
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


def cli() -> str:
    """Return the manual of the command line."""
    from cmdop_cli.reference import markdown

    return markdown(NOTE)


def documents() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield each generated file, relative to the repository, with what makes it."""
    yield "docs/reference/permissions.md", permissions
    yield "docs/reference/errors.md", errors
    yield "docs/reference/openapi.json", openapi
    yield "docs/reference/cli.md", cli
    for shell, path in SHELLS.items():
        yield path, lambda shell=shell: _command("completion", shell)


def main() -> int:
    """Write every document, or with ``--check`` only compare; 1 when one was out of date."""
    only_check, late = "--check" in sys.argv[1:], 0
    with tempfile.TemporaryDirectory() as empty:
        os.environ |= {"CMDOP_DATA_DIR": empty, "DJANGO_SETTINGS_MODULE": "cmdop_server.settings"}
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
