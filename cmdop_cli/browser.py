"""The person's own browser: whether there is one to be seen, and opening it without letting it touch our terminal."""

import subprocess
import sys
from collections.abc import Mapping

REMOTE = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_browser(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Tell whether a browser that is opened here would appear before the person's eyes.

    Not over SSH, where it would open on another desk or in the terminal itself, nor in CI, nor without a display.
    """
    if any(environ.get(name) for name in (*REMOTE, "CI")):
        return False
    return platform in ("darwin", "win32") or any(environ.get(name) for name in DISPLAYS)


def open_browser(address: str) -> None:
    """Ask the desktop to show ``address``; whether it did is not waited for, and nothing of its talk is shown.

    Python's own ``webbrowser`` in a process of its own, isolated (``-I``), so that no file of the working directory
    is imported (D-23) and a browser that runs in the terminal finds none.
    """
    command = [sys.executable, "-I", "-m", "webbrowser", address]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)  # noqa: S603 - our own
