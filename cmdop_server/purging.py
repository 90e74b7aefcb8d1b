"""What is past its time goes: one small batch after another, never on a request's way.

Each app's ``tasks.past`` names its rows. Any number of processes may do this at once, and be killed while they do.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog
from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from cmdop_server.api import tasks as api
from cmdop_server.audit import tasks as audit
from cmdop_server.cabinet import tasks as cabinet
from cmdop_server.credentials import tasks as credentials
from cmdop_server.sessions import tasks as sessions

_log = structlog.stdlib.get_logger("cmdop.purging")

BATCH = 200  # rows of one transaction: SQLite's other writers wait for milliseconds
PAUSE = 0.1  # seconds between two batches in the background
EVERY = 3600.0  # seconds
FIRST = (300.0, 600.0)  # after this many seconds, at random: servers that start together do not purge together


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return all rows that are past their time, by what they are, in the order in which they must go."""
    found: dict[str, QuerySet[Any]] = {}
    for tasks in (credentials, audit, sessions, api, cabinet):
        found |= tasks.past(now)
    return found


def count() -> dict[str, int]:
    """Return how many rows are past their time now."""
    return {name: rows.count() for name, rows in past(timezone.now()).items()}


def purge(stop: threading.Event | None = None) -> dict[str, int]:
    """Delete all of it and return how many rows went; with ``stop`` gently, and no further than until it is set."""
    gone: dict[str, int] = {}
    for name, rows in past(timezone.now()).items():
        gone[name] = 0
        while deleted := _delete_some(rows):
            gone[name] += deleted
            if stop is not None and stop.wait(PAUSE):
                return gone
    return gone


def _delete_some(rows: QuerySet[Any]) -> int:
    some = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
    if not some:
        return 0  # and SQLite's writers have not been asked to wait
    with transaction.atomic():
        # Another process may be at the same rows, and what somebody holds can wait for the next time.
        free = rows.filter(pk__in=some).select_for_update(of=("self",), skip_locked=True)
        pks = list(free.values_list("pk", flat=True))
        rows.model._default_manager.filter(pk__in=pks).delete()
    return len(pks)


@contextmanager
def in_background(first: float | None = None) -> Iterator[None]:
    """Purge every hour in a thread of its own while the block runs; ``first`` is when to begin, in seconds."""
    stop = threading.Event()
    begin = random.uniform(*FIRST) if first is None else first  # noqa: S311 - nothing to guess
    thread = threading.Thread(target=_keep_purging, args=(stop, begin), name="purge", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_purging(stop: threading.Event, wait: float) -> None:
    while not stop.wait(wait):
        wait = EVERY
        try:
            gone = {name: number for name, number in purge(stop).items() if number}
            if gone:
                _log.info("purged what was past its time", **gone)
        except Exception:
            _log.exception("the purge failed; it is tried again in an hour")
        finally:
            connections.close_all()
