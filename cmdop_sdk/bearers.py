"""What a stream shows to the relay: a key, or an access token that is refreshed over HTTP only when it must be."""

from typing import TYPE_CHECKING, NamedTuple, Protocol, Unpack

from cmdop_sdk.auth import KeyCredential, Refresh, Secret, TokenPair, TokenSource, not_ours
from cmdop_sdk.errors import AuthenticationError

if TYPE_CHECKING:
    from cmdop_sdk.client import Options


class Shown(NamedTuple):
    """A credential to show now; ``expires_at`` (Unix seconds) is when a fresh one must have been shown, if ever."""

    secret: Secret
    expires_at: float | None = None


class Bearer(Protocol):
    """Gives the credential of one caller for one origin."""

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Return what to show; another than ``rejected``, if there can be another."""


class KeyBearer:
    """Shows a key; there is nothing to refresh."""

    def __init__(self, key: KeyCredential, origin: str) -> None:
        if key.origin != origin:
            raise not_ours("this key", key.origin, origin)
        self._key = key

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Return the key; there is no other when it was ``rejected``."""
        if self._key.key == rejected:
            raise AuthenticationError("the server does not accept this key", hint="cmdop auth list-keys")
        return Shown(self._key.key)


class PairBearer:
    """Shows the access token of a source; a pair of another origin, mode or ``workspace`` is refused (D-23)."""

    def __init__(self, source: TokenSource, refresh: Refresh, *, origin: str, mode: str, workspace: str | None) -> None:
        self._source = source
        self._refresh = refresh
        self._origin = origin
        self._mode = mode
        self._workspace = workspace

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Return the access token, a fresh one when it is about to end or was ``rejected``."""
        pair = self._ours(await self._source.pair())
        if pair.is_stale or pair.access_token == rejected:
            pair = self._ours(await self._source.refreshed(pair, self._refresh))
        return Shown(pair.access_token, pair.expires_at)

    def _ours(self, pair: TokenPair) -> TokenPair:
        return pair.checked(origin=self._origin, mode=self._mode, workspace=self._workspace)


def refresh_over_http(origin: str, mode: str, **options: "Unpack[Options]") -> Refresh:
    """Return what trades a pair's refresh token for the next pair; it loads an HTTP client when it is first called."""

    async def refresh(pair: TokenPair) -> TokenPair:
        from cmdop_sdk.client import AsyncCMDOPClient

        async with AsyncCMDOPClient.anonymous(origin, mode=mode, **options) as client:
            return await client.sign_in.refresh(pair)

    return refresh
