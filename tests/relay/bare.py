"""A bare websocket to the relay, for whoever does not keep to the protocol."""

import asyncio

import websockets
from websockets.asyncio.client import ClientConnection, connect

from cmdop_wire.frames import PROTOCOL
from tests.world import World


async def dial(world: World, credential: str, path: str = "/relay/client") -> ClientConnection:
    """Return a new connection, upgraded with ``credential``; nothing is said on it yet."""
    return await connect(
        "ws" + world.server.url.removeprefix("http") + path,
        additional_headers={"Authorization": f"Bearer {credential}"},
        subprotocols=[websockets.Subprotocol(PROTOCOL)],
        compression=None,
    )


async def close_code(socket: ClientConnection) -> int | None:
    """Read to the end of a connection and return how it was closed."""
    async with asyncio.timeout(30):
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
