"""Seats at streams for tests of the relay: a bearer that shows one credential, and streams not yet open."""

from cmdop_sdk.auth import Secret
from cmdop_sdk.bearers import Shown
from cmdop_sdk.dialing import Dialer, Target
from cmdop_sdk.stream import Stream
from tests.world import World


class Fixed:
    """A bearer that shows one credential, whatever becomes of it."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def show(self, rejected: Secret | None = None) -> Shown:
        """Show it."""
        return Shown(Secret(self._text), None)


def stream(world: World, credential: str, **opening: object) -> Stream:
    """Return a stream, not yet open."""
    return Stream(Dialer(Target(world.server.url), Fixed(credential)), opening)


async def read_until(opened: Stream, wanted: bytes) -> bytes:
    """Read until ``wanted`` was seen and return everything read."""
    import asyncio

    seen = b""
    async with asyncio.timeout(10):
        while wanted not in seen:
            piece = await opened.read()
            assert piece is not None, seen
            seen += piece.data
    return seen
