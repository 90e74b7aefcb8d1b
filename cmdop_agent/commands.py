"""A process on three pipes: what a one-shot command runs. No shell, no terminal (D-27)."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence

from cmdop_agent.processes import Inlet, Outlet, Process

PIPE_SIZE = 1024 * 1024  # the kernel's default of 64 KiB would cut every frame in two


async def spawn_on_pipes(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str,
    rooms: tuple[Callable[[], int], Callable[[], int]],
    deliver: tuple[Callable[[bytes], None], Callable[[bytes], None]],
    taken: Callable[[int], None],
) -> Process:
    """Run ``argv`` in a new process group with three pipes: input, output, errors (in pairs: output first)."""
    input_read, input_write = os.pipe()
    output_read, output_write = os.pipe()
    error_read, error_write = os.pipe()
    for descriptor in (output_read, error_read):
        with contextlib.suppress(OSError, AttributeError):  # Linux only, and only up to the user's limit
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(environment),
            cwd=cwd,
            stdin=input_read,
            stdout=output_write,
            stderr=error_write,
            start_new_session=True,
        )
    except BaseException:
        for descriptor in (input_write, output_read, error_read):
            os.close(descriptor)
        raise
    finally:
        for descriptor in (input_read, output_write, error_write):
            os.close(descriptor)
    process = Process(child)
    process.outlets = [Outlet(output_read, rooms[0], deliver[0]), Outlet(error_read, rooms[1], deliver[1])]
    process.inlet = Inlet(input_write, taken)
    process.descriptors = [output_read, error_read]
    return process
