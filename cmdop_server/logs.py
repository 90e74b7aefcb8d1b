"""Structured logs on stderr: one line an event, no secrets, no control characters.

Everything (structlog, Django, uvicorn) leaves through one formatter: JSON, or text on a terminal. What is redacted
is decided by type and by shape, not by the names of fields.
"""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cmdop_server.values import LogFormat, Secret
from cmdop_wire.ids import KeyText, mask

REDACTED = "…"
LONGEST_TEXT = 4096
LONGEST_TRACEBACK = 16_384
# C0, DEL, C1, line and paragraph separators, bidirectional and zero-width marks: what could forge or hide a line.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# A password in an address, and whatever travels in an Authorization or Cookie header.
_IN_ADDRESS = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_IN_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe_text(text: str, longest: int = LONGEST_TEXT, keep: str = "") -> str:
    """Return ``text`` on one line, secrets masked, control characters (but those in ``keep``) escaped, cut."""
    masked = _IN_HEADER.sub(rf"\1 {REDACTED}", _IN_ADDRESS.sub(rf"\1:{REDACTED}@", mask(text)))
    escaped = _UNSAFE.sub(lambda match: match.group() if match.group() in keep else _escape(match), masked)
    return escaped if len(escaped) <= longest else escaped[:longest] + "…"


def safe_value(value: Any, depth: int = 4) -> Any:
    """Return what of ``value`` may be logged: bytes and secrets never, other objects as their safe text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return safe_text(str(value))
    if isinstance(value, bytes | bytearray | memoryview | Secret):
        return REDACTED
    if isinstance(value, KeyText):
        return f"{value.prefix}{REDACTED}"
    if depth > 0 and isinstance(value, Mapping):
        return {safe_text(str(key)): safe_value(item, depth - 1) for key, item in value.items()}
    if depth > 0 and isinstance(value, Sequence | set | frozenset):
        return [safe_value(item, depth - 1) for item in value]
    return safe_text(str(value))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make every field safe; the traceback keeps its line feeds (JSON and the renderer escape or indent them)."""
    return {
        key: safe_text(str(value), LONGEST_TRACEBACK, keep="\n") if key == "exception" else safe_value(value)
        for key, value in event.items()
    }


def as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render one event for a person: time, level, event, then fields; no colours, nothing to misread."""
    head = [str(event.pop(name, "")) for name in ("timestamp", "level", "event")]
    exception = event.pop("exception", None)
    fields = [f"{key}={value}" for key, value in event.items()]
    tail = ["\n    " + str(exception).replace("\n", "\n    ")] if exception else []
    return " ".join(part for part in (*head, *fields) if part) + "".join(tail)


def configure(log_format: LogFormat, level: str) -> None:
    """Send all logs of this process to stderr, once."""
    stream = sys.stderr
    text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    render: Processor = as_text if text else structlog.processors.JSONRenderer()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            render,
        ],
        use_get_message=True,
    )
    output = logging.StreamHandler(stream)
    output.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "django", "django.server"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Its start and stop lines repeat ours.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    # Django logs each 4xx as a warning beside our own line for the request; only 5xx come with a traceback.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    # A foreign Host header is a 400 like any other; anybody could fill the log with its traceback.
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
