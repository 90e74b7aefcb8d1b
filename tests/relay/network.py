"""A network between a client or machine and the relay that can be cut and mended: a proxy on loopback."""

import asyncio
import contextlib
from urllib.parse import urlsplit

PIECE = 256 * 1024


class Network:
    """Carries bytes to the relay and back. ``async with`` it; ``address`` is where the relay is from here.

    Until the first cut every connection is held, in either direction, when ``held_after`` bytes have passed that way:
    so what goes over is surely under way when the cut is made.
    """

    def __init__(self, url: str, held_after: int) -> None:
        self._far = urlsplit(url)
        self._held_after = held_after
        self._may_pass = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._port = 0
        self.held = 0  # directions of connections that wait for the cut

    @property
    def address(self) -> str:
        """Return the origin that stands for the server."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "Network":
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._break()

    async def cut(self, seconds: float) -> None:
        """Break every connection, losing what is on its way, and let nobody connect for so long."""
        await self._break()
        self._may_pass.set()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _break(self) -> None:
        if self._server is not None:
            self._server.close()
        carrying = list(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, far_writer))
                both.create_task(self._pass(far_reader, writer))
        except (asyncio.CancelledError, ExceptionGroup, OSError):
            pass  # the network is cut, or one of them has gone
        finally:
            self._carrying.discard(task)
            for each in ends:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
            passed += len(data)
            if passed >= self._held_after and not self._may_pass.is_set():
                self.held += 1
                await self._may_pass.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()
