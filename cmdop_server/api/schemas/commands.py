"""One short command: what is asked for, and what it left. Bytes travel as text where they are, else as base64."""

import base64
import binascii
from typing import Annotated, Literal

from ninja import Field
from pydantic import AfterValidator

from cmdop_server.api.schemas.common import Answer, Body, BodyText
from cmdop_server.orders import LONGEST_ARGV, LONGEST_INPUT, LONGEST_RUN, Left

MOST_WORDS = 1000
Encoding = Literal["utf-8", "base64"]


def _sayable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL is not allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("this is not Unicode text") from None
    return text


def _words(words: list[str]) -> list[str]:
    if not words[0]:
        raise ValueError("the first word is the command")
    if sum(len(word.encode()) + 1 for word in words) > LONGEST_ARGV:
        raise ValueError(f"a command has at most {LONGEST_ARGV} bytes; send more through stdin")
    return words


Word = Annotated[str, Field(max_length=LONGEST_ARGV), AfterValidator(_sayable)]
Argv = Annotated[list[Word], Field(min_length=1, max_length=MOST_WORDS), AfterValidator(_words)]
Folder = Annotated[str, Field(max_length=4096), AfterValidator(_sayable)]


class NewCommand(Body):
    """What to run: ``argv`` is a list of words that no shell sees, ``timeout`` is in seconds at the machine."""

    machine: BodyText
    argv: Argv
    timeout: float = Field(LONGEST_RUN, gt=0, le=LONGEST_RUN)
    cwd: Folder = ""
    stdin: str = Field("", max_length=2 * LONGEST_INPUT)
    stdin_encoding: Encoding = "utf-8"

    def input(self) -> bytes:
        """Return the bytes of stdin; ``ValueError`` says what is wrong with them."""
        try:
            given = (
                base64.b64decode(self.stdin, validate=True) if self.stdin_encoding == "base64" else self.stdin.encode()
            )
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raise ValueError(f"this is not {self.stdin_encoding}") from None
        if len(given) > LONGEST_INPUT:
            raise ValueError(f"stdin has at most {LONGEST_INPUT} bytes here; longer input needs a stream")
        return given


class CommandAnswer(Answer):
    """What a command left: ``exit_code`` is its own, 128 + n after a signal, 124 after a time-out.

    Of stdout and stderr 1 MiB each is kept, and ``truncated`` tells of more; what is no UTF-8 comes as base64.
    ``duration`` is in seconds at the machine.
    """

    exit_code: int
    signal: str | None
    timed_out: bool
    duration: float
    stdout: str
    stdout_encoding: Encoding
    stderr: str
    stderr_encoding: Encoding
    truncated: bool


def shown_command(left: Left) -> CommandAnswer:
    """Return what a command left, as it is answered."""
    (stdout, stdout_encoding), (stderr, stderr_encoding) = (
        _spelled(output, is_cut=left.truncated) for output in (left.stdout, left.stderr)
    )
    return CommandAnswer(
        exit_code=left.exit_code,
        signal=left.signal,
        timed_out=left.timed_out,
        duration=left.duration,
        stdout=stdout,
        stdout_encoding=stdout_encoding,
        stderr=stderr,
        stderr_encoding=stderr_encoding,
        truncated=left.truncated,
    )


def _spelled(output: bytes, *, is_cut: bool) -> tuple[str, Encoding]:
    """Return bytes as text, without the part of a character at the end that was cut off; else as base64."""
    try:
        return output.decode(), "utf-8"
    except UnicodeDecodeError as problem:
        if is_cut and problem.reason == "unexpected end of data" and problem.end == len(output):
            return output[: problem.start].decode(), "utf-8"
    return base64.b64encode(output).decode(), "base64"
