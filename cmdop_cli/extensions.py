"""Extensions: executables called ``cmdop-<name>`` on PATH. They get their arguments untouched.

Never from the working directory, and never in place of a built-in name: the table is asked first.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure

if TYPE_CHECKING:
    from cmdop_cli.context import Call

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PREFIX = "cmdop-"


def _folders(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the directories of PATH, in order, without relative ones and without the working directory."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:
        here = ""
    for folder in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(folder) and os.path.realpath(folder) != here:
            yield folder


def find(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of the extension called ``name``, or ``None``."""
    if not _NAME.fullmatch(name):
        return None
    for folder in _folders(environ):
        path = os.path.join(folder, _PREFIX + name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of all extensions, sorted."""
    found = set()
    for folder in _folders(environ):
        try:
            entries = os.listdir(folder)
        except OSError:
            continue
        found |= {
            each.removeprefix(_PREFIX) for each in entries if each.startswith(_PREFIX) and find(each[6:], environ)
        }
    return sorted(found)


def run(path: str, call: "Call", arguments: list[str]) -> NoReturn:
    """Become the extension. What was chosen on our part of the line travels by environment, never by argument."""
    options = call.options
    chosen = {
        environment.WORKSPACE: options.workspace,
        environment.PROFILE: options.profile,
        environment.MODE: options.mode,
        environment.SERVER_URL: options.server,
        environment.OUTPUT: options.output,
        environment.EXPECT_WORKSPACE: options.expect,
        environment.NO_INPUT: "1" if options.no_input else None,
        environment.DEBUG: "1" if options.debug else None,
    }
    environ = {**os.environ, **{name: value for name, value in chosen.items() if value}}
    if options.no_api_key:
        environ.pop(environment.API_KEY, None)
    try:
        os.execve(path, [path, *arguments], environ)
    except OSError as error:
        raise Failure(
            Code.OUTPUT, f"cannot run {path}: {(error.strerror or str(error)).lower()}", hint=f"chmod +x {path}"
        ) from error
