"""What HTTP and streams share on the way to a server: the proxy, what a failure is called, how long to wait then."""

import os
import random
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from cmdop_sdk.errors import CMDOPError, Unreachable, UntrustedServer
from cmdop_sdk.origin import host_of, is_loopback

LONGEST_WAIT = 20.0  # seconds that a server or relay may ask to be waited for


def proxy_for(origin: str) -> str | None:
    """Return the address of the proxy that the environment names for ``origin``; never one towards loopback.

    A proxy in capital ``HTTP_PROXY`` is ignored under CGI (httpoxy), as urllib does.
    """
    if is_loopback(host_of(origin)) or not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies: dict[str, str] = getproxies_environment()
    if proxy_bypass(urlsplit(origin).netloc):
        return None
    chosen = proxies.get(urlsplit(origin).scheme) or proxies.get("all")
    return f"http://{chosen}" if chosen and "://" not in chosen else chosen


def unreachable(failure: BaseException, origin: str) -> Unreachable:
    """Return what kept a connection to ``origin`` from being made or broke it; ``failure`` stays the cause."""
    causes = list(_causes(failure))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message if getattr(cause, "verify_message", "") else str(cause.args[-1])
            return UntrustedServer(
                f"the certificate of {origin} is not trusted: {reason}",
                hint="export CMDOP_CA_FILE=/path/to/authority.pem",
            )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return UntrustedServer(f"no secure connection to {origin} could be made", hint=f"curl -vI {origin}")
    said = next((_said(cause) for cause in reversed(causes) if isinstance(cause, OSError) and cause.errno), "")
    return Unreachable(
        f"cannot reach {origin}: {said or 'the connection broke'}", hint=f"curl -sS {origin}/health/live"
    )


def _said(cause: OSError) -> str:
    # asyncio puts the address into ``strerror``; the resolver's numbers mean something to nobody but it.
    is_resolver = isinstance(cause, socket.gaierror)
    return ((cause.strerror or "") if is_resolver else os.strerror(cause.errno or 0)).lower()


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, in either of its forms (RFC 9110 §10.2.3)."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def wait_before_another(failure: CMDOPError, bound: float) -> float | None:
    """Return the seconds to wait after a refusal: up to ``bound`` at random, besides what it asks for.

    ``None`` when it asks for more than anybody waits.
    """
    asked = failure.details.get("retry_after")  # a server's word, so it may be anything
    if not isinstance(asked, int | float):
        asked = 0.0
    return None if asked > LONGEST_WAIT else asked + random.uniform(0, bound)  # noqa: S311 - spreads load
