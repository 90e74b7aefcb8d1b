"""Getting a websocket to the relay: where it is, who is believed there, what is shown, what a refusal means.

No HTTP client is loaded here, so that one command on one machine costs one connection. What travels on the websocket
is ``stream``'s.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from cmdop_sdk import websocket
from cmdop_sdk.auth import Secret
from cmdop_sdk.bearers import Bearer, Shown
from cmdop_sdk.connection import Connection, Dial, OnLost, OnMessage
from cmdop_sdk.errors import (
    AuthenticationError,
    CMDOPError,
    InvalidRequest,
    LocalCode,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
    WrongOrigin,
)
from cmdop_sdk.network import proxy_for, retry_after, unreachable, wait_before_another
from cmdop_sdk.origin import origin_of
from cmdop_sdk.trust import ssl_context
from cmdop_wire.frames import CLIENT_PATH, LIMITS, PROTOCOL

ELSEWHERE = 421  # RFC 9110 §15.5.20, misdirected: the relay has another address
RETRIES = 4  # after the first try, of a connection over which nothing was asked for yet
BACKOFF_BASE, BACKOFF_CAP = 0.25, 4.0  # seconds; full jitter over a doubling bound
CLOSING = 2.0  # seconds that a peer has to answer a close

# The library's debug log would show the header with the credential.
_QUIET = logging.Logger("cmdop_sdk.websocket", logging.CRITICAL + 1)


class Purpose(NamedTuple):
    """What a stream is opened for: ``right`` (such as ``session.operate``) on a machine, by any of its names."""

    machine: str
    right: str


class Ticketed(NamedTuple):
    """A ticket, and where it is taken."""

    secret: Secret
    url: str


Tickets = Callable[[Purpose], Awaitable[Ticketed]]
"""Asks the server, over HTTP, for a ticket that opens one stream."""


class Target(NamedTuple):
    """Where streams are opened: the origin that the credential belongs to (D-23), and whom to believe there."""

    origin: str
    ca_file: Path | None = None
    ca_pin: str | None = None

    @property
    def url(self) -> str:
        """Return the websocket's address."""
        return "ws" + self.origin.removeprefix("http") + CLIENT_PATH

    def tls(self) -> ssl.SSLContext | None:
        """Return whom to believe, ``None`` for plain http, which ``origin_of`` lets through on loopback only."""
        return ssl_context(ca_file=self.ca_file, ca_pin=self.ca_pin) if self.origin.startswith("https:") else None


class _Elsewhere(Exception):
    """The relay has another address than the server."""


