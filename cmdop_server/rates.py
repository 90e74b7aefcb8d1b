"""How often one may ask: per address, credential and account, by a moving window.

The counters live in each worker's memory, so N workers together allow up to N times as much, of the relay there is one;
what guards secrets against guessing (user codes, passwords) is counted in the database instead.
"""

import math
import time
from collections import deque
from functools import cache
from threading import Lock

from django.conf import settings
from limits import RateLimitItem, parse

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Refused
from cmdop_wire.vocab import ErrorCode

SWEEP_SECONDS = 60


class Windows:
    """When each was here, as far back as its limit looks.

    Not the storage of ``limits``: that one starts a thread for every request, to forget what is old, which costs more
    than everything else around a small answer. Here whoever comes clears up, and now and then everybody is looked at.
    """

    def __init__(self, limit: RateLimitItem) -> None:
        self._most, self._seconds = limit.amount, limit.get_expiry()
        self._seen: dict[str, deque[float]] = {}
        self._lock = Lock()
        self._swept = time.monotonic()

    def wait(self, who: str) -> float:
        """Count one request of ``who`` and return 0; beyond the limit count nothing, and return when to come again."""
        now = time.monotonic()
        with self._lock:
            if now - self._swept >= min(self._seconds, SWEEP_SECONDS):
                self._sweep(now)
            seen = self._seen.setdefault(who, deque())
            while seen and seen[0] <= now - self._seconds:
                seen.popleft()
            if len(seen) >= self._most:
                return seen[0] + self._seconds - now
            seen.append(now)
        return 0.0

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._seen)

    def _sweep(self, now: float) -> None:
        self._seen = {who: seen for who, seen in self._seen.items() if seen and seen[-1] > now - self._seconds}
        self._swept = now


@cache
def _windows(name: str) -> Windows:
    return Windows(parse(settings.CMDOP_RATE_LIMITS[name]))


def check(name: str, who: str) -> None:
    """Count one request of ``who`` against the limit called ``name``; beyond it raise ``rate_limited``."""
    wait = _windows(name).wait(who)
    if wait > 0:
        raise Refused(
            ErrorCode.RATE_LIMITED, "too many requests", hint="wait and try again", retry_after=math.ceil(wait)
        )


def check_actor(actor: Actor) -> None:
    """Count one request of a credential, and of its account across all of its credentials."""
    check("credential", actor.credential_id or actor.id)
    if actor.account_id is not None:
        check("account", actor.account_id)
