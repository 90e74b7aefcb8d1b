"""Extensions: executables called ``cmdop-<name>`` on PATH. They get their arguments untouched.

Never from the working directory, and never in place of a built-in name: the catalog is asked first.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure, usage

if TYPE_CHECKING:
    from cmdop_cli.context import Call

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PREFIX = "cmdop-"


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the directories of PATH, in order, without relative ones and without the working directory."""
    try:
        here: Path | None = Path.cwd().resolve()
    except OSError:
        here = None
    for text in environ.get("PATH", "").split(os.pathsep):
        folder = Path(text)
        if folder.is_absolute() and folder.resolve() != here:
            yield folder


def find(name: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the path of the extension called ``name``, or ``None``."""
    if not _NAME.fullmatch(name):
        return None
    paths = (folder / f"{_PREFIX}{name}" for folder in _folders(environ))
    return next((path for path in paths if path.is_file() and os.access(path, os.X_OK)), None)


def names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of all extensions, sorted."""
    found = set()
    for folder in _folders(environ):
        with suppress(OSError):
            found |= {path.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*") if path.is_file()}
    return sorted(name for name in found if find(name, environ))


def run(path: Path, call: "Call", arguments: list[str]) -> NoReturn:
    """Become the extension. What was chosen on our part of the line travels by environment, never by argument."""
    options = call.options
    if options.api_key is not None:
        raise usage("an extension takes no --api-key", hint="export CMDOP_API_KEY")
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
        os.execve(path, [str(path), *arguments], environ)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise Failure(
            Code.OUTPUT, f"cannot run {path}: {(error.strerror or str(error)).lower()}", hint=f"chmod +x {path}"
        ) from error
