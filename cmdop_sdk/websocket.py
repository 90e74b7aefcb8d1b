"""The websockets library, without the third of its start-up time that goes into what it does not need here.

``importlib.metadata`` tells it the version of a development tree, ``urllib.request`` the proxy settings, which are
``network``'s business; they bring email, zipfile and http along. Import this before anything else of the library.
"""

from cmdop_sdk.postponed import postpone

postpone("importlib.metadata", "urllib.request")

from websockets import (  # noqa: E402 - only now, which is the point
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    Subprotocol,
    WebSocketException,
)
from websockets.asyncio.client import ClientConnection, connect  # noqa: E402
from websockets.frames import (  # type: ignore[attr-defined]  # noqa: E402 - the fast one, if it was built
    Frame,
    Opcode,
    apply_mask,
)
from websockets.protocol import State  # noqa: E402

__all__ = [
    "ClientConnection",
    "ConnectionClosed",
    "Frame",
    "InvalidHandshake",
    "InvalidProxy",
    "InvalidStatus",
    "InvalidURI",
    "Opcode",
    "ProxyError",
    "State",
    "Subprotocol",
    "WebSocketException",
    "apply_mask",
    "connect",
]
