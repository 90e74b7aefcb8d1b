"""``cmdop completion SHELL`` prints a script; the script asks ``cmdop complete WORDS…`` at every TAB.

The scripts hold no list of commands, so they are never out of date. Answers come from the table and from local state,
never from the network.
"""

from typing import Annotated

import typer

from cmdop_cli.completion_scripts import SCRIPTS
from cmdop_cli.context import Call
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Text


@verb(lenient=True)
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh, fish or pwsh")]) -> Text:
    """Print the completion script of a shell.

    Let the shell read it at its start: bash and zsh with source <(cmdop completion bash), fish with
    cmdop completion fish | source, PowerShell with cmdop completion pwsh | Out-String | Invoke-Expression.

    cmdop completion bash > ~/.local/share/bash-completion/completions/cmdop
    cmdop completion zsh > ~/.zfunc/_cmdop
    """
    if shell not in SCRIPTS:
        raise usage(f"there is no script for {shell}: choose one of {', '.join(SCRIPTS)}",
                    hint="cmdop completion bash")  # fmt: skip
    return Text(SCRIPTS[shell].strip("\n").splitlines(), "completion")


def complete(call: Call, words: list[str]) -> int:
    """Answer a completion script: the words of the line after ``cmdop``, the last one unfinished."""
    from cmdop_cli import completions

    foreign = completions.of_server(words)
    if foreign is not None:
        from cmdop_cli.commands import server

        return server.complete(call, foreign)
    try:
        found = completions.candidates(words or [""], call)
    except Exception:  # whatever is wrong with the local files, TAB only finds nothing
        found = []
    call.print_cells(found)
    return 0
