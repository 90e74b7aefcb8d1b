"""How a credential travels: httpx auth flows, generators without a socket of their own."""

from collections.abc import AsyncGenerator

from cmdop_sdk.auth import Refresh, Secret, TokenPair, TokenSource
from cmdop_sdk.errors import CMDOPError
from cmdop_sdk.transport.lean import httpx


class RefreshFailed(Exception):
    """A refresh failed after its own tries; ``failure`` says why, and the request is not tried again for it."""

    def __init__(self, failure: CMDOPError) -> None:
        super().__init__(str(failure))
        self.failure = failure


class KeyAuth(httpx.Auth):
    """Sends a key; there is nothing to refresh."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send the request once, with the key."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


class PairAuth(httpx.Auth):
    """Sends the access token of a source; asks it for a fresh pair when the token ends or was answered with 401."""

    def __init__(self, source: TokenSource, refresh: Refresh, *, origin: str, mode: str, workspace: str | None) -> None:
        self._source = source
        self._refresh = refresh
        self._origin = origin
        self._mode = mode
        self._workspace = workspace

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send the request, and after a 401 once more with a fresh token."""
        pair = self._ours(await self._source.pair())
        if pair.is_stale:
            pair = await self._fresh(pair)
        request.headers["Authorization"] = f"Bearer {pair.access_token.reveal()}"
        response = yield request
        if response.status_code == 401:
            fresh = await self._fresh(pair)
            request.headers["Authorization"] = f"Bearer {fresh.access_token.reveal()}"
            yield request

    async def _fresh(self, stale: TokenPair) -> TokenPair:
        try:
            return self._ours(await self._source.refreshed(stale, self._refresh))
        except CMDOPError as failure:
            raise RefreshFailed(failure) from failure

    def _ours(self, pair: TokenPair) -> TokenPair:
        return pair.checked(origin=self._origin, mode=self._mode, workspace=self._workspace)
