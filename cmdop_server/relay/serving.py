"""A connection from its upgrade to its end: received from and sent to side by side, closed with the code that fits."""

import logging
from collections.abc import Awaitable, Callable

from cmdop_server.access.errors import Refused
from cmdop_server.relay.socket import Gone, Socket
from cmdop_wire.frames import CloseCode, Malformed
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)


async def run(socket: Socket, serve: Callable[[], Awaitable[None]], note_cut: Callable[[str], None]) -> None:
    """Accept, and receive and send side by side until one of them ends; a peer that breaks the rules is told on."""
    await socket.accept()
    try:
        await serve()
        socket.close(CloseCode.DONE)
    except Gone:
        pass
    except Malformed as problem:
        log.warning("a peer was cut", extra={"problem": str(problem)})
        note_cut(str(problem))
        socket.close(CloseCode.MALFORMED, str(problem))
    except TimeoutError:
        socket.close(CloseCode.MALFORMED, "too slow to speak")
    except Refused as refusal:
        is_dead = refusal.code is ErrorCode.UNAUTHENTICATED
        socket.close(CloseCode.AUTH if is_dead else CloseCode.UNAVAILABLE, str(refusal.code))
    finally:
        await socket.drained(5)
