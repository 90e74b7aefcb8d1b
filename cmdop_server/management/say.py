"""The only place of the operator's commands that prints: answers to stdout, everything else to stderr."""

import json
import os
import sys
from typing import Any

from cmdop_server.access.errors import Refused
from cmdop_server.management import documents
from cmdop_server.management.pages import folded
from cmdop_server.refusal import Refusal
from cmdop_wire.vocab import ErrorCode, Exit

EXIT_OF = {
    ErrorCode.INVALID: Exit.USAGE,
    ErrorCode.MALFORMED: Exit.USAGE,
    ErrorCode.NOT_FOUND: Exit.NOT_FOUND,
    ErrorCode.FORBIDDEN: Exit.FORBIDDEN,
    ErrorCode.CONFLICT: Exit.CONFLICT,
    ErrorCode.NAME_TAKEN: Exit.CONFLICT,
    ErrorCode.SLUG_TAKEN: Exit.CONFLICT,
    ErrorCode.LIMIT_REACHED: Exit.CONFLICT,
    ErrorCode.LAST_OWNER: Exit.CONFLICT,
    ErrorCode.PERSONAL_WORKSPACE: Exit.CONFLICT,
    ErrorCode.UNAVAILABLE: Exit.TEMPORARY,
}


def answer(text: str) -> None:
    """Print a line of the answer."""
    _write(sys.stdout, text)


def answer_json(noun: str, **fields: Any) -> None:
    """Print the answer as one JSON object in one line, ``schema`` first."""
    answer(json.dumps({"schema": f"cmdop.{noun}.v1", **fields}))


def note(text: str) -> None:
    """Print a line that is not the answer."""
    _write(sys.stderr, folded(text, sys.stderr))


def refused(refusal: Refusal, *, as_json: bool = False) -> int:
    """Say why the server does not do it, and how it would; return the exit status 78."""
    if as_json:
        note(documents.error("refused", refusal.message, refusal.fix, Exit.LOCAL_STATE, setting=refusal.setting))
    else:
        note(f"refused: {refusal.setting}: {refusal.message}")
        note(f"fix: {refusal.fix}")
    return Exit.LOCAL_STATE


def failed(refusal: Refused, *, as_json: bool = False) -> int:
    """Say what a service refused, and return the exit status that the command line uses for it."""
    status = EXIT_OF.get(refusal.code, Exit.BUG)
    if as_json:
        note(documents.error(refusal.code, refusal.message, refusal.hint, status))
        return status
    note(f"error: {refusal.message}")
    if refusal.hint:
        note(f"fix: {refusal.hint}")
    return status


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        pass  # nobody reads it any more; that is no reason to stop serving
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python tries once more at its end, and says so
        if stream is not sys.stderr:  # else there is nowhere left to say so
            raise Refusal("stdout", f"cannot be written to: {error.strerror}", "df -h .") from None
