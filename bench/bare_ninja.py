"""The floor under ``bench.api``: django-ninja with nothing of ours, behind uvicorn as our server runs it.

Run by it: python -m bench.bare_ninja DATABASE MACHINES. Prints its port.
"""

import socket
import sys

import uvicorn
from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    SECRET_KEY="bench",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "CONN_MAX_AGE": None}},
)

import django  # noqa: E402

django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI, Schema  # noqa: E402


class Machine(models.Model):
    """A host, with about as many columns as ours."""

    name = models.CharField(max_length=100, unique=True)
    hostname = models.CharField(max_length=253)
    tags = models.JSONField(default=dict)
    os = models.CharField(max_length=60)
    arch = models.CharField(max_length=60)
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "bench"


class MachineAnswer(Schema):
    """A machine."""

    id: int
    name: str
    hostname: str
    tags: dict[str, str]
    os: str
    arch: str


api = NinjaAPI(openapi_url=None, docs_url=None)


@api.get("/nothing", response=dict[str, str])
def nothing(request: HttpRequest) -> dict[str, str]:  # noqa: ARG001 - ninja passes it
    """Answer without asking anybody."""
    return {"status": "ok"}


@api.get("/machines", response=list[MachineAnswer])
def machines(request: HttpRequest) -> list[Machine]:  # noqa: ARG001
    """List the first fifty, by name."""
    return list(Machine.objects.order_by("name")[:50])


urlpatterns = [path("", api.urls)]


def main(count: int) -> None:
    """Make the table and serve until a signal."""
    with connection.schema_editor() as editor:
        editor.create_model(Machine)
    names = (f"host-{number:04}" for number in range(count))
    Machine.objects.bulk_create(
        (Machine(name=each, hostname=each, tags={"env": "prod"}, os="Linux", arch="x86_64") for each in names),
        batch_size=500,
    )
    connection.close()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning", "lifespan": "off"}
    uvicorn.Server(uvicorn.Config(ASGIHandler(), **options)).run(sockets=[listener])  # type: ignore[arg-type]


if __name__ == "__main__":
    main(int(sys.argv[2]))
