"""What a command or session is to run and where, settled before the gate is asked, and started exactly so (D-25).

Between the two a person may think for a minute, and whoever can write here moves links meanwhile. So the folder is
resolved once, and at the start it is opened step by step, following no link, with the rights of whoever works in it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cmdop_agent.children import IS_LINUX
from cmdop_agent.environment import Account, child_environment
from cmdop_agent.refusals import Refusal
from cmdop_agent.rights import acting_as
from cmdop_agent.session import Opening
from cmdop_wire.vocab import ErrorCode, MachineCode

# Only to go through: a folder may be entered by who may not list it.
_STEP = getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Work:
    """``words`` to run, none for the login shell, in ``folder``, whose path had no link in it when it was settled.

    ``program`` is the real path of what the first word means, empty where there is no such program.
    """

    words: tuple[str, ...]
    folder: str
    program: str = ""


def work_of(opening: Opening, home: str, account: Account | None = None) -> Work:
    """Return what an opening means here; where its folder and its program are is seen with the account's eyes."""
    if opening.kind not in ("command", "session"):
        return Work((), home)
    words = tuple(_words_of(opening))
    if any("\0" in word for word in (*words, opening.cwd)):
        raise Refusal(ErrorCode.INVALID, "a word of a command cannot hold a NUL")
    path = child_environment(account=account)["PATH"]
    with acting_as(account):
        folder = _folder_of(opening, home)
        return Work(words, folder, _program_of(words[0], folder, path) if words else "")


def _program_of(word: str, folder: str, path: str) -> str:
    found = os.path.join(folder, word) if "/" in word else shutil.which(word, path=path)  # noqa: PTH118 - as below
    return os.path.realpath(found) if found else ""


def _words_of(opening: Opening) -> list[str]:
    """Return the argv; of a command with ``shell`` its one text goes to ``/bin/sh -c``."""
    if opening.shell and opening.kind == "command":
        return ["/bin/sh", "-c", " ".join(opening.argv)]
    return opening.argv


def _folder_of(opening: Opening, home: str) -> str:
    """Return the home folder, or the real path of what the caller chose.

    An account whose home folder is not there works in the root folder, as when it logs in.
    """
    if not opening.cwd:
        return home if os.path.isdir(home) else "/"  # noqa: PTH112 - pathlib is for more than one question
    chosen = opening.cwd
    if chosen == "~" or chosen.startswith("~/"):
        chosen = home + chosen[1:]
    return os.path.realpath(os.path.join(home, chosen))  # noqa: PTH118 - pathlib resolves in another way


@contextmanager
def entered(folder: str, account: Account | None) -> Iterator[str]:
    """Give the path by which a child enters ``folder``; ``Refusal`` when there is none, or the account may not enter.

    A child becomes the account only after it has changed its folder, so it would be root that enters.
    """
    if not IS_LINUX:  # nor is there any account
        yield folder
        return
    opened = _opened(folder, account)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)


def _opened(folder: str, account: Account | None) -> int:
    opened = os.open("/", _STEP)
    try:
        with acting_as(account):
            for part in filter(None, folder.split("/")):
                below = os.open(part, _STEP, dir_fd=opened)
                os.close(opened)
                opened = below
            os.stat(".", dir_fd=opened)  # opening it asked only for the right to come here
    except (FileNotFoundError, NotADirectoryError):  # a link that was put in its way is no folder either
        os.close(opened)
        raise Refusal(MachineCode.COMMAND_NOT_FOUND, f"no such folder on the machine: {folder}") from None
    except OSError as error:
        os.close(opened)
        reason = (error.strerror or str(error)).lower()
        raise Refusal(MachineCode.CANNOT_START, f"the machine cannot enter {folder}: {reason}") from None
    return opened
