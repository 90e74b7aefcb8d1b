"""The ASGI application: http goes to Django; there is no relay yet, so websockets are closed before they open."""

import os
from functools import cache

import django
from django.apps import apps
from django.conf import settings
from django.urls import get_resolver

from cmdop_server.bridge import Receive, Scope, Send, ThreadedDjango

WEBSOCKET_POLICY = 1008  # RFC 6455 §7.4.1


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
            await receive()
            await send({"type": "websocket.close", "code": WEBSOCKET_POLICY, "reason": "no streams here"})
        case "lifespan":
            await _lifespan(receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
