"""How often one may ask: per address, credential and account, by a moving window.

The counters live in each worker's memory, so N workers together allow up to N times as much, of the relay there is one;
what guards secrets against guessing (user codes, passwords) is counted in the database instead.
"""

import time
from functools import cache

from django.conf import settings
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Refused
from cmdop_wire.vocab import ErrorCode


@cache
def _limiter() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())


@cache
def _limit(name: str) -> RateLimitItem:
    return parse(settings.CMDOP_RATE_LIMITS[name])


def check(name: str, who: str) -> None:
    """Count one request of ``who`` against the limit called ``name``; beyond it raise ``rate_limited``."""
    limit = _limit(name)
    if _limiter().hit(limit, name, who):
        return
    free_again = _limiter().get_window_stats(limit, name, who).reset_time
    wait = max(1, round(free_again - time.time()))
    raise Refused(ErrorCode.RATE_LIMITED, "too many requests", hint="wait and try again", retry_after=wait)


def check_actor(actor: Actor) -> None:
    """Count one request of a credential, and of its account across all of its credentials."""
    check("credential", actor.credential_id or actor.id)
    if actor.account_id is not None:
        check("account", actor.account_id)
