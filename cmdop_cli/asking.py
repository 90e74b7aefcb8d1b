"""Questions to a person, and secrets handed in. Never a hang: without a terminal a question is exit 7."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure

if TYPE_CHECKING:
    from cmdop_cli.context import Call

_LONGEST = 16_384  # characters of a secret; more is not one


def is_possible(call: "Call") -> bool:
    """Tell whether a question may be asked."""
    if call.options.no_input or environment.is_on(call.environ, environment.NO_INPUT) or call.environ.get("CI"):
        return False
    if call.setting("no_input"):
        return False
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def confirm(call: "Call", question: str, affects: Sequence[str]) -> None:
    """Ask ``question`` and return if the answer is yes; else exit 7."""
    if call.options.yes or call.is_dry_run:
        return
    if not is_possible(call):
        raise Failure(Code.CONFIRMATION_REQUIRED, f"this needs a yes: {question}", hint=f"{call.line} --yes")
    _introduce(call, affects)
    if _answer(call, f"{question} [y/N] ").lower() not in ("y", "yes"):
        raise Failure(Code.CONFIRMATION_REQUIRED, "not confirmed; nothing was changed")


def choose(call: "Call", question: str, choices: Sequence[str]) -> int:
    """Let a person pick one of ``choices`` by its number; return its place. The caller knows that one can be asked."""
    for number, text in enumerate(choices, 1):
        call.note(f"{number:>4}  {text}", now=True)
    answer = _answer(call, f"{question} [1-{len(choices)}] ")
    if not (answer.isascii() and answer.isdigit() and 1 <= int(answer[:9]) <= len(choices)):
        raise Failure(Code.CONFIRMATION_REQUIRED, "nothing was chosen")
    return int(answer) - 1


def secret(call: "Call", what: str) -> str:
    """Return a secret: one line of stdin, or of a hidden question on a terminal."""
    if not _is_terminal(sys.stdin):
        return _one_line(sys.stdin.read(_LONGEST + 1) if sys.stdin is not None else "", what)
    if not is_possible(call):
        raise Failure(Code.CONFIRMATION_REQUIRED, f"the {what} is expected on stdin", hint=f"… | {call.line}")
    from getpass import getpass

    return _one_line(getpass(f"{what}: "), what)


def key_text(source: str, environ: Mapping[str, str], *, what: str = "key") -> str:
    """Return the text of the key, or ``what`` it is, that an option points at: ``-``, ``file:PATH`` or ``env:NAME``."""
    if source == "-":
        return _one_line(sys.stdin.read(_LONGEST + 1) if sys.stdin is not None else "", what)
    kind, _, place = source.partition(":")
    if kind == "env":
        return _one_line(environ.get(place, ""), what, f"variable {place}")
    try:
        with open(place, encoding="ascii") as file:
            return _one_line(file.read(_LONGEST + 1), what, place)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise Failure(Code.NO_CREDENTIAL, f"cannot read a {what} from {place}: {reason.lower()}") from None


def _one_line(text: str, what: str, where: str = "stdin") -> str:
    plain = text.strip()
    if not plain or len(plain) > _LONGEST or "\n" in plain:
        raise Failure(Code.NO_CREDENTIAL, f"there is no {what} in {where}")
    return plain


def _introduce(call: "Call", affects: Sequence[str]) -> None:
    if call.declared.needs == "workspace":
        call.note(call.resolution.why, now=True)
    for line in affects:
        call.note(f"  {line}", now=True)


def _answer(call: "Call", question: str) -> str:
    call.output.ask(question)
    try:
        return sys.stdin.readline(1024).strip()
    except KeyboardInterrupt:
        call.output.interrupted()
        raise
    except BaseException:
        call.note("", now=True)  # an interrupted question is a line of its own
        raise


def _is_terminal(stream: object) -> bool:
    try:
        return stream is not None and bool(stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False