class Dialer:
    """Makes websockets to one relay as one caller; share it among streams, so that trust is read only once.

    A server of several workers has its relay at another port. No key or token goes there (D-23): ``tickets`` gets
    what does, and without it such a server is ``UnexpectedAnswer``.
    """

    def __init__(
        self, target: Target, bearer: Bearer, *, tickets: Tickets | None = None, retries: int = RETRIES
    ) -> None:
        if origin_of(target.origin) != target.origin:
            raise InvalidRequest(f"{target.origin!r} is no origin")
        self.target = target
        self._bearer = bearer
        self._tickets = tickets
        self._is_elsewhere = False
        self._retries = retries
        self._tls: ssl.SSLContext | None = None

    async def credential(self, purpose: Purpose) -> Shown:
        """Return what to show to the relay now, on a stream that is open."""
        return (await self._ticket(purpose))[0] if self._is_elsewhere else await self._bearer.show()

    async def dial(
        self,
        purpose: Purpose,
        first: Callable[[], bytes],
        on_message: OnMessage,
        on_lost: OnLost,
        *,
        retries: int | None = None,
    ) -> tuple[Connection, Shown]:
        """Return a websocket over which the frame ``first`` was sent, and the credential that was shown for it.

        Tried again while nothing was sent: when nobody answers, or the relay says that it cannot now. What a refusal
        means is in the exception: ``AuthenticationError``, ``PermissionDenied``, ``RateLimited``,
        ``ServiceUnavailable``, ``Unreachable``, ``UnexpectedAnswer``.
        """
        left = self._retries if retries is None else retries
        for number in range(left + 1):
            try:
                connection, shown = await self._accepted(purpose, on_message, on_lost)
            except CMDOPError as failure:
                wait = wait_before_another(failure, min(BACKOFF_CAP, BACKOFF_BASE * 2**number))
                if number == left or not failure.transient or wait is None:
                    raise
                await asyncio.sleep(wait)
            else:
                break
        try:
            with contextlib.suppress(websocket.ConnectionClosed):  # whoever keeps the connection sees why
                await connection.send(first())
        except BaseException:
            connection.abort()
            raise
        return connection, shown

    async def _accepted(self, purpose: Purpose, on_message: OnMessage, on_lost: OnLost) -> tuple[Connection, Shown]:
        if not self._is_elsewhere:
            try:
                return await self._at_home(on_message, on_lost)
            except _Elsewhere:
                self._is_elsewhere = True
        shown, url = await self._ticket(purpose)
        try:
            return await self._upgraded(url, shown.secret, on_message, on_lost), shown
        except _Elsewhere:
            raise UnexpectedAnswer(f"{self.target.origin} does not know where its relay is") from None

    async def _at_home(self, on_message: OnMessage, on_lost: OnLost) -> tuple[Connection, Shown]:
        shown = await self._bearer.show()
        try:
            return await self._upgraded(self.target.url, shown.secret, on_message, on_lost), shown
        except AuthenticationError:
            other = await self._bearer.show(rejected=shown.secret)
            if other.secret == shown.secret:
                raise
        return await self._upgraded(self.target.url, other.secret, on_message, on_lost), other

    async def _ticket(self, purpose: Purpose) -> tuple[Shown, str]:
        """Return a ticket as what is shown, with the end of the credential behind it, and where it is taken."""
        if self._tickets is None:
            raise UnexpectedAnswer(f"the relay of {self.target.origin} has another address, which takes tickets only")
        ticket = await self._tickets(purpose)
        there, here = urlsplit(ticket.url), urlsplit(self.target.url)
        if (there.scheme, there.hostname, there.path) != (here.scheme, here.hostname, CLIENT_PATH) or there.query:
            raise WrongOrigin(f"{self.target.origin} names a relay elsewhere: {ticket.url[:300]!r}")
        return Shown(ticket.secret, (await self._bearer.show()).expires_at), ticket.url

    async def _upgraded(self, url: str, secret: Secret, on_message: OnMessage, on_lost: OnLost) -> Connection:
        origin = self.target.origin
        if self._tls is None:
            self._tls = self.target.tls()

        def made(*arguments: Any, **options: Any) -> Connection:
            return Connection(on_message, on_lost, *arguments, **options)

        try:
            connection = await Dial(
                url,
                additional_headers={"Authorization": f"Bearer {secret.reveal()}"},
                subprotocols=[websocket.Subprotocol(PROTOCOL)],
                compression=None,
                max_size=LIMITS.frame,
                open_timeout=LIMITS.hello,
                ping_interval=LIMITS.ping,
                ping_timeout=LIMITS.dead - LIMITS.ping,
                close_timeout=CLOSING,
                write_limit=LIMITS.input_window,
                ssl=self._tls,
                proxy=proxy_for(origin),
                user_agent_header="cmdop-sdk",
                create_connection=made,  # type: ignore[arg-type] # a factory is what it is documented to be
                logger=_QUIET,
            )
        except websocket.InvalidStatus as refused:
            if refused.response.status_code == ELSEWHERE:
                raise _Elsewhere from None
            raise _refused(refused, origin) from None  # the request in it bears the credential
        except TimeoutError as late:
            raise TimedOut(f"could not connect to {origin} in time", hint=f"curl -sS {origin}/health/live") from late
        except websocket.InvalidProxy as wrong:
            raise InvalidRequest("the proxy in the environment is not an http or socks address") from wrong
        except websocket.ProxyError as problem:
            raise Unreachable(
                f"the proxy in the environment does not lead to {origin}", hint="env | grep -i _proxy"
            ) from problem
        except (websocket.InvalidHandshake, websocket.InvalidURI) as wrong:
            if isinstance(wrong.__cause__, EOFError | OSError):
                raise unreachable(wrong, origin) from wrong
            raise UnexpectedAnswer(
                f"{origin} does not answer as a cmdop relay does", hint=f"curl -sS {origin}/.well-known/cmdop"
            ) from wrong
        except (OSError, ssl.SSLError, EOFError, websocket.WebSocketException) as problem:
            raise unreachable(problem, origin) from problem
        if connection.subprotocol != PROTOCOL:
            connection.transport.abort()
            raise UnexpectedAnswer(f"{origin} does not speak {PROTOCOL}", hint="pip install -U cmdop-cli")
        assert isinstance(connection, Connection), "we made it"
        connection.take_over()
        return connection


def _refused(refused: websocket.InvalidStatus, origin: str) -> CMDOPError:
    status = refused.response.status_code
    said = (refused.response.body or b"")[:200].decode(errors="replace").strip()
    reason = said if said.isprintable() and "<" not in said else ""
    if status == 401:
        return AuthenticationError(
            reason or "the server does not accept this credential", http_status=status, hint="cmdop login"
        )
    if status == 403:
        return PermissionDenied(reason or "the server does not let this stream be opened", http_status=status)
    if status == 429 or status >= 500:
        family = RateLimited if status == 429 else ServiceUnavailable
        wait = retry_after(refused.response.headers.get("Retry-After"))
        return family(
            reason or f"the relay at {origin} answered {status}",
            http_status=status,
            details={} if wait is None else {"retry_after": wait},
        )
    if 300 <= status < 400:
        there = urljoin(origin, refused.response.headers.get("Location", ""))
        return UnexpectedAnswer(
            f"{origin} redirects to {there[:300]!r}, which is never followed: a credential stays with its server",
            code=LocalCode.REDIRECTED,
            http_status=status,
        )
    return UnexpectedAnswer(
        f"{origin} has no relay ({status})", hint=f"curl -sS {origin}/.well-known/cmdop", http_status=status
    )
