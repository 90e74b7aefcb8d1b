"""Questions about the configuration as a whole, each answered with a note or refused. ``start`` asks them all."""

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from cmdop_server import data_dir
from cmdop_server.config import Config
from cmdop_server.refusal import Refusal


def is_loopback(host: str) -> bool:
    """Tell whether listening on ``host`` is listening to this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise Refusal("CMDOP_HOST", "is no address of this machine", "export CMDOP_HOST=127.0.0.1") from None
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def listening(config: Config) -> str:
    """Refuse to speak plain http to anything but this machine or a proxy (D-23 and its like on the client)."""
    if is_loopback(config.host):
        return f"{config.host} is this machine only"
    if not (config.serves_tls or config.behind_proxy):
        message = f"listening on {config.host} without TLS would show credentials to the network"
        fix = "cmdop server start --tls self-signed, or --tls-cert and --tls-key, or export CMDOP_BEHIND_PROXY=1"
        raise Refusal("CMDOP_HOST", message, fix)
    return f"{config.host} with TLS" if config.serves_tls else f"{config.host} behind a proxy"


def tls(config: Config) -> str:
    """Refuse half a pair, two kinds of TLS at once, and files that are no certificate with its key."""
    if (config.tls_cert is None) != (config.tls_key is None):
        missing = "CMDOP_TLS_KEY" if config.tls_key is None else "CMDOP_TLS_CERT"
        raise Refusal(missing, "is missing: a certificate and its key come together", f"export {missing}=file.pem")
    if config.tls is not None and config.tls_cert is not None:
        raise Refusal("CMDOP_TLS", "is set beside CMDOP_TLS_CERT", "unset CMDOP_TLS")
    if config.tls_cert is not None and config.tls_key is not None:
        from cmdop_server.tls import check_pair  # noqa: PLC0415 - brings cryptography, which plain http can spare

        check_pair(config.tls_cert, config.tls_key)
        return f"certificate {config.tls_cert}"
    return "self-signed" if config.tls is not None else "none"


def public_url(config: Config) -> str:
    """Refuse a public address that contradicts how the server is reached."""
    if config.public_url is None:
        return "where it listens"
    if config.serves_tls and urlsplit(config.public_url).scheme != "https":
        message = "begins with http, but the server speaks TLS"
        raise Refusal("CMDOP_PUBLIC_URL", message, "export CMDOP_PUBLIC_URL=https://cmdop.example.com")
    return config.public_url


def workers(config: Config) -> str:
    """Refuse several processes on the embedded database: one writer at a time is what it is for."""
    if config.workers > 1 and config.database is None:
        fix = "export CMDOP_DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME, or CMDOP_WORKERS=1"
        raise Refusal("CMDOP_WORKERS", "more than one worker needs PostgreSQL", fix)
    return f"{config.workers} × {config.threads} threads"


def directory(config: Config) -> str:
    """Refuse an unsafe data directory; a missing one will be made."""
    if not config.data_dir.exists():
        return f"{config.data_dir} will be made"
    data_dir.check_dir(config.data_dir)
    return str(config.data_dir)


def secrets(config: Config) -> str:
    """Refuse weak, partial, exposed or vanished secrets; missing ones will be made."""
    if config.data_dir.exists():
        data_dir.check_dir(config.data_dir)
    if data_dir.read_secrets(config) is not None:
        return "present"
    data_dir.refuse_vanished(config)
    return "will be made"


CHECKS: tuple[tuple[str, Callable[[Config], str]], ...] = (
    ("listen", listening),
    ("tls", tls),
    ("public-url", public_url),
    ("workers", workers),
    ("data-dir", directory),
    ("secrets", secrets),
)


def refuse_unsafe(config: Config) -> None:
    """Raise the first ``Refusal`` among all checks."""
    for _name, check in CHECKS:
        check(config)
