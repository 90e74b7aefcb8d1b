"""The commands that shell prompts run at every line: answered from state.json alone, before Typer is imported.

Only the plain case is answered here: a state file as we wrote it, an environment that holds nothing odd, a workspace
that is found. Anything else returns ``None`` and the full command decides; a test compares both byte for byte.
"""

import os
import stat
from collections.abc import Mapping

from cmdop_cli import environment, paths

_SIZE_LIMIT = 1 << 20  # bytes, as in cmdop_sdk.files
_ELSEWHERE = (environment.OUTPUT, environment.SERVER_URL)  # they need more than state.json to be understood


def run(arguments: list[str], environ: Mapping[str, str]) -> int | None:
    """Answer the line and return its exit status, or ``None`` when it needs the full command."""
    if arguments == ["--version"]:
        from cmdop_cli.output import Output
        from cmdop_cli.version import version

        Output("table", environ=environ).write(f"cmdop {version()}\n")
        return 0
    if any(name in environ for name in _ELSEWHERE):
        return None
    directory = paths.plain_config_dir(environ)
    content = None if directory is None else _pristine(directory, paths.STATE)
    return None if directory is None or content is None else _answer(arguments, environ, directory, content)


def _answer(arguments: list[str], environ: Mapping[str, str], directory: str, content: bytes) -> int | None:
    import json

    from cmdop_cli.current import current_result, prompt_result
    from cmdop_cli.options import Options
    from cmdop_cli.output import Output
    from cmdop_cli.resolver import resolve
    from cmdop_cli.state import SCHEMA, parsed

    try:
        state = parsed(json.loads(content))
        here = os.getcwd()  # noqa: PTH109 - pathlib alone would take a third of the time there is
    except (ValueError, RecursionError, AttributeError, OSError):
        return None
    stamp, form = state.seen or ("-", None)
    if state.schema != SCHEMA or stamp != paths.stamp_of(f"{directory}/{paths.CONFIG}"):
        return None
    resolution = resolve(Options(), environ, state, directory=here)
    if resolution.must_verify or (resolution.problem is not None and arguments != ["prompt"]):
        return None
    if "--json" in arguments:
        form = "json"
    output = Output(form, environ=environ)
    return output.show(prompt_result(resolution) if arguments == ["prompt"] else current_result(resolution))


def _pristine(directory: str, name: str) -> bytes | None:
    """Return the content of a file that is exactly as we leave them: ours, plain, private, no link; else ``None``."""
    try:
        folder = os.lstat(directory)
        opened = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(opened)
        for each, is_kind in ((folder, stat.S_ISDIR), (found, stat.S_ISREG)):
            if not is_kind(each.st_mode) or each.st_uid != os.geteuid() or each.st_mode & 0o077:
                return None
        content = os.read(opened, _SIZE_LIMIT)
        return content if len(content) == found.st_size else None
    except OSError:
        return None
    finally:
        os.close(opened)
