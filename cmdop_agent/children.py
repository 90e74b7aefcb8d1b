"""Child processes: starting one in a session of its own, knowing when it ends, letting it go.

An ended child stays a zombie until it is released, so that its number, and that of its process group, can mean nobody
else while signals may still be sent to it.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmdop_agent.environment import Account

_OWN: set[int] = set()  # children that were not released yet
_PR_SET_CHILD_SUBREAPER, _PR_SET_DUMPABLE = 36, 4
IS_LINUX: bool = sys.platform == "linux"  # other systems have another way for each of the uses below


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: an exit status, or the name of the signal that ended it, without SIG."""

    status: int | None
    signal: str | None


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    stdio: tuple[int, int, int],
    account: "Account | None" = None,
    takes_terminal: bool = False,
) -> "Child":
    """Start ``argv`` as the leader of a new session; ``OSError`` or ``ValueError`` when it cannot be.

    With ``takes_terminal`` its standard input becomes its controlling terminal. ``account`` is whose rights it has,
    by default the agent's own.
    """
    switched: dict[str, Any] = {}
    if account is not None:
        switched = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
    process = subprocess.Popen(  # noqa: S603 - running what it is told to is what an agent is for; the gate said yes
        list(argv),
        env=dict(environment),
        cwd=cwd,
        stdin=stdio[0],
        stdout=stdio[1],
        stderr=stdio[2],
        start_new_session=True,
        preexec_fn=_take_terminal if takes_terminal else None,
        **switched,
    )
    return Child(process)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Child:
    """A child of the agent. ``ended`` is set when it has ended; ``release`` must follow."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        self.end: Ended | None = None
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._watched: int | None = None
        _OWN.add(self.pid)
        try:
            self._watched = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or an old one
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._loop.add_reader(self._watched, self._look)

    def _look(self) -> None:
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            self._unwatch()
            was_killed = found.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
            self._note(-found.si_status if was_killed else found.si_status)

    def _wait(self) -> None:
        code = self._process.wait()  # the number is free from here on
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._note, code)

    def _note(self, code: int) -> None:
        self.end = Ended(code, None) if code >= 0 else Ended(None, _name_of(-code))
        self.ended.set()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None

    def release(self) -> None:
        """Let go of an ended child: from now on its number may be anybody's."""
        self._unwatch()
        if self.pid in _OWN:
            _OWN.discard(self.pid)
            self._process.wait()
            sweep()


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal between the named ones
        return str(number)


def adopt_orphans() -> None:
    """Become the parent of whatever descends from this process and loses its own, instead of init (Linux).

    So a process that was started for somebody far away stays recognisable, however it detaches itself (D-25).
    ``sweep`` must then be called whenever a child ends.
    """
    if IS_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _ADOPTING.set()


def keep_to_ourselves() -> None:
    """Let no process of the same user look into this one: not at its memory, nor the environment it began with (Linux).

    A key that somebody had in the environment of ``cmdop connect`` is nobody's business who runs a command here. Root
    still can, and so can whoever may read the agent's files; docs/security.md tells.
    """
    if IS_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def ignore_for_ourselves_only() -> None:
    """Take over which signals are ignored or held back from who started us, and keep children from inheriting it.

    A handler that does nothing is the same to us, and gone when a child becomes its program. Not for what a terminal
    sends to a background: there a write that is interrupted begins anew for ever.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    ours = {signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)}  # Python's own doing, which it undoes
    for number in signal.valid_signals() - ours - {signal.SIGTTIN, signal.SIGTTOU}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_ADOPTING = threading.Event()


def sweep() -> None:
    """Bury adopted children that have ended; our own wait for their release."""
    if not IS_LINUX or not _ADOPTING.is_set():
        return
    with suppress(ChildProcessError):
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid in _OWN:
                return  # what is behind one of ours gets its turn when that one is released
            os.waitpid(found.si_pid, 0)


@dataclass(frozen=True, slots=True)
class Member:
    """A living process of some session."""

    pid: int
    group: int


def members_of(session: int) -> list[Member] | None:
    """Return the living processes of a session, or ``None`` where the system does not tell."""
    if not IS_LINUX:
        return None
    found = []
    for folder in os.scandir("/proc"):
        with suppress(OSError, ValueError):  # it is no process, or gone meanwhile
            pid = int(folder.name)
            # The one system call tells most apart; reading every process's file would take tens of milliseconds.
            stat = _stat_of(pid) if os.getsid(pid) == session else None
            if stat is not None and stat[0] not in "ZX":
                found.append(Member(pid, stat[2]))
    return found


def _stat_of(pid: int) -> tuple[str, int, int] | None:
    """Return state, parent and group of a process, as proc(5) has them; ``None`` when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, parent, group = text.rpartition(b")")[2].split()[:3]
    return state.decode(), int(parent), int(group)


def parent_of(pid: int) -> int | None:
    """Return the parent of a process, or ``None`` when it cannot be told."""
    if IS_LINUX:
        found = _stat_of(pid)
        return None if found is None else found[1]
    told = subprocess.run(["/bin/ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603
    return int(told.stdout) if told.stdout.strip().isdigit() else None


def is_descendant(pid: int, ancestor: int) -> bool:
    """Tell whether ``pid`` is ``ancestor`` or descends from it; also ``True`` when it cannot be told."""
    seen: set[int] = set()
    at: int | None = pid
    while at and at not in seen:
        if at == ancestor:
            return True
        seen.add(at)
        at = parent_of(at)
    return at is None or pid <= 0
