"""What every operator's command does first: configuration, data directory, secrets, Django, schema."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cmdop_server import checks, data_dir
from cmdop_server.access.errors import Refused
from cmdop_server.config import Config, load, suspicious
from cmdop_server.management import restoring
from cmdop_server.management.say import note

# Words on the line of ``python -m cmdop_server`` that only our supervisor uses; not in the help.
WORKER, RELAY = "worker", "relay"


def private_process() -> None:
    """Make everything this process creates private, whatever umask it inherited."""
    os.umask(0o077)


def configuration() -> Config:
    """Return the configuration, warn of what looks like a typo, and switch the logs on."""
    config = load(os.environ)
    # structlog's console for developers, which nobody sees here, would load it: a tenth of a command's start.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type] # as the import system marks what is not there
    from cmdop_server.logs import configure  # noqa: PLC0415 - a refused start is spared what logging loads

    configure(config.log_format, config.log_level)
    for name, meant in suspicious(os.environ):
        note(f"warning: {name} is no setting of the server; {meant} was meant?")
    return config


@contextmanager
def alone() -> Iterator[Config]:
    """Yield the configuration for a change that no running server may meet; the embedded database is held meanwhile."""
    private_process()
    config = configuration()
    checks.refuse_unsafe(config)
    data_dir.open_dir(config.data_dir)
    lock = data_dir.lock(config.data_dir) if config.database is None else None
    try:
        yield config
    finally:
        if lock is not None:
            lock.release()


def apply(flags: Mapping[str, str | None]) -> None:
    """Put flags into the environment: a flag is another spelling of a variable, and workers inherit it."""
    for name, value in flags.items():
        if value is not None:
            os.environ[name] = value


def django_ready(config: Config, *, migrate: bool) -> bool:
    """Open directory and secrets, set Django up, bring the schema up to date; tell whether that took anything.

    Used beside a running server, too: then it takes that server's address for the links it prints.
    """
    data_dir.open_dir(config.data_dir)
    data_dir.open_secrets(config)
    running = data_dir.read_running(config.data_dir)
    if config.public_url is None and running is not None and isinstance(running.get("public_url"), str):
        os.environ["CMDOP_PUBLIC_URL"] = running["public_url"]
    set_up_django()
    from cmdop_server import schema  # noqa: PLC0415 - needs Django

    changed = schema.ensure(migrate=migrate or config.database is None)
    restoring.settle()
    return changed


def set_up_django() -> None:
    """Load the apps; Django reads the environment at this moment and never again."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "cmdop_server.settings"
    import django  # noqa: PLC0415 - only commands that go on need it
    from django.apps import apps  # noqa: PLC0415

    if not apps.ready:
        django.setup(set_prefix=False)


def busy(failure: Exception) -> Refused | None:
    """Return what to say when a command failed because the database was busy or away; ``None`` for anything else."""
    if "django.db" not in sys.modules:
        return None
    from django.db import DatabaseError, InterfaceError  # noqa: PLC0415 - loaded, as the failure may be of it

    from cmdop_server.database import refusal_of  # noqa: PLC0415

    return refusal_of(failure) if isinstance(failure, DatabaseError | InterfaceError) else None


def login_line(config: Config) -> str:
    """Return the command that signs in to this server."""
    from django.conf import settings  # noqa: PLC0415 - needs Django

    running = data_dir.read_running(config.data_dir) or {}
    pin = f" --ca-pin {running['ca_pin']}" if running.get("ca_pin") else ""
    return f"cmdop login --server {settings.CMDOP_PUBLIC_URL}{pin}"


def is_terminal() -> bool:
    """Tell whether a person reads the answer."""
    return sys.stdout.isatty()
