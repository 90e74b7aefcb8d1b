"""Typed configuration, read from ``CMDOP_*`` variables: every setting of the server stands in ``VARIABLES`` once.

Reads and refuses; opens no file and no database. ``settings.py`` is Django's view of the result, the table in
docs/operations.md is compared with ``VARIABLES`` by a test.
"""

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from cmdop_server.refusal import Refusal
from cmdop_server.values import (
    LogFormat,
    Network,
    PostgresUrl,
    Secret,
    Signup,
    SmtpUrl,
    database,
    flag,
    line,
    names,
    networks,
    number,
    one_of,
    path,
    public_url,
    rates,
    secret,
    smtp,
)

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator can set. Fields are explained in ``VARIABLES``."""

    data_dir: Path
    database: PostgresUrl | None
    host: str
    port: int
    public_url: str | None
    relay_port: int
    relay_url: str | None
    allowed_hosts: tuple[str, ...]
    signup: Signup
    tls: str | None
    tls_cert: Path | None
    tls_key: Path | None
    behind_proxy: bool
    trusted_proxies: tuple[Network, ...]
    workers: int
    threads: int
    device_interval: int
    hashing_slots: int
    drain_seconds: int
    rate_limits: Mapping[str, str]
    smtp: SmtpUrl | None
    mail_from: str
    log_level: str
    log_format: LogFormat
    secret_key: Secret | None
    pepper: Secret | None
    audit_key: Secret | None

    @property
    def serves_tls(self) -> bool:
        """Tell whether this process itself speaks TLS."""
        return self.tls is not None or self.tls_cert is not None

    @property
    def is_secure(self) -> bool:
        """Tell whether people reach the server over https, so cookies and HSTS may insist on it."""
        return self.serves_tls or (self.public_url or "").startswith("https://")

    @property
    def proxies(self) -> tuple[Network, ...]:
        """Return whose forwarded headers count: the listed networks; with ``CMDOP_BEHIND_PROXY`` alone, loopback."""
        return self.trusted_proxies or (LOOPBACK if self.behind_proxy else ())


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: its variable, the field of ``Config``, how it is read, its default, and a line for the manual."""

    name: str
    field: str
    parse: Callable[[str, str], Any]
    default: Any
    meaning: str


def default_data_dir() -> Path:
    """Return where an embedded server keeps its state: ``$XDG_DATA_HOME/cmdop/server`` or its like elsewhere."""
    return Path(platformdirs.user_data_dir("cmdop", appauthor=False)) / "server"


