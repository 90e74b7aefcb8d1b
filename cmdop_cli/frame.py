"""The outermost frame of a full command: whatever is raised below becomes text or JSON and an exit status here.

No traceback reaches a terminal. A bug leaves one in a private file, with secrets masked, and so does any failure
under ``--debug`` or ``CMDOP_DEBUG``.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from cmdop_cli import environment, paths
from cmdop_cli.call import Call
from cmdop_cli.failures import Code, Failure, Terminated, explained
from cmdop_wire.vocab import Exit


def run(arguments: list[str]) -> int:
    """Run one line and return its exit status."""
    call = Call(arguments, os.environ)
    _end_on_sigterm()
    try:
        result = _result(arguments, call)
        if isinstance(result, int):
            return result
        return call.output.show(result)
    except BrokenPipeError:
        return Exit.DONE  # the reader of our pipe has left, which is its right
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else Exit.BUG
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | Terminated):
            _say_nothing_of_what_never_ran()
        return _failed(call, error)


def _say_nothing_of_what_never_ran() -> None:
    """Keep Python from warning of a coroutine that was made and not yet begun when the interrupt came."""
    import warnings

    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)


def _result(arguments: list[str], call: Call) -> Any:
    if arguments[:1] in (["connect"], ["workspace"]):
        from cmdop_cli import without_typer

        result = without_typer.run(call)
        if result is not None:
            return result
    from cmdop_cli import app

    return app.run(arguments, call)


def _failed(call: Call, error: BaseException) -> int:
    from cmdop_cli.explaining import explain

    failure = explain(call, _not_text(call, error) or explained(error))
    is_debugging = call.given.options().debug or call.environ.get(environment.DEBUG, "") not in ("", "0")
    if failure.code == Code.BUG or is_debugging:
        _keep_traceback(call, failure, error)
    with suppress(OSError):  # stderr may have gone too; the exit status still tells
        call.emergency_output().failure(failure)
    return _status(call, failure)


def _not_text(call: Call, error: BaseException) -> Failure | None:
    """Return the refusal of a word whose bytes are no text, which only shows where it is to leave this machine."""
    if not isinstance(error, UnicodeEncodeError):
        return None
    words = [*call.arguments, *(value for name, value in call.environ.items() if name.startswith("CMDOP_"))]
    word = next((each for each in words if not each.isprintable() and _is_broken(each)), None)
    if word is None:
        return None
    from cmdop_cli.safe_text import safe

    is_foreign = sys.getfilesystemencoding().lower() not in ("utf-8", "utf8")
    return Failure(
        Code.USAGE,
        f"{safe(word)} is not Unicode text",
        hint="export LC_ALL=C.UTF-8" if is_foreign else "",  # else the usual: the command's help
    )


def _is_broken(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return True
    return False


def _status(call: Call, failure: Failure) -> int:
    """Return the exit status; no failure of ours may look like the status of what ran far away."""
    ours = (Exit.USAGE, Exit.GUARD, Exit.INTERRUPTED, Exit.TERMINATED)
    return Exit.REMOTE if call.is_remote and failure.exit_code not in ours else failure.exit_code


def _keep_traceback(call: Call, failure: Failure, error: BaseException) -> None:
    """Write the traceback where only its owner reads it, and make the failure name the file."""
    import traceback
    from secrets import token_hex
    from time import strftime

    from cmdop_wire.ids import mask

    name = f"{strftime('%Y%m%dT%H%M%S')}-{token_hex(4)}.txt"
    text = mask("".join(traceback.format_exception(error)))
    try:
        file = call.local.file(f"{paths.DEBUG}/{name}")
        with file.locked() as locked:
            locked.write(text.encode("utf-8", "backslashreplace"))
        file.path.with_name(f"{name}.lock").unlink()
    except Exception:  # no state directory: then there is no file, and the failure itself matters more
        return
    failure.hint = failure.hint or f"cat {file.path}"
    failure.message = f"{failure.message} (traceback in {file.path})"


def _end_on_sigterm() -> None:
    def end(*_: object) -> NoReturn:
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: whoever embeds us has their own way to end
        return
