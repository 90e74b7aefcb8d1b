"""Typed configuration, read from ``CMDOP_*`` variables: every setting of the server stands in ``VARIABLES`` once.

Reads and refuses; opens no file and no database. ``settings.py`` is Django's view of the result, the table in
docs/operations.md is compared with ``VARIABLES`` by a test.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import platformdirs

from cmdop_server.limits import RATE_LIMITS
from cmdop_server.refusal import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_RATE = re.compile(r"[1-9][0-9]{0,8}/(?:[1-9][0-9]{0,4} )?(?:second|minute|hour)")
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Signup(StrEnum):
    """Who may make an account on the sign-up page (D-5a)."""

    CLOSED = "closed"
    INVITE = "invite"
    OPEN = "open"


class LogFormat(StrEnum):
    """``auto`` is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A parsed ``postgresql://`` address; the password never shows in ``repr``."""

    host: str
    port: str
    name: str
    user: str
    password: str
    parameters: Mapping[str, str]

    def __repr__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.name}"


@dataclass(frozen=True, slots=True)
class SmtpUrl:
    """A parsed ``smtp://`` (STARTTLS when there is a password) or ``smtps://`` address."""

    host: str
    port: int
    user: str
    password: str
    implicit_tls: bool

    def __repr__(self) -> str:
        return f"smtp{'s' if self.implicit_tls else ''}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Secret:
    """The text of a secret, which does not print."""

    text: str

    def __repr__(self) -> str:
        return "Secret(…)"


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


def _text(name: str, text: str) -> str:
    if not text.isprintable():
        raise Refusal(name, "holds a control character", f"retype {name} as one printable line")
    return text


def _path(name: str, text: str) -> Path:
    return Path(_text(name, text)).expanduser().absolute()


def _number(low: int, high: int, usual: int) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise Refusal(name, f"is not a whole number from {low} to {high}", f"export {name}={usual}")
        return int(text)

    return parse


