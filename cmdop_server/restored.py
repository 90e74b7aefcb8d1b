"""A database that came back from a backup: nothing that was revoked after the backup was taken lives again.

Which of its credentials those are, nobody can tell any more, so all of them end. ``server backup`` marks its copy. The
dumps of PostgreSQL cannot be marked; there a row remembers where it was written (the table's OID and the transaction's
number, which ``pg_upgrade`` and a physical copy keep), and whoever restores a dump writes it anew, elsewhere.
"""

from collections import Counter
from dataclasses import dataclass

from django.contrib.sessions.models import Session as CabinetSession
from django.db import connection, transaction
from django.utils import timezone

from cmdop_server import schema, stamp
from cmdop_server.access.actor import operator
from cmdop_server.credentials.endings import end_everything, end_everything_in
from cmdop_server.machines.join_tokens import revoke_everything_in
from cmdop_server.sessions.tickets import expire_everything
from cmdop_server.workspaces.changes import changing
from cmdop_server.workspaces.queries import workspaces_of
from cmdop_wire.vocab import Action

CAUSE = "restored"
_HERE = "SELECT value, tableoid::bigint || '/' || xmin::text FROM cmdop_stamp WHERE name = %s"
_STAY = """INSERT INTO cmdop_stamp (name, value)
    VALUES (%s, 'cmdop_stamp'::regclass::oid || '/' || pg_current_xact_id()::text::numeric %% 4294967296)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How many workspaces were told, and how many live keys and sign-ins ended in them."""

    workspaces: int
    keys: int
    sign_ins: int


def copied() -> str | None:
    """Return what this database is a copy of, as words for people, or ``None`` when it is where it always was."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT value FROM {stamp.TABLE} WHERE name = %s", [stamp.BACKUP])  # noqa: S608 - a constant
        marked = cursor.fetchone()
        if marked is not None:
            return f"a backup taken at {marked[0]}"
        if connection.vendor == "postgresql":
            cursor.execute(_HERE, [stamp.PLACE])
            place = cursor.fetchone()
            if place is not None and place[0] != place[1]:
                return "a dump"
    return None


def settle() -> tuple[str, Ended] | None:
    """End what a copy has brought back to life, once; return what it was a copy of, and what ended.

    On a database that is no copy this costs a question, and, on PostgreSQL, the first time a row.
    """
    if copied() is None and not _is_homeless():
        return None
    with schema.one_bootstrap_at_a_time():  # two hosts may start at once
        origin = copied()
        ended = end_all() if origin is not None else None
        # Outside of any savepoint, so that the row carries the number of this transaction.
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {stamp.TABLE} WHERE name = %s", [stamp.BACKUP])  # noqa: S608 - a constant
            if connection.vendor == "postgresql":
                cursor.execute(_STAY, [stamp.PLACE])
    return None if origin is None or ended is None else (origin, ended)


def _is_homeless() -> bool:
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(_HERE, [stamp.PLACE])
        return cursor.fetchone() is None


def end_all() -> Ended:
    """End every key, sign-in, cabinet session and pending grant, with one event in each workspace."""
    total: Counter[str] = Counter()
    now, actor = timezone.now(), operator()
    with transaction.atomic():
        ids = sorted(seen.workspace.public_id for seen in workspaces_of(actor))
        for workspace_id in ids:
            with changing(actor, workspace_id, Action.WORKSPACE_VIEW) as change:
                ended = end_everything_in(actor, change.workspace, cause=CAUSE, now=now)
                ended["join_tokens"] = revoke_everything_in(change.workspace, now=now)
                total.update(ended)
                change.record(
                    "credentials.ended",
                    target_type="workspace",
                    target_id=workspace_id,
                    target_label=change.workspace.slug,
                    cause=CAUSE,
                    **ended,
                )
        end_everything(actor, cause=CAUSE, now=now)
        expire_everything(now=now)
        CabinetSession.objects.all().delete()
    return Ended(len(ids), total["keys"], total["sign_ins"])
