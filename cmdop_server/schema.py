"""The database's schema: is it the one this code knows, and does the database belong to these secrets.

The usual start compares two lists of names and loads no migration at all.
"""

import hashlib
import hmac
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from filelock import FileLock

from cmdop_server import disk, stamp
from cmdop_server.database import unlimited
from cmdop_server.refusal import Refusal

# Any number will do that nobody else locks in this database.
MIGRATION_LOCK = 0x636D646F70
Names = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SchemaState:
    """``pending``: this code knows them, the database has not seen them; ``unknown``: the reverse."""

    pending: Names
    unknown: Names
    is_new: bool


def known_migrations() -> Names:
    """Return (app, migration) of everything that this code brings, by listing files."""
    names: set[tuple[str, str]] = set()
    for app in apps.get_app_configs():
        try:
            package = import_module(f"{app.name}.migrations")
        except ModuleNotFoundError:
            continue
        names.update(
            (app.label, module.name)
            for module in pkgutil.iter_modules(package.__path__)
            if not module.ispkg and module.name[0] not in "_~"
        )
    return frozenset(names)


def applied_migrations() -> Names:
    """Return (app, migration) of everything that was done to this database."""
    with connection.cursor() as cursor:
        if "django_migrations" not in connection.introspection.table_names(cursor):
            return frozenset()
        cursor.execute("SELECT app, name FROM django_migrations")
        return frozenset((str(app), str(name)) for app, name in cursor.fetchall())


def _knock() -> None:
    """Connect to PostgreSQL once without the pool, which would retry in silence and keep the reason to itself."""
    url = settings.CMDOP_CONFIG.database
    if url is None:
        return
    import psycopg  # noqa: PLC0415 - the embedded database does without

    given = {"dbname": url.name, "host": url.host, "port": url.port, "user": url.user, "password": url.password}
    options: dict[str, Any] = {"connect_timeout": "5", **url.parameters}
    options.update((name, value) for name, value in given.items() if value)
    try:
        psycopg.connect(**options).close()
    except psycopg.Error as error:
        raise unreachable(error) from None


def state() -> SchemaState:
    """Compare code and database; refuse when the database cannot be reached."""
    _knock()
    try:
        known, applied = known_migrations(), applied_migrations()
    except DatabaseError as error:
        raise unreachable(error) from None
    return SchemaState(pending=known - applied, unknown=applied - known, is_new=not applied)


def unreachable(error: Exception) -> Refusal:
    """Return the refusal for a database that does not answer; drivers put no password into these messages."""
    if settings.CMDOP_CONFIG.database is None and (no_room := disk.refusal(error)) is not None:
        return no_room
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if settings.CMDOP_CONFIG.database is None:
        path = settings.DATABASES["default"]["NAME"]
        return Refusal("CMDOP_DATA_DIR", f"cannot open {path}: {reason}", f"ls -l {path}")
    return Refusal("CMDOP_DATABASE_URL", f"the database does not answer: {reason}", 'psql "$CMDOP_DATABASE_URL" -c ""')


def refuse_newer(found: SchemaState) -> None:
    """Refuse a database that a newer server has already changed."""
    if found.unknown:
        app, name = min(found.unknown)
        message = f"the database was changed by a newer server ({app} {name} and {len(found.unknown) - 1} more)"
        raise Refusal("schema", message, "install the newer cmdop, or restore the backup made before the upgrade")


def ensure(*, migrate: bool) -> bool:
    """Bring the schema up to date and tell whether that took anything.

    With ``migrate`` false only a new database is filled; an older one is refused, so that a server on PostgreSQL
    never changes what its siblings are using.
    """
    found = state()
    refuse_newer(found)
    changed = False
    if found.pending:
        if not (migrate or found.is_new):
            message = f"the database lacks {len(found.pending)} migrations"
            raise Refusal("schema", message, "stop the servers, back up, then: cmdop server migrate")
        with _alone():
            found = state()
            refuse_newer(found)
            if found.pending:
                is_empty = found.is_new and not connection.introspection.table_names()
                _begin()
                if is_empty:
                    create(found.pending)
                else:
                    _migrate()
                changed = True
    check_secrets()
    return changed


def create(migrations: Names) -> None:
    """Fill an empty database straight from the models, all or nothing, and note the migrations as done.

    They lead to the same tables by thirty steps that take half a second; ``tests/server/test_schema.py`` compares.
    """
    recorder = MigrationRecorder(connection)
    models: list[type[Model]] = [*apps.get_models(), recorder.Migration]
    with connection.schema_editor() as editor:
        for model in models:
            if model._meta.can_migrate(connection):
                editor.create_model(model)
        for app, name in sorted(migrations):
            recorder.record_applied(app, name)


def _migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def _begin() -> None:
    """Make the tables beside the models' first: whoever sees the migrations done, and asks no more, finds these too."""
    call_command("createcachetable", verbosity=0)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(stamp.CREATE)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep two starts (or a start and a ``bootstrap``) from migrating at the same time."""
    if connection.vendor != "postgresql":
        with FileLock(settings.DATA_DIR / "migrate.lock", mode=0o600, timeout=60):
            yield
        return
    with unlimited():  # another start may migrate for as long as it takes
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def _fingerprints() -> dict[str, str]:
    """Return what tells secrets apart without telling anything about them."""
    keyed = {"pepper": settings.CMDOP_PEPPER, "audit_key": settings.CMDOP_AUDIT_KEY}
    return {
        name: hmac.new(secret, b"cmdop fingerprint", hashlib.sha256).hexdigest()[:32] for name, secret in keyed.items()
    }


def check_secrets() -> None:
    """Refuse secrets that are not those this database was made with: every credential would become unknown."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT name, value FROM {stamp.TABLE}")  # noqa: S608 - a constant of ours
        stamped = dict(cursor.fetchall())
        for name, fingerprint in _fingerprints().items():
            if name not in stamped:
                cursor.execute(f"INSERT INTO {stamp.TABLE} (name, value) VALUES (%s, %s)", [name, fingerprint])  # noqa: S608
            elif stamped[name] != fingerprint:
                message = "is not the one this database was made with"
                fix = "restore secrets.json, or the variable, from your backup"
                raise Refusal(f"CMDOP_{name.upper()}", message, fix)


@contextmanager
def one_bootstrap_at_a_time() -> Iterator[None]:
    """Run the block in a transaction that excludes its like, in any process on any host."""
    with transaction.atomic(), connection.cursor() as cursor:
        suffix = " FOR UPDATE" if connection.features.has_select_for_update else ""
        cursor.execute(f"SELECT value FROM {stamp.TABLE} WHERE name = %s{suffix}", ["pepper"])  # noqa: S608
        cursor.fetchall()
        yield
