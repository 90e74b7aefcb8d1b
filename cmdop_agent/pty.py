"""A process on a pseudo-terminal of its own: what a session runs."""

import os
import sys
import termios
from collections.abc import Callable, Mapping, Sequence

from cmdop_agent.children import spawn
from cmdop_agent.environment import Account
from cmdop_agent.processes import Inlet, Outlet, Process, set_size

_IUTF8 = 0o40000  # Linux: erasing takes a whole character; termios has no name for it before Python 3.13


def spawn_on_terminal(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    cols: int,
    rows: int,
    room: Callable[[], int],
    deliver: Callable[[bytes], None],
    taken: Callable[[int], None],
    account: Account | None = None,
) -> Process:
    """Run ``argv`` as the leader of a new session on a new pseudo-terminal; ``OSError`` when it cannot start."""
    master, slave = os.openpty()
    inlet = -1
    try:
        set_size(master, cols, rows)
        _expect_utf8(slave)
        if account is not None:
            os.fchown(slave, account.uid, -1)
        inlet = os.dup(master)
        child = spawn(
            argv, environment, cwd=cwd, stdio=(slave, slave, slave), account=account, takes_terminal=True
        )  # fmt: skip
    except BaseException:
        os.close(master)
        if inlet >= 0:
            os.close(inlet)
        raise
    finally:
        os.close(slave)
    process = Process(child, terminal=master)
    process.outlets = [Outlet(master, room, deliver)]
    process.inlet = Inlet(inlet, taken, is_terminal=True)
    process.descriptors = [master]
    return process


def _expect_utf8(slave: int) -> None:
    if sys.platform == "linux":
        modes = termios.tcgetattr(slave)
        modes[0] |= _IUTF8
        termios.tcsetattr(slave, termios.TCSANOW, modes)
