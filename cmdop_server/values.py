"""What a setting may hold, and how its text is read: each function gets the variable's name and its text.

Whatever is wrong with the text is a ``Refusal`` that says what to type instead. Opens nothing.
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

from cmdop_server.limits import RATE_LIMITS
from cmdop_server.refusal import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_RATE = re.compile(r"[1-9][0-9]{0,8}/(?:[1-9][0-9]{0,4} )?(?:second|minute|hour)")


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


def line(name: str, text: str) -> str:
    """Return one printable line."""
    if not text.isprintable():
        raise Refusal(name, "holds a control character", f"retype {name} as one printable line")
    return text


def path(name: str, text: str) -> Path:
    """Return an absolute path; ``~`` is the home folder."""
    return Path(line(name, text)).expanduser().absolute()


def number(low: int, high: int, usual: int) -> Callable[[str, str], int]:
    """Return what reads a whole number from ``low`` to ``high``; ``usual`` is shown to whoever gave another."""

    def parse(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise Refusal(name, f"is not a whole number from {low} to {high}", f"export {name}={usual}")
        return int(text)

    return parse


def flag(name: str, text: str) -> bool:
    """Return whether 0 or 1 was given."""
    if text not in ("0", "1"):
        raise Refusal(name, "is neither 0 nor 1", f"export {name}=1")
    return text == "1"


def one_of(words: type[StrEnum] | tuple[str, ...]) -> Callable[[str, str], Any]:
    """Return what reads one of ``words``."""
    choices = [str(word) for word in words]

    def parse(name: str, text: str) -> Any:
        if text not in choices:
            near = difflib.get_close_matches(text.lower(), choices, 1)
            fix = f"export {name}={near[0] if near else choices[0]}"
            raise Refusal(name, f"is none of {', '.join(choices)}", fix)
        return words(text) if isinstance(words, type) else text

    return parse


def secret(_name: str, text: str) -> Secret:
    """Return a secret, whose length and worth ``checks`` judges."""
    return Secret(text)


def _split(name: str, text: str, fix: str) -> SplitResult:
    try:
        parts = urlsplit(line(name, text))
        _ = parts.port
    except ValueError:
        raise Refusal(name, "is not an address", fix) from None
    return parts


def database(name: str, text: str) -> PostgresUrl:
    """Return the parts of a ``postgresql://`` address."""
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


def smtp(name: str, text: str) -> SmtpUrl:
    """Return the parts of an ``smtp://`` or ``smtps://`` address."""
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


def public_url(name: str, text: str) -> str:
    """Return an http or https address, scheme and host only."""
    fix = f"export {name}=https://cmdop.example.com"
    parts = _split(name, text, fix)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Refusal(name, "is not an http or https address", fix)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Refusal(name, "has a path; the server lives at the root of its host", fix)
    return f"{parts.scheme}://{parts.netloc}"


def networks(name: str, text: str) -> tuple[Network, ...]:
    """Return networks, given with commas."""
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in text.split(","))
    except ValueError:
        raise Refusal(name, "is not a comma-separated list of networks", f"export {name}=10.0.0.0/8,::1") from None


def names(name: str, text: str) -> tuple[str, ...]:
    """Return names, given with commas."""
    return tuple(item.strip() for item in line(name, text).split(",") if item.strip())


def rates(name: str, text: str) -> dict[str, str]:
    """Return rate limits by name, as ``limits`` has them."""
    given = dict(item.strip().partition("=")[::2] for item in text.split(","))
    if not set(given) <= set(RATE_LIMITS) or not all(_RATE.fullmatch(rate) for rate in given.values()):
        example = ",".join(f"{limited}={rate}" for limited, rate in list(RATE_LIMITS.items())[:2])
        raise Refusal(
            name,
            f"is no list of NAME=COUNT/PERIOD with names among {', '.join(RATE_LIMITS)}",
            f"export {name}={example!r}",
        )
    return given
