"""A process on a pseudo-terminal of its own: what a session runs."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence

from cmdop_agent.processes import Inlet, Outlet, Process


async def spawn_on_terminal(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    cols: int,
    rows: int,
    room: Callable[[], int],
    deliver: Callable[[bytes], None],
    taken: Callable[[int], None],
) -> Process:
    """Run ``argv`` as the leader of a new session on a new pseudo-terminal; ``OSError`` when it cannot start."""
    master, slave = os.openpty()
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(environment),
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: os.login_tty(slave),  # new session, controlling terminal
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    process = Process(child, terminal=master)
    process.resize(cols, rows)
    process.outlets = [Outlet(master, room, deliver)]
    process.inlet = Inlet(os.dup(master), taken)
    process.descriptors = [master]
    return process
