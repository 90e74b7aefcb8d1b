"""``cmdop server …``: the command line replaces itself with the control plane; arguments pass untouched."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from cmdop_cli.context import Call
from cmdop_cli.failures import Code, Failure

NEEDED = ("django", "ninja", "allauth", "uvicorn")  # of the extra; without one of them the server cannot start
INSTALL = "pip install 'cmdop-cli[server]'"


def check_installed() -> None:
    """Raise how to install the control plane when a part of the extra is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Failure(
            Code.LOCAL_STATE,
            f"the control plane is not installed here: {', '.join(missing)} {_is_or_are(missing)} missing",
            hint=INSTALL,
        )


def replace(call: Call, args: Sequence[str]) -> int:
    """Run ``python -m cmdop_server`` with ``args`` in place of this process, or say how to install it.

    ``-P`` keeps the working directory out of the import path: a file that lies there never runs (D-23).
    """
    check_installed()
    words = list(args)
    if call.options.output == "json" and "--json" not in words and words[:1] not in ([], ["start"]):
        words.append("--json")  # said before ``server``, as it may be on any line
    command = [sys.executable, "-P", "-m", "cmdop_server", *words]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if os.name != "nt":
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
    import subprocess  # on Windows, replacing a process leaves the shell believing that it has ended

    return subprocess.call(command)  # noqa: S603 - our own interpreter


def complete(call: Call, words: Sequence[str]) -> int:
    """Have the control plane say what the last of ``words`` may become; where it is not installed, nothing is said."""
    try:
        return replace(call, ["complete", *words])
    except Failure:
        return 0


def _is_or_are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
