"""The client's address, decided once: forwarded headers count only from configured proxies."""

import ipaddress
from collections.abc import Callable, Iterable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from cmdop_server.values import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REAL_IP",
)


def parse(text: str) -> Address | None:
    """Return the address that ``text`` spells, IPv4-mapped ones as IPv4, or ``None``."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether one of ``networks`` holds the address."""
    return any(address.version == network.version and address in network for network in networks)


def resolve(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Return who is behind ``peer``: the right-most hop of ``X-Forwarded-For`` that is no trusted proxy.

    Each proxy appends the address it saw, so only the part written by trusted ones is believed; a hop that is
    no address ends the walk.
    """
    found = parse(peer)
    if found is None:
        return peer
    for hop in reversed(forwarded_for.split(",") if forwarded_for else []):
        if not is_within(found, proxies):
            break
        further = parse(hop)
        if further is None:
            break
        found = further
    return str(found)


def client_address(request: HttpRequest) -> str:
    """Return the address of who asks, for throttles, audit and logs; ``""`` when the transport has none."""
    resolved = getattr(request, "client_address", None)
    if isinstance(resolved, str):
        return resolved
    peer = request.META.get("REMOTE_ADDR") or ""
    return resolve(peer, request.META.get("HTTP_X_FORWARDED_FOR", ""), settings.CMDOP_TRUSTED_PROXIES)


class ForwardedMiddleware:
    """Fix the client's address and drop what an untrusted peer forwards, before anything else looks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        peer = parse(request.META.get("REMOTE_ADDR") or "")
        request.client_address = client_address(request)  # type: ignore[attr-defined]
        if peer is None or not is_within(peer, settings.CMDOP_TRUSTED_PROXIES):
            for name in FORWARDED:
                request.META.pop(name, None)
        return self.get_response(request)
