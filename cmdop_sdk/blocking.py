"""The SDK from code without an event loop: one helper, no second client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import InvalidRequest

T = TypeVar("T")


def run_blocking(client: AsyncCMDOPClient, call: Callable[[AsyncCMDOPClient], Awaitable[T]]) -> T:
    """Run one call on ``client``, close the client, and return what the call returned::

        keys = run_blocking(AsyncCMDOPClient.from_env(), lambda client: client.keys.list().all())

    Put everything that belongs together into one ``call``: a client is used once. Inside a running event loop this
    is ``InvalidRequest``; ``await`` there.
    """  # fmt: skip

    async def once() -> T:
        async with client:
            return await call(client)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(once())
    raise InvalidRequest("run_blocking() was called inside an event loop; await the call instead")
