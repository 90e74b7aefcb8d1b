"""The ASGI application: http goes to Django, websockets to the relay beside it."""

import os
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import django
from django.apps import apps
from django.conf import settings
from django.urls import get_resolver

from cmdop_server.bridge import Receive, Scope, Send, ThreadedDjango, refuse
from cmdop_server.health import server_version
from cmdop_server.relay.socket import refuse as refuse_upgrade
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_server.orders import Left, Order
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
    """Serve one scope with everything in one process: http to Django, websockets to the relay."""
    if scope["type"] == "http":
        await django_application()(scope, receive, send, lambda order: relay().errands.run(order))
    else:
        await relay_application(scope, receive, send)


async def worker_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope as one of several workers: the relay has a process and a port of its own."""
    if scope["type"] == "http":
        await django_application()(scope, receive, send, _handed_over)
    elif scope["type"] == "websocket":
        await receive()
        # A client must not follow with its token, which belongs to this origin (D-23): it asks for a ticket.
        await refuse_upgrade(send, 421, "the relay has an address of its own: see relay in /.well-known/cmdop")


async def relay_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope as the relay; it answers no http but an upgrade."""
    if scope["type"] == "websocket":
        await relay()(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await refuse(scope, send, 404, ErrorCode.NOT_FOUND, "this is the relay; it speaks websockets only")


async def _handed_over(order: "Order") -> "Left":
    from cmdop_server.relay.doorway import hand_over  # noqa: PLC0415 - its models need Django to be set up

    return await hand_over(settings.DATA_DIR, order)


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
