"""Where a server is: scheme, host and port, and nothing else. A credential belongs to exactly one origin (D-23)."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from cmdop_sdk.errors import InvalidRequest, LocalCode, WrongOrigin

DEFAULT_SERVER = "http://127.0.0.1:8787"  # where `cmdop server start` listens
DEFAULT_PORTS = {"http": 80, "https": 443}
# A host of which we know that a scheme was left out: with dots, with a port, or this machine.
BARE = re.compile(r"(localhost|[a-z0-9_-]+(?:\.[a-z0-9_-]+)+|[a-z0-9_-]+(?=:))(?::[0-9]{1,5})?")
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


def origin_of(url: str) -> str:
    """Return the canonical origin of ``url``, such as ``https://cmdop.example:8443``; default ports are left out.

    ``InvalidRequest`` when it is no plain server address (another scheme, a path, a user name, a query);
    ``WrongOrigin`` when it is http to anything but this machine, before a byte is sent (D-23).
    """
    text = url.strip()
    if not text.isascii() or any(character.isspace() or not character.isprintable() for character in text):
        raise _not_a_server(url)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _not_a_server(url) from None
    if parts.scheme not in DEFAULT_PORTS or not host or not is_host(host) or "@" in parts.netloc or "\\" in text:
        raise _not_a_server(url)
    if ("[" in parts.netloc) != (":" in host):  # brackets around anything but an IPv6 address
        raise _not_a_server(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _not_a_server(url)
    if parts.scheme == "http" and not is_loopback(host):
        raise WrongOrigin(
            f"refusing plain http to {host}: the credential would travel in clear",
            code=LocalCode.INSECURE_SERVER,
            hint=f"use https://{host}",
        )
    shown = f"[{host}]" if ":" in host else host.removesuffix(".")
    return f"{parts.scheme}://{shown}" + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")


def is_host(text: str) -> bool:
    """Tell whether ``text`` is a name or an address as a URL may have it, without brackets; no zone ids."""
    if ":" not in text:
        return HOST.fullmatch(text) is not None
    try:
        return ip_address(text).version == 6 and "%" not in text
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine by its very spelling: ``localhost``, 127.0.0.0/8 or ``::1``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(origin: str) -> str:
    """Return the host of a canonical origin, without brackets and port."""
    return urlsplit(origin).hostname or ""


def _not_a_server(url: str) -> InvalidRequest:
    # A user name or a query may hold a password, so the text is not repeated once it has either.
    shown = "this" if "@" in url or "?" in url else repr(url[:200])
    host = BARE.fullmatch(url.strip())
    scheme = "http" if host and is_loopback(host[1]) else "https"
    return InvalidRequest(
        f"{shown} is not a server address: scheme, host and port are expected, such as https://cmdop.example:8443",
        hint=f"use {scheme}://{host[0]}" if host else "",
    )
