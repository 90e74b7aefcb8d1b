"""Clients that do not read, and what a machine has printed for them."""

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import psutil
import websockets
from websockets.asyncio.client import ClientConnection, connect

from cmdop_wire import frames
from cmdop_wire.frames import LIMITS, PROTOCOL, STREAM, Kind
from tests.world import World

PATIENCE = 60.0


async def dial(world: World, who: str, **opening: object) -> ClientConnection:
    """Open a stream over a bare websocket with little room in the kernel; nothing is read after OPENED."""
    address = urlsplit(world.server.url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (address.hostname, address.port))
    opened = await connect(
        f"ws://{address.netloc}/relay/client",
        sock=plain,
        additional_headers={"Authorization": f"Bearer {world.token(who)}"},
        subprotocols=[websockets.Subprotocol(PROTOCOL)],
        compression=None,
        max_size=LIMITS.frame,
        max_queue=1,
        ping_interval=None,  # who does not read cannot answer either
    )
    await opened.send(frames.encode_json(Kind.OPEN, STREAM, **opening))
    async with asyncio.timeout(PATIENCE):
        first = frames.decode(await opened.recv())
    assert first.kind is Kind.OPENED, first
    opened.transport.pause_reading()
    return opened


def talking(agent: int, program: str) -> psutil.Process | None:
    """Return the process that prints below an agent."""
    for child in psutil.Process(agent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while it was looked at
            if child.name() == program:
                return child
    return None


def printed(agent: int, program: str) -> int:
    """Return how many bytes it has printed."""
    process = talking(agent, program)
    return 0 if process is None else int(process.io_counters().write_chars)
