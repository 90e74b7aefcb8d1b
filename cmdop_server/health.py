"""What anybody may ask: does the process live, does the database answer, which version, where is what."""

import base64
import functools
from collections.abc import Callable
from importlib.metadata import version as distribution_version

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from cmdop_server.limits import BODY_BYTES

_log = structlog.stdlib.get_logger("cmdop.health")
NO_STORE = {"Cache-Control": "no-store"}


@functools.cache
def server_version() -> str:
    """Return the version of the installed distribution."""
    return distribution_version("cmdop-cli")


@functools.cache
def audit_public_key() -> str:
    """Return the key that verifies audit heads: 32 bytes of Ed25519, base64."""
    public = Ed25519PrivateKey.from_private_bytes(settings.CMDOP_AUDIT_KEY).public_key()
    return base64.b64encode(public.public_bytes_raw()).decode()


def live(_request: HttpRequest) -> JsonResponse:
    """Answer that the process works; asks nobody else."""
    return JsonResponse({"status": "ok"}, headers=NO_STORE)


def ready(_request: HttpRequest) -> JsonResponse:
    """Answer whether requests can be served: 503 while the database does not answer."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except (DatabaseError, InterfaceError) as error:
        _log.warning("the database does not answer", error=type(error).__name__)
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503, headers=NO_STORE)
    return JsonResponse({"status": "ok", "database": connection.vendor}, headers=NO_STORE)


def version(_request: HttpRequest) -> JsonResponse:
    """Answer which server this is."""
    return JsonResponse({"name": "cmdop", "version": server_version(), "api": "v1"}, headers=NO_STORE)


def well_known(_request: HttpRequest) -> JsonResponse:
    """Answer what a client needs before it has a credential."""
    origin = settings.CMDOP_PUBLIC_URL
    return JsonResponse(
        {
            "issuer": origin,
            "api": f"{origin}/api/v1",
            "version": server_version(),
            "modes": ["prod", "dev"],
            "device_uri": f"{origin}/device",
            "relay": settings.CMDOP_RELAY_URL,
            "audit_public_key": audit_public_key(),
            "limits": {"body_bytes": BODY_BYTES, "page_items": 200},
        },
        headers=NO_STORE,
    )


PROBES: dict[str, Callable[[HttpRequest], JsonResponse]] = {"/health/live": live, "/health/ready": ready}


class HealthMiddleware:
    """Answer probes before host names and sessions are looked at: a probe comes by bare address, from anywhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path)
        if probe is not None and request.method in ("GET", "HEAD"):
            return probe(request)
        return self.get_response(request)
