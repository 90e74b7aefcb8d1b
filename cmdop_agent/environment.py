"""What a remote process is on this machine: whose rights it has, its environment by allow-list, its shell (D-27)."""

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass

ALLOWED = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ"})
_LOCALE = re.compile(r"LC_[A-Z]+")
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,62}")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERM = "xterm-256color"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose rights remote work has, where they are not the agent's own (``connect service install --run-as``)."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


def account_called(name: str) -> Account:
    """Return the account of this system called ``name``; ``LookupError`` when there is none."""
    found = pwd.getpwnam(name)
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    return Account(found.pw_name, found.pw_uid, found.pw_gid, groups, found.pw_dir, found.pw_shell or "/bin/sh")


def child_environment(
    term: str | None = None, account: Account | None = None, source: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a child: the allow-list and ``LC_*``, nothing of the agent's, no loader's.

    ``term`` names the terminal type of a session; a command has none. PATH keeps absolute folders only: where a
    command runs must not decide which program is meant.
    """
    given = os.environ if source is None else source
    kept = {name: value for name, value in given.items() if name in ALLOWED or _LOCALE.fullmatch(name)}
    if account is not None:
        kept |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
    else:
        me = pwd.getpwuid(os.getuid())
        kept.setdefault("HOME", me.pw_dir)
        kept.setdefault("USER", me.pw_name)
        kept.setdefault("LOGNAME", me.pw_name)
        kept.setdefault("SHELL", me.pw_shell or "/bin/sh")
    folders = [folder for folder in kept.get("PATH", "").split(":") if folder.startswith("/")]
    kept["PATH"] = ":".join(folders) or DEFAULT_PATH
    if term is not None:
        kept["TERM"] = term if _TERM.fullmatch(term) else DEFAULT_TERM
    return kept


def login_shell(account: Account | None = None) -> list[str]:
    """Return the words that start this user's shell as a login shell would be started."""
    shell = pwd.getpwuid(os.getuid()).pw_shell if account is None else account.shell
    return [shell or "/bin/sh", "-l"]
