"""A process on three pipes: what a one-shot command runs. No shell, no terminal (D-27)."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence

from cmdop_agent.children import spawn
from cmdop_agent.environment import Account
from cmdop_agent.processes import Inlet, Outlet, Process

PIPE_SIZE = 256 * 1024  # the default of 64 KiB would cut every frame in two; a user has 64 MiB for all pipes


def spawn_on_pipes(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    rooms: tuple[Callable[[], int], Callable[[], int]],
    deliver: tuple[Callable[[bytes], None], Callable[[bytes], None]],
    taken: Callable[[int], None],
    account: Account | None = None,
) -> Process:
    """Run ``argv`` in a session of its own with three pipes: input, output, errors (in pairs: output first)."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for is_input in (True, False, False):
            reading, writing = os.pipe()
            ours.append(writing if is_input else reading)
            theirs.append(reading if is_input else writing)
        for descriptor in ours[1:]:
            with contextlib.suppress(OSError, AttributeError):  # Linux only, and only up to the user's limit
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        child = spawn(argv, environment, cwd=cwd, stdio=(theirs[0], theirs[1], theirs[2]), account=account)
    except BaseException:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    process = Process(child)
    process.outlets = [Outlet(ours[1], rooms[0], deliver[0]), Outlet(ours[2], rooms[1], deliver[1])]
    process.inlet = Inlet(ours[0], taken)
    process.descriptors = ours[1:]
    return process