def _flag(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise Refusal(name, "is neither 0 nor 1", f"export {name}=1")
    return text == "1"


def _one_of(words: type[StrEnum] | tuple[str, ...]) -> Callable[[str, str], Any]:
    choices = [str(word) for word in words]

    def parse(name: str, text: str) -> Any:
        if text not in choices:
            near = difflib.get_close_matches(text.lower(), choices, 1)
            fix = f"export {name}={near[0] if near else choices[0]}"
            raise Refusal(name, f"is none of {', '.join(choices)}", fix)
        return words(text) if isinstance(words, type) else text

    return parse


def _secret(_name: str, text: str) -> Secret:
    return Secret(text)


def _split(name: str, text: str, fix: str) -> SplitResult:
    try:
        parts = urlsplit(_text(name, text))
        _ = parts.port
    except ValueError:
        raise Refusal(name, "is not an address", fix) from None
    return parts


def _database(name: str, text: str) -> PostgresUrl:
    fix = f"export {name}=postgresql://USER:PASSWORD@HOST:5432/NAME, or unset it to use the embedded SQLite"
    parts = _split(name, text, fix)
    if parts.scheme not in ("postgresql", "postgres"):
        raise Refusal(name, f"has the unknown scheme {parts.scheme[:20] or '(none)'}", fix)
    parameters = dict(parse_qsl(parts.query))
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise Refusal(name, "names no database", fix)
    return PostgresUrl(
        host=parameters.pop("host", parts.hostname or ""),
        port=parameters.pop("port", str(parts.port or "")),
        name=database,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        parameters=parameters,
    )


def _smtp(name: str, text: str) -> SmtpUrl:
    fix = f"export {name}=smtp://USER:PASSWORD@HOST:587, or unset it to spool mail in the data directory"
    parts = _split(name, text, fix)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise Refusal(name, "is not an smtp:// or smtps:// address", fix)
    implicit = parts.scheme == "smtps"
    return SmtpUrl(
        host=parts.hostname,
        port=parts.port or (465 if implicit else 587),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        implicit_tls=implicit,
    )


def _public_url(name: str, text: str) -> str:
    fix = f"export {name}=https://cmdop.example.com"
    parts = _split(name, text, fix)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Refusal(name, "is not an http or https address", fix)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Refusal(name, "has a path; the server lives at the root of its host", fix)
    return f"{parts.scheme}://{parts.netloc}"


def _networks(name: str, text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in text.split(","))
    except ValueError:
        raise Refusal(name, "is not a comma-separated list of networks", f"export {name}=10.0.0.0/8,::1") from None


def _names(name: str, text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in _text(name, text).split(",") if item.strip())


def _rates(name: str, text: str) -> dict[str, str]:
    given = dict(item.strip().partition("=")[::2] for item in text.split(","))
    if not set(given) <= set(RATE_LIMITS) or not all(_RATE.fullmatch(rate) for rate in given.values()):
        example = ",".join(f"{limited}={rate}" for limited, rate in list(RATE_LIMITS.items())[:2])
        raise Refusal(
            name,
            f"is no list of NAME=COUNT/PERIOD with names among {', '.join(RATE_LIMITS)}",
            f"export {name}={example!r}",
        )
    return given


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
    Variable("CMDOP_DATA_DIR", "data_dir", _path, None, "state of this server; default the user's data home"),
    Variable("CMDOP_DATABASE_URL", "database", _database, None, "`postgresql://…`; default an embedded SQLite"),
    Variable("CMDOP_HOST", "host", _text, "127.0.0.1", "address to listen on"),
    Variable("CMDOP_PORT", "port", _number(0, 65535, 8787), 8787, "port to listen on; 0 takes a free one"),
    Variable("CMDOP_RELAY_PORT", "relay_port", _number(0, 65535, 8788), 0, "port of the relay beside several workers"),
    Variable("CMDOP_RELAY_URL", "relay_url", _public_url, None, "address of the relay; default where it listens"),
    Variable("CMDOP_PUBLIC_URL", "public_url", _public_url, None, "address people use; default where it listens"),
    Variable("CMDOP_ALLOWED_HOSTS", "allowed_hosts", _names, (), "further host names to answer to, with commas"),
    Variable("CMDOP_SIGNUP", "signup", _one_of(Signup), Signup.CLOSED, "`closed`, `invite` or `open`"),
    Variable("CMDOP_TLS", "tls", _one_of(("self-signed",)), None, "`self-signed` makes a certificate of its own"),
    Variable("CMDOP_TLS_CERT", "tls_cert", _path, None, "certificate chain, PEM"),
    Variable("CMDOP_TLS_KEY", "tls_key", _path, None, "private key, PEM"),
    Variable("CMDOP_BEHIND_PROXY", "behind_proxy", _flag, False, "1: a proxy in front of it speaks TLS"),
    Variable("CMDOP_TRUSTED_PROXIES", "trusted_proxies", _networks, (), "networks whose forwarded headers count"),
    Variable("CMDOP_WORKERS", "workers", _number(1, 64, 2), 1, "processes; more than one needs PostgreSQL"),
    Variable("CMDOP_DEVICE_INTERVAL", "device_interval", _number(0, 60, 5), 5, "seconds between polls of a sign-in"),
    Variable("CMDOP_THREADS", "threads", _number(1, 64, 8), 8, "requests that one process works on at a time"),
    Variable("CMDOP_HASHING_SLOTS", "hashing_slots", _number(1, 16, 2), 2, "passwords hashed at a time, 64 MiB each"),
    Variable("CMDOP_DRAIN_SECONDS", "drain_seconds", _number(0, 600, 20), 20, "how long SIGTERM waits for requests"),
    Variable("CMDOP_RATE_LIMITS", "rate_limits", _rates, {}, "`credential=6000/minute,account=…`; per worker"),
    Variable("CMDOP_SMTP_URL", "smtp", _smtp, None, "`smtp://…` or `smtps://…`; default a spool directory"),
    Variable("CMDOP_MAIL_FROM", "mail_from", _text, "cmdop@localhost", "sender of mail"),
    Variable(
        "CMDOP_LOG_LEVEL", "log_level", _one_of(("debug", "info", "warning", "error")), "info", "least level logged"
    ),
    Variable("CMDOP_LOG_FORMAT", "log_format", _one_of(LogFormat), LogFormat.AUTO, "`auto`, `json` or `text`"),
    Variable("CMDOP_SECRET_KEY", "secret_key", _secret, None, "signs cookies and cursors; default in secrets.json"),
    Variable("CMDOP_PEPPER", "pepper", _secret, None, "keys the hashes of credentials; default in secrets.json"),
    Variable("CMDOP_AUDIT_KEY", "audit_key", _secret, None, "Ed25519 seed, base64; default in secrets.json"),
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
