"""What a remote process sees of this machine: its environment by allow-list, its shell, its words (D-27)."""

import os
import pwd
from collections.abc import Mapping

from cmdop_agent.session import Opening

ALLOWED = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"})
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def child_environment(term: str | None, source: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a child: the allow-list and ``LC_*``, nothing of the agent's, no loader's.

    ``term`` names the terminal type of a session; a command has none.
    """
    given = os.environ if source is None else source
    kept = {name: value for name, value in given.items() if name in ALLOWED or name.startswith("LC_")}
    me = pwd.getpwuid(os.getuid())
    kept.setdefault("HOME", me.pw_dir)
    kept.setdefault("USER", me.pw_name)
    kept.setdefault("LOGNAME", me.pw_name)
    kept.setdefault("SHELL", me.pw_shell or "/bin/sh")
    kept.setdefault("PATH", DEFAULT_PATH)
    if term is not None:
        kept["TERM"] = term if term.isprintable() and len(term) < 64 else "xterm-256color"
    return kept


def login_shell() -> list[str]:
    """Return the words that start this user's shell as a login shell would be started."""
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    return [shell, "-l"]


def words_of(opening: Opening) -> list[str]:
    """Return the argv of a command; with ``shell`` its one text goes to ``/bin/sh -c``."""
    if opening.shell:
        return ["/bin/sh", "-c", " ".join(opening.argv)]
    return opening.argv
