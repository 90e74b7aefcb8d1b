"""Durations and moments as people type and read them; the only place that knows their grammar.

Pure: the clock and the zone are arguments, so the tests are tables. Layout of tables lives in ``output.py``.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
DURATION_EXAMPLES = "30s, 15m, 24h, 90d"
BOUND_EXAMPLES = "2026-03-01, 2026-03-01T08:00, 2026-03-01T08:00Z or 24h"
FURTHEST = timedelta(days=36_600)  # a century: beyond it a number is a typing mistake, and arithmetic may overflow


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` names (``30s``, ``15m``, ``24h``, ``90d``, ``2w``); else ``ValueError``.

    One whole positive number with one unit and nothing else: ``1h30m``, ``-5d`` and a bare ``90`` are refused, so that
    nothing is ever understood as longer or shorter than it was meant.
    """
    found = DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a duration: write a whole number and a unit, such as {DURATION_EXAMPLES}")
    length = timedelta(seconds=int(found[1]) * UNITS[found[2]])
    if length > FURTHEST:
        raise ValueError("a duration is at most a hundred years")
    return length


def parse_days(text: str) -> int:
    """Return how many days ``90d``, ``2w`` or a bare ``90`` are; parts of a day are refused with ``ValueError``."""
    plain = text.strip()
    length = parse_duration(f"{plain}d" if plain.isascii() and plain.isdigit() else plain)
    if length % timedelta(days=1):
        raise ValueError("whole days only, such as 90d")
    return length.days


def parse_bound(text: str, *, now: datetime, end: bool = False) -> datetime:
    """Return the moment in UTC that ``text`` names as a bound of time; ``ValueError`` when it names none.

    An ISO 8601 date or time, in the local zone unless it carries its own, or a duration, which counts back from
    ``now``. Ranges are half open, so a date as the ``end`` of one is the midnight after it: people say «until the
    first of March» and mean that whole day. What cannot be read is refused, never widened.
    """
    plain = text.strip()
    if DURATION.fullmatch(plain):
        return now.astimezone(UTC) - parse_duration(plain)
    try:
        return _moment(plain, end=end)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"not a date, time or duration: write for example {BOUND_EXAMPLES}") from None


def _moment(text: str, *, end: bool) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text).astimezone(UTC)  # a naive time is local, whatever DST held on that day
    midnight = datetime.combine(day + timedelta(days=1) if end else day, time())  # DST may put 23 or 25 hours between
    return midnight.astimezone(UTC)


def last_days(days: int, *, now: datetime) -> datetime:
    """Return the moment ``days`` times 24 hours before ``now``, in UTC, so that no change of clocks shifts it."""
    return now.astimezone(UTC) - timedelta(days=days)


def iso(moment: datetime) -> str:
    """Return ``moment`` as it travels: UTC, ISO 8601, ``Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """Return the moment that the server or a state file wrote, in UTC; ``ValueError`` if it is none."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def rough(length: timedelta) -> str:
    """Return ``length`` in its largest fitting unit, such as ``29 days``, ``1 hour`` or ``40 seconds``."""
    seconds = max(0, round(length.total_seconds()))
    for name, unit in (("day", "d"), ("hour", "h"), ("minute", "m")):
        if number := _whole(seconds, unit):
            return _counted(number, name)
    return _counted(seconds, "second")


def _whole(seconds: int, unit: str) -> int:
    """Return how many of ``unit`` are in ``seconds``, a last percent counting as whole: 29.99 days are 30."""
    return (seconds + UNITS[unit] // 100) // UNITS[unit]


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def ends(moment: datetime | None, *, now: datetime) -> str:
    """Return when something ends for a person: ``in 29 days``, ``2 hours ago`` or ``never``."""
    if moment is None:
        return "never"
    return f"in {rough(moment - now)}" if moment > now else f"{rough(now - moment)} ago"


def short(moment: datetime, *, now: datetime) -> str:
    """Return the distance of ``moment`` from ``now`` for a narrow column: ``in 29d``, ``5h ago`` or ``now``."""
    seconds = round((moment - now).total_seconds())
    for unit in ("d", "h", "m"):
        if number := _whole(abs(seconds), unit):
            return f"in {number}{unit}" if seconds > 0 else f"{number}{unit} ago"
    return "now"


def local(moment: datetime) -> str:
    """Return ``moment`` for a person, in the local zone to the minute: ``2026-03-01 08:05``."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
