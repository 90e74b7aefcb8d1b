"""The commands that shell prompts run at every line: answered from state.json alone, before Typer is imported.

Only the plain case is answered here: a state file as we wrote it, an environment that holds nothing odd, a workspace
that is found. Anything else returns ``None`` and the full command decides, so both say the same by construction;
a test compares them byte for byte.
"""

import os
import stat
from collections.abc import Mapping

from cmdop_cli import environment, paths
from cmdop_cli.failures import Failure

_SIZE_LIMIT = 1 << 20


def run(arguments: list[str], environ: Mapping[str, str]) -> int | None:
    """Answer the line and return its exit status, or ``None`` when it needs the full command."""
    from cmdop_cli.output import Output

    if arguments == ["--version"]:
        from cmdop_cli.version import version

        Output("table", environ=environ).write(f"cmdop {version()}\n")
        return 0
    if any(name in environ for name in (environment.OUTPUT, environment.SERVER_URL, environment.DEBUG)):
        return None
    return None


def _pristine(directory: str, name: str) -> bytes | None:
    """Return the content of a file that is exactly as we leave them: ours, plain, private, no link; else ``None``."""
    try:
        folder = os.lstat(directory)
        opened = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(opened)
        for each, kind in ((folder, stat.S_ISDIR), (found, stat.S_ISREG)):
            if not kind(each.st_mode) or each.st_uid != os.geteuid() or each.st_mode & 0o077:
                return None
        content = os.read(opened, _SIZE_LIMIT)
        return content if len(content) == found.st_size else None
    except OSError:
        return None
    finally:
        os.close(opened)


__all__ = ["Failure", "run"]
