"""An answer that is not known when its view returns: the bridge waits for it, and no thread does."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from django.http import HttpResponse

from cmdop_server.access.errors import Refused
from cmdop_server.orders import Left, Order

T = TypeVar("T")
Fulfil = Callable[[Order], Coroutine[Any, Any, Left]]  # raises ``Refused``


class Later(HttpResponse):
    """What a view returns for an ``order``; ``answered`` makes the real answer of what came of it.

    Everything that looks at answers on their way out sees this one, with its headers; ``settle`` fills it in.
    """

    def __init__(self, order: Order, answered: Callable[[Left | Refused], HttpResponse]) -> None:
        super().__init__()
        self.order = order
        self.when_settled: Callable[[int], None] = lambda _status: None  # for the log's line
        self._answered = answered

    def settle(self, outcome: Left | Refused) -> None:
        """Become the answer that ``outcome`` means."""
        made = self._answered(outcome)
        self.status_code, self.content = made.status_code, made.content
        for name, value in made.items():
            self[name] = value
        self["Content-Length"] = str(len(self.content))  # Django has noted that there was nothing
        self.when_settled(self.status_code)


async def unless(gone: Awaitable[object], work: Coroutine[Any, Any, T]) -> T | None:
    """Return what ``work`` does; when ``gone`` comes first nobody wants it any more: it is cancelled, and ``None``."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for each in (working, leaving):
            each.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
