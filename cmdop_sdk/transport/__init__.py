"""The one place that speaks HTTP: a client bound to one origin, with time-outs and retries.

What a request means is in ``resources``. Redirects are never followed, netrc and cookies never used. In here:
``bounds`` (what leaves and comes in), ``flows`` (how a credential travels), ``answers`` (the translation).
"""

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from cmdop_sdk.auth import KeyCredential, Refresh, TokenSource, not_ours
from cmdop_sdk.errors import AuthenticationError, CMDOPError, InvalidRequest, LocalCode, Unreachable
from cmdop_sdk.network import wait_before_another
from cmdop_sdk.origin import origin_of
from cmdop_sdk.transport.answers import Reply, decoded, refused, translated
from cmdop_sdk.transport.bounds import PATIENCE, BoundTransport, network
from cmdop_sdk.transport.flows import KeyAuth, PairAuth, RefreshFailed
from cmdop_sdk.transport.lean import httpx

API_BASE = "/api/v1"
CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 30.0  # seconds between two pieces of an answer; a whole exchange has twice that
RETRIES = 4  # after the first try
BACKOFF_BASE = 0.5  # seconds; full jitter: uniform between 0 and min(cap, base · 2^n)
BACKOFF_CAP = 20.0  # seconds
LONGEST_TIMEOUT = 3600  # seconds
MOST_RETRIES = 20
ANSWER_LIMIT = 8 << 20  # bytes
REPEATED_STATUSES = frozenset({429, 500, 502, 503, 504})

T = TypeVar("T")
Query = Mapping[str, str | int | bool | list[str] | None]


class Transport:
    """One HTTP client bound to one origin; every credential that it sends belongs there (D-23)."""

    def __init__(
        self,
        server: str,
        *,
        ca_file: Path | None = None,
        ca_pin: str | None = None,
        timeout: float = READ_TIMEOUT,
        retries: int = RETRIES,
        backoff: float = BACKOFF_BASE,
        answer_limit: int = ANSWER_LIMIT,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not (0 < timeout <= LONGEST_TIMEOUT and 0 <= retries <= MOST_RETRIES):
            raise InvalidRequest(
                f"a time-out is up to {LONGEST_TIMEOUT} seconds and a call is repeated up to {MOST_RETRIES} times",
                hint="unset CMDOP_TIMEOUT CMDOP_RETRIES",
            )
        self.origin = origin_of(server)
        self._timeout = timeout
        self._retries = retries
        self._backoff = backoff
        self._auth: httpx.Auth | None = None
        connect = min(CONNECT_TIMEOUT, timeout)
        self._http = httpx.AsyncClient(
            base_url=self.origin,
            transport=BoundTransport(
                inner or network(self.origin, ca_file=ca_file, ca_pin=ca_pin),
                origin=self.origin,
                limit=answer_limit,
                whole=connect + 2 * timeout,
            ),
            timeout=httpx.Timeout(timeout, connect=connect),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # Without compression the size cap is exact and no small answer unfolds into a large one.
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "cmdop-sdk"},
        )

    def __repr__(self) -> str:
        return f"Transport({self.origin})"

    def use_key(self, key: KeyCredential) -> None:
        """Send ``key`` with every request that is not public."""
        if key.origin != self.origin:
            raise not_ours("this key", key.origin, self.origin)
        self._auth = KeyAuth(key.key)

    def use_source(self, source: TokenSource, refresh: Refresh, *, mode: str, workspace: str | None) -> None:
        """Send the source's access token with every request that is not public, refreshing it when needed.

        A pair of another origin, mode or ``workspace`` (id or slug) is refused whenever the source gives one.
        """
        self._auth = PairAuth(source, refresh, origin=self.origin, mode=mode, workspace=workspace)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        is_public: bool = False,
        is_repeatable: bool = False,
        patience: float = 0.0,
    ) -> Reply[T]:
        """Return the answer to one request, decoded as ``answer`` (``NoneType`` for 204), or raise ``CMDOPError``.

        Reads, writes with an idempotency key and what the caller declares ``is_repeatable`` are tried again after a
        transient failure; nothing else is. Public requests carry no credential. ``patience`` is how many seconds more
        than usual the answer may take, because it is about something that takes so long.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        request = self._http.build_request(
            method,
            path,
            params={name: _spelled(value) for name, value in (query or {}).items() if value is not None},
            content=None if body is None else msgspec.json.encode(body),
            headers=headers if body is None else {**headers, "Content-Type": "application/json"},
            timeout=httpx.Timeout(self._timeout + patience, connect=min(CONNECT_TIMEOUT, self._timeout)),
            extensions={PATIENCE: patience},
        )
        auth = None if is_public else self._auth
        if not is_public and auth is None:
            raise AuthenticationError(
                f"there is no credential for {self.origin}", code=LocalCode.NO_CREDENTIAL, hint="cmdop login"
            )
        tries = 1 + (self._retries if method == "GET" or idempotency_key or is_repeatable else 0)
        for number in range(tries):
            try:
                return decoded(await self._answer(request, auth), answer)
            except RefreshFailed as stopped:
                raise stopped.failure from stopped.failure.__cause__
            except CMDOPError as failure:
                wait = self._wait(failure, number)
                if number + 1 == tries or wait is None:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("at least one try was made")

    async def _answer(self, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
        try:
            response = await self._http.send(request, auth=auth)
        except httpx.HTTPError as failure:
            raise translated(failure, self.origin) from failure
        if response.is_success:
            return response
        raise refused(response)

    def _wait(self, failure: CMDOPError, number: int) -> float | None:
        """Return how long to wait before the next try, or ``None`` when there is to be none."""
        if (
            not (isinstance(failure, Unreachable) and failure.transient)
            and failure.http_status not in REPEATED_STATUSES
        ):
            return None
        return wait_before_another(failure, min(BACKOFF_CAP, self._backoff * 2**number))


def segment(text: str) -> str:
    """Return ``text`` as one segment of a path; what would change the path itself is refused."""
    if text in ("", ".", ".."):
        raise InvalidRequest(f"{text!r} is no id and no name", details={"value": text})
    return quote(text, safe="")


def _spelled(value: str | int | bool | list[str] | None) -> str | list[str]:
    if isinstance(value, list):
        return value  # the same name several times
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
