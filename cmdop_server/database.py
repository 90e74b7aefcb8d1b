"""How long a change waits for another one, how long one may rest, and what is said of a database that is busy or away.

Nothing of ours waits for anybody while it holds locks: a transaction that rests is one whose process was halted, or
whose host is gone. See docs/decisions/server-bridge.md.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from cmdop_server.access.errors import Refused
from cmdop_server.limits import LOCK_SECONDS, REST_SECONDS
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    import psycopg

RETRY_AFTER = 2  # seconds
LIMITS = {"lock_timeout": f"{LOCK_SECONDS}s", "idle_in_transaction_session_timeout": f"{REST_SECONDS}s"}
_HELD = ("55P03", "40P01")  # of PostgreSQL: lock_not_available, deadlock_detected
_RESTED = "25P03"  # idle_in_transaction_session_timeout, which the driver does not count as operational


def bounded() -> "type[psycopg.Connection[Any]]":
    """Return the class of PostgreSQL connections that have ``LIMITS``, set once when each is made.

    With a statement and not with the start-up packet, in which poolers refuse options that they do not know. Whoever
    set another limit (in the address, of the role, the database or the server) is right.
    """
    import psycopg  # noqa: PLC0415 - the embedded database does without

    class Bounded(psycopg.Connection[Any]):
        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> "Bounded":
            made = super().connect(conninfo, **options)
            for name, limit in LIMITS.items():
                made.execute("SELECT set_config(%s, %s, false) WHERE current_setting(%s) = '0'", (name, limit, name))
            return made

    return Bounded


@contextmanager
def unlimited() -> Iterator[None]:
    """Lift ``LIMITS`` of this connection: to wait for a migration, or to compute in the middle of one."""
    with connection.cursor() as cursor:
        before: dict[str, str] = {}
        for name in LIMITS:
            cursor.execute("SELECT current_setting(%s), set_config(%s, '0', false)", [name, name])
            before[name] = cursor.fetchone()[0]
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name, limit in before.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, limit])


def refusal_of(failure: DatabaseError | InterfaceError) -> Refused | None:
    """Return what to say when the database was busy or away; ``None`` when it is a bug of ours."""
    cause = failure.__cause__
    state, code = getattr(cause, "sqlstate", None), getattr(cause, "sqlite_errorcode", 0)
    if not isinstance(failure, OperationalError | InterfaceError) and state != _RESTED:
        return None
    if state in _HELD or code & 0xFF == sqlite3.SQLITE_BUSY:  # the rest of it tells what it was busy with
        message = "the server is busy: another change is not done yet, and this one waited for it in vain"
    else:
        message = "the server is busy: it cannot read or write its database now"
    return Refused(ErrorCode.UNAVAILABLE, message, hint="wait a few seconds and try again", retry_after=RETRY_AFTER)
