"""Long tables on a terminal go through a pager, if the person has named one. Never for scripts, never by guess."""

import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmdop_cli.output import Output


def paged(output: "Output", text: str, pager: str | None) -> bool:
    """Show ``text`` in ``pager`` if it is longer than the screen; return whether that happened.

    The pager is started without a shell, and one that cannot be started is only warned about.
    """
    rows = shutil.get_terminal_size().lines
    if (
        not pager
        or text.count("\n") < rows
        or not (output.is_terminal and sys.stdin is not None and sys.stdin.isatty())
    ):
        return False
    try:
        process = subprocess.Popen(shlex.split(pager), stdin=subprocess.PIPE, text=True, encoding="utf-8")  # noqa: S603
    except (OSError, ValueError) as error:
        output.warn(f"the pager {pager} cannot be started: {error}")
        return False
    try:
        process.communicate(text)  # a pager that is left early closes its end, which communicate forgives
    except KeyboardInterrupt:
        process.wait()  # the pager has its own idea of Ctrl-C, and the terminal back when it ends
    return True
