"""Waiting for descriptors that other programs share with us, without changing them.

uvloop makes whatever it watches non-blocking, and that is a property of the terminal or the pipe itself: the program
that comes after us in a script would fail in it. So the loop watches a selector of ours, which watches the descriptor.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Iterator

READING, WRITING = selectors.EVENT_READ, selectors.EVENT_WRITE


@contextlib.contextmanager
def noticed(descriptor: int, what: int, take: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call ``take`` in the event loop as long as ``descriptor`` is ready for ``what``; yield what stops that early.

    ``PermissionError`` when there is nothing to wait for: plain files and ``/dev/null`` are always ready.
    """
    loop = asyncio.get_running_loop()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, what)
        watched = getattr(selector, "fileno", lambda: descriptor)()  # poll(2) is none that can be watched

        def stop() -> None:
            loop.remove_reader(watched)

        loop.add_reader(watched, take)
        try:
            yield stop
        finally:
            stop()


async def ready(descriptor: int, what: int) -> None:
    """Wait until ``descriptor`` is ready for ``what``; not at all when it always is."""
    event = asyncio.Event()
    try:
        with noticed(descriptor, what, event.set):
            await event.wait()
    except PermissionError:
        return
