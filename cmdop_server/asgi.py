"""The ASGI application: http goes to Django, websockets to the relay beside it."""

import os
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import django
from django.apps import apps
from django.conf import settings
from django.urls import get_resolver

from cmdop_server.bridge import Receive, Scope, Send, ThreadedDjango
from cmdop_server.health import server_version

if TYPE_CHECKING:
    from cmdop_server.relay.app import Relay


@cache
def django_application() -> ThreadedDjango:
    """Return Django, set up once a process, with its addresses loaded so that no request waits for that."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cmdop_server.settings")
    if not apps.ready:
        django.setup(set_prefix=False)
    _ = get_resolver().url_patterns
    return ThreadedDjango(settings.CMDOP_CONFIG.threads)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope."""
    match scope["type"]:
        case "http":
            await django_application()(scope, receive, send)
        case "websocket":
            await relay()(scope, receive, send)
        case "lifespan":
            await _lifespan(receive, send)


@cache
def relay() -> "Relay":
    """Return the relay of this process."""
    django_application()
    from cmdop_server.relay.app import Relay  # noqa: PLC0415 - its models need Django to be set up

    return Relay(server_version(), urlsplit(settings.CMDOP_PUBLIC_URL).netloc, settings.CMDOP_TRUSTED_PROXIES)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start the relay with the process, and end it with everyone told to come back."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await relay().start()
        else:
            await relay().stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
