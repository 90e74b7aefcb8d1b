"""Django inside the test process, on whichever database the environment names."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_started = False


class Inside:
    """One migrated database behind Django's default connection, until ``close``."""

    def __init__(self, environ: dict[str, str]) -> None:
        global _started
        self._before = {name: os.environ.get(name) for name in environ if name.startswith(("CMDOP_", "DJANGO_"))}
        settings_given = {name: environ[name] for name in self._before}
        Path(settings_given["CMDOP_DATA_DIR"]).mkdir(mode=0o700, exist_ok=True)
        os.environ.update(settings_given)
        import django
        from django.conf import settings

        if _started:
            module = importlib.reload(importlib.import_module("cmdop_server.settings"))
            for name in dir(module):
                if name.isupper():
                    setattr(settings, name, getattr(module, name))
            self._exchange(module.DATABASES)
        else:
            django.setup()
            _started = True
        settings.ALLOWED_HOSTS = ["*"]
        self._create()

    @staticmethod
    def _exchange(databases: dict[str, dict[str, object]]) -> None:
        from django.db import connections

        from cmdop_server.asgi import django_application

        connections.close_all()
        connections.settings = connections.configure_settings(databases)
        del connections["default"]
        django_application.cache_clear()  # its threads have connections of their own

    @staticmethod
    def _create() -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Undo at the end everything that is written meanwhile."""
        from django.db import transaction

        with transaction.atomic():
            yield
            transaction.set_rollback(True)

    def empty(self) -> None:
        """Empty every table."""
        from django.core.management import call_command

        call_command("flush", verbosity=0, interactive=False)

    def close(self) -> None:
        """Close the connection and give the process its environment back."""
        from django.db import connections

        connections.close_all()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