VARIABLES: tuple[Variable, ...] = (
    Variable("CMDOP_DATA_DIR", "data_dir", path, None, "state of this server; default the user's data home"),
    Variable("CMDOP_DATABASE_URL", "database", database, None, "`postgresql://…`; default an embedded SQLite"),
    Variable("CMDOP_HOST", "host", line, "127.0.0.1", "address to listen on"),
    Variable("CMDOP_PORT", "port", number(0, 65535, 8787), 8787, "port to listen on; 0 takes a free one"),
    Variable("CMDOP_RELAY_PORT", "relay_port", number(0, 65535, 8788), 0, "port of the relay beside several workers"),
    Variable("CMDOP_RELAY_URL", "relay_url", public_url, None, "address of the relay; default where it listens"),
    Variable("CMDOP_PUBLIC_URL", "public_url", public_url, None, "address people use; default where it listens"),
    Variable("CMDOP_ALLOWED_HOSTS", "allowed_hosts", names, (), "further host names to answer to, with commas"),
    Variable("CMDOP_SIGNUP", "signup", one_of(Signup), Signup.CLOSED, "`closed`, `invite` or `open`"),
    Variable("CMDOP_TLS", "tls", one_of(("self-signed",)), None, "`self-signed` makes a certificate of its own"),
    Variable("CMDOP_TLS_CERT", "tls_cert", path, None, "certificate chain, PEM"),
    Variable("CMDOP_TLS_KEY", "tls_key", path, None, "private key, PEM"),
    Variable("CMDOP_BEHIND_PROXY", "behind_proxy", flag, False, "1: a proxy in front of it speaks TLS"),
    Variable("CMDOP_TRUSTED_PROXIES", "trusted_proxies", networks, (), "networks whose forwarded headers count"),
    Variable("CMDOP_WORKERS", "workers", number(1, 64, 2), 1, "processes; more than one needs PostgreSQL"),
    Variable("CMDOP_DEVICE_INTERVAL", "device_interval", number(0, 60, 5), 5, "seconds between polls of a sign-in"),
    Variable("CMDOP_THREADS", "threads", number(1, 64, 8), 8, "requests that one process works on at a time"),
    Variable("CMDOP_HASHING_SLOTS", "hashing_slots", number(1, 16, 2), 2, "passwords hashed at a time, 64 MiB each"),
    Variable("CMDOP_DRAIN_SECONDS", "drain_seconds", number(0, 600, 20), 20, "how long SIGTERM waits for requests"),
    Variable("CMDOP_RATE_LIMITS", "rate_limits", rates, {}, "`credential=6000/minute,account=…`; per worker"),
    Variable("CMDOP_SMTP_URL", "smtp", smtp, None, "`smtp://…` or `smtps://…`; default a spool directory"),
    Variable("CMDOP_MAIL_FROM", "mail_from", line, "cmdop@localhost", "sender of mail"),
    Variable(
        "CMDOP_LOG_LEVEL", "log_level", one_of(("debug", "info", "warning", "error")), "info", "least level logged"
    ),
    Variable("CMDOP_LOG_FORMAT", "log_format", one_of(LogFormat), LogFormat.AUTO, "`auto`, `json` or `text`"),
    Variable("CMDOP_SECRET_KEY", "secret_key", secret, None, "signs cookies and cursors; default in secrets.json"),
    Variable("CMDOP_PEPPER", "pepper", secret, None, "keys the hashes of credentials; default in secrets.json"),
    Variable("CMDOP_AUDIT_KEY", "audit_key", secret, None, "Ed25519 seed, base64; default in secrets.json"),
)

# The command line's own variables: known, and none of the server's business.
CLIENT_VARIABLES = frozenset(
    f"CMDOP_{word}"
    for word in """
    API_KEY WORKSPACE PROFILE MODE SERVER_URL EXPECT_WORKSPACE REQUIRE_WORKSPACE READONLY OUTPUT NO_INPUT
    CREDENTIAL_STORE CONFIG_DIR TIMEOUT RETRIES DEBUG PAGER CA_FILE
    """.split()
)


def read(environ: Mapping[str, str]) -> tuple[Config | None, list[Refusal]]:
    """Parse every variable; return the configuration, or ``None`` with everything that is wrong with it."""
    values: dict[str, Any] = {}
    refusals: list[Refusal] = []
    for variable in VARIABLES:
        text = environ.get(variable.name)
        if text is None:
            values[variable.field] = default_data_dir() if variable.field == "data_dir" else variable.default
        elif not text.strip():
            # An empty database address must not quietly mean another database, nor an empty secret no secret.
            refusals.append(Refusal(variable.name, "is empty", f"give it a value, or: unset {variable.name}"))
        else:
            try:
                values[variable.field] = variable.parse(variable.name, text)
            except Refusal as refusal:
                refusals.append(refusal)
    return (None if refusals else Config(**values)), refusals


def load(environ: Mapping[str, str]) -> Config:
    """Return the configuration or raise the first ``Refusal``."""
    config, refusals = read(environ)
    if config is None:
        raise refusals[0]
    return config


def suspicious(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (unknown variable, the setting it was probably meant to be) for each ``CMDOP_*`` that looks mistyped."""
    known = [variable.name for variable in VARIABLES]
    strangers = (name for name in environ if name.startswith("CMDOP_") and name not in known)
    found = []
    for name in sorted(strangers):
        near = difflib.get_close_matches(name, known, 1, cutoff=0.85)
        if near and name not in CLIENT_VARIABLES:
            found.append((name, near[0]))
    return found
