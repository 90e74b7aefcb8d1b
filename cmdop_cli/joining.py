"""A machine's way into a workspace as the line has it: the join token, whose it must be, what a refusal leads to."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cmdop_cli import asking, environment
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.resolver import unexpected
from cmdop_cli.state import Place
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call


def token_at(call: "Call", source: str) -> str:
    """Return the text of the join token; on the line it would stay in the shell's history."""
    from cmdop_wire.ids import token_kind

    kind, _, place = source.partition(":")
    if source == "-":
        text = call.read_secret("join token")
    elif kind in ("file", "env") and place:
        text = asking.key_text(source, call.environ, what="join token")
    else:
        raise usage(
            "--join-token takes -, file:PATH or env:NAME, never the token itself", hint="cmdop connect run --help"
        )
    if token_kind(text) != "join":
        raise Failure(
            Code.NO_CREDENTIAL, "that is no join token, or it is damaged", hint="cmdop connect join-token create"
        )  # fmt: skip
    return text


def workspace_meant(call: "Call") -> str | None:
    """Return the workspace that the token must be of: the one that the line or the shell names, or expects (D-22)."""
    resolution = call.resolution
    named = call.options.workspace or call.environ.get(environment.WORKSPACE) or None
    if named and resolution.expected and named != resolution.expected:
        raise unexpected(resolution, resolution.workspace or Place(slug=named))
    return named or resolution.expected


@contextmanager
def leading_on(call: "Call", meant: str | None) -> Iterator[None]:
    """Make a refusal to register lead on: the same line with what it takes, or a token of the workspace meant."""
    from cmdop_sdk.errors import Conflict, InvalidRequest

    try:
        yield
    except Conflict as taken:
        suggestion = taken.details.get("suggestion")
        if taken.code == ErrorCode.HOSTNAME_TAKEN and taken.details.get("may_replace") is True:
            taken.message += "; it is offline"
            taken.hint = _line_with(call, ["--replace"])
        elif taken.code == ErrorCode.HOSTNAME_TAKEN and isinstance(suggestion, str):
            taken.hint = _line_with(call, ["--hostname", suggestion])
        raise
    except InvalidRequest as wrong:
        if wrong.details.get("field") == "hostname":
            wrong.hint = _line_with(call, ["--hostname", "web-1"])
        if meant is None or wrong.details.get("field") != "workspace":
            raise
        hint = f"cmdop connect join-token create --workspace {meant}"
        if meant == call.resolution.expected:
            sentence = f"expected workspace {meant}, but the join token is of another one"
            raise Failure(Code.UNEXPECTED_WORKSPACE, sentence, hint=hint) from None
        said_by = "--workspace" if call.options.workspace else environment.WORKSPACE
        raise usage(f"{said_by} says {meant}, but the join token is of another workspace", hint=hint) from None


def _line_with(call: "Call", options: list[str]) -> str:
    """Return the line with ``options``, each in place of the same one on it; it goes where it went before."""
    kept, words = [], iter(call.arguments)
    for word in words:
        if word == options[0] and len(options) > 1:
            next(words, None)
        elif word.partition("=")[0] != options[0]:
            kept.append(word)
    return shlex.join(["cmdop", *kept, *options])
