"""The one place where the command line runs the asynchronous SDK: one event loop a call, interruption, progress."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from cmdop_cli import loops
from cmdop_cli.failures import Terminated

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient

T = TypeVar("T")
PATIENCE = 0.6  # seconds before a terminal is told that something is going on
_FRAMES = "|/-\\"


def ask(
    call: "Call",
    client: "AbstractAsyncContextManager[AsyncCMDOPClient]",
    verb: "Callable[[AsyncCMDOPClient], Awaitable[T]]",
) -> T:
    """Open ``client``, return ``await verb(client)``, close it."""

    async def asked() -> T:
        async with client as opened:
            return await verb(opened)

    return run(call, asked())


def run(call: "Call", work: Coroutine[Any, Any, T], *, waiting: str | None = "waiting for the server") -> T:
    """Run ``work`` to its end. SIGINT, SIGTERM and SIGHUP cancel it first, so connections close and locks are freed.

    ``waiting`` is what a terminal is told when it takes a while; ``None`` for streams, which use it themselves.
    """

    async def watched() -> T:
        shows = waiting is not None and call.output.shows_progress
        spinner = asyncio.create_task(_spin(waiting or "")) if shows else None
        try:
            return await work
        finally:
            if spinner is not None:
                spinner.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await spinner

    gc.freeze()  # what was loaded until now stays; see __main__.py
    gc.enable()
    try:
        with asyncio.Runner(loop_factory=loops.fast() if waiting is None else None) as runner, _terminable(runner):
            return runner.run(watched())
    except asyncio.CancelledError:
        raise Terminated from None
    except KeyboardInterrupt:
        call.output.interrupted()
        raise
    finally:
        work.close()  # settings that cannot be read end it before it begins; what never ran must not be warned about


@contextlib.contextmanager
def _terminable(runner: asyncio.Runner) -> Iterator[None]:
    """Let SIGTERM, and a terminal that goes away, cancel everything in the runner's loop, as SIGINT does by itself."""
    loop = runner.get_loop()

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    with contextlib.ExitStack() as before:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            found = None if number is None else signal.getsignal(number)
            if number is None or found is signal.SIG_IGN:  # Windows; or nohup, which wants to see it ignored
                continue
            try:
                loop.add_signal_handler(number, cancel)
            except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
                continue
            before.callback(signal.signal, number, found)
            before.callback(loop.remove_signal_handler, number)
        yield


async def _spin(waiting: str) -> None:
    """Show on stderr that we wait; only after a while, and gone without a trace."""
    await asyncio.sleep(PATIENCE)
    shown = 0
    try:
        while True:
            sys.stderr.write(f"\r{_FRAMES[shown % len(_FRAMES)]} {waiting}")
            sys.stderr.flush()
            shown += 1
            await asyncio.sleep(0.1)
    finally:
        sys.stderr.write(f"\r{' ' * (len(waiting) + 4)}\r")
        sys.stderr.flush()
