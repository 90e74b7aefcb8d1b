"""Which files there are, and in which directory. The only module of the command line that knows."""

import os

TYPE_CHECKING = False  # as typing's, without importing it: the fast path knows directories too
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATE = "state.json"
PROFILES = "profiles.toml"
CONFIG = "config.toml"
DEBUG = "debug"


def config_dir(environ: "Mapping[str, str]" = os.environ) -> "Path":
    """Return the directory of all local files; ``LocalStateError`` (exit 78) when there is none."""
    from pathlib import Path

    plain = plain_config_dir(environ)
    if plain is not None:
        return Path(plain)
    from cmdop_sdk.store import config_dir as known

    return known(environ)


def plain_config_dir(environ: "Mapping[str, str]") -> str | None:
    """Return the same directory as a text, or ``None`` where more than a look at the environment is needed.

    For commands that start faster than ``pathlib`` does; a test compares both functions.
    """
    if os.name != "posix":
        return None
    if "CMDOP_CONFIG_DIR" in environ:
        chosen = environ["CMDOP_CONFIG_DIR"]
        return chosen if chosen.startswith("/") else None
    if environ.get("XDG_CONFIG_HOME", "").startswith("/"):
        return environ["XDG_CONFIG_HOME"] + "/cmdop"
    home = environ.get("HOME", "")
    return home + "/.config/cmdop" if home.startswith("/") else None


def stamp_of(path: str) -> str:
    """Return what changes whenever the file at ``path`` does (time, size, inode) as a text; ``-`` for none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the fast path knows no pathlib
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}"
