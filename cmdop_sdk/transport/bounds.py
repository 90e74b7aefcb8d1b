"""What leaves and what comes in: one origin, a bounded time, a bounded size, the right proxy and certificate."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

from cmdop_sdk.auth import not_ours
from cmdop_sdk.errors import InvalidRequest
from cmdop_sdk.network import proxy_for
from cmdop_sdk.origin import origin_of
from cmdop_sdk.transport.answers import redirected
from cmdop_sdk.transport.lean import httpx
from cmdop_sdk.trust import ssl_context

PATIENCE = "cmdop.patience"  # extension of a request: seconds that its answer may take beyond the usual


class BoundTransport(httpx.AsyncBaseTransport):
    """Lets requests out to one origin only, and answers in up to a size and a time."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, origin: str, limit: int, whole: float) -> None:
        self._inner = inner
        self._origin = origin
        self._limit = limit
        self._whole = whole

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; ``WrongOrigin`` before a byte leaves if it is meant for another server."""
        if origin_of(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}") != self._origin:
            raise not_ours("this request", self._origin, str(request.url.host))
        whole = self._whole + float(request.extensions.get(PATIENCE, 0.0))
        deadline = time.monotonic() + whole
        try:
            async with asyncio.timeout(whole):
                response = await self._inner.handle_async_request(request)
        except TimeoutError as late:
            raise httpx.ReadTimeout("the answer took too long", request=request) from late
        if 300 <= response.status_code < 400:
            # Here, before httpx looks at the address: it would raise its own error for some.
            await response.aclose()
            raise redirected(self._origin, response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise httpx.DecodingError("the answer is compressed, which was not asked for", request=request)
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("an asynchronous transport is needed")
        response.stream = BoundStream(stream, self._limit, deadline)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class BoundStream(httpx.AsyncByteStream):
    """A body that ends in an error once it is larger than ``limit`` bytes or later than ``deadline``."""

    def __init__(self, inner: httpx.AsyncByteStream, limit: int, deadline: float) -> None:
        self._inner = inner
        self._limit = limit
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        pieces = aiter(self._inner)
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError as late:
                raise httpx.ReadTimeout("the answer took too long") from late
            received += len(piece)
            if received > self._limit:
                raise httpx.DecodingError(f"the answer is larger than {self._limit} bytes")
            yield piece

    async def aclose(self) -> None:
        """Close the inner stream."""
        await self._inner.aclose()


def network(origin: str, *, ca_file: Path | None, ca_pin: str | None) -> httpx.AsyncBaseTransport:
    """Return what really sends to ``origin``; proxies come from the environment except towards loopback.

    netrc is never read, and a proxy in capital ``HTTP_PROXY`` is ignored under CGI (httpoxy), as urllib does.
    """
    # Reading the authorities costs tens of milliseconds, so not for plain http, where an empty context fails closed.
    is_tls = origin.startswith("https:")
    trusted = ssl_context(ca_file=ca_file, ca_pin=ca_pin) if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    proxy = proxy_for(origin)
    try:
        return httpx.AsyncHTTPTransport(verify=trusted, trust_env=False, proxy=proxy)
    except (ValueError, ImportError, httpx.InvalidURL) as failure:
        raise InvalidRequest("the proxy in the environment is not an http or https address") from failure
