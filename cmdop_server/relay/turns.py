"""Fair shares of what is scarce: of the threads that ask the database, of connections, of a machine's channels.

Everyone waits in a lane, and from lane to lane each in turn is let through: whoever asks without end waits behind
themselves, and others nearly as if they were alone.
"""

import asyncio
import resource
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from cmdop_server.access.errors import Refused
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_server.access.actor import Actor

LANE: ContextVar[str] = ContextVar("lane", default="")  # of the connection that is served; "" is the relay's own
MOST_KNOWN = 10_000
MOST_OPEN = 2048  # connections of one lane; --parallel of the command line is up to 500


class Turns:
    """``places`` may be busy at once; all of it in one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._lanes: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next one first

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait in ``LANE`` for a place, and keep it for the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(LANE.get())
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, lane: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(lane, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # the place was given a moment before
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._lanes:
            lane, line = self._lanes.popitem(last=False)
            waiting = line.popleft()
            if line:
                self._lanes[lane] = line  # behind all the others
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1


class Known:
    """Which credentials have been good, by digest: whoever shows one of them need not wait among strangers.

    It says who waits where and nothing else; whether a credential is good is asked each time.
    """

    def __init__(self) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()

    def lane(self, digest: str, address: str) -> str:
        """Return where to wait with a credential: a lane of its own, or its address's, however many it makes up."""
        return f"credential {digest}" if digest in self._digests else f"address {address}"

    def add(self, digest: str) -> None:
        """Remember a credential that was good; the one that was longest not seen is forgotten."""
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > MOST_KNOWN:
            self._digests.popitem(last=False)


class Open:
    """How many connections each lane has open: a quarter of the descriptors that we have is the most."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one_more(self, actor: "Actor") -> Iterator[None]:
        """Count one for the block; ``rate_limited`` when there are as many as there may be."""
        lane = lane_of(actor.account_id, actor.workspace_id)
        most = min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        if self._counts[lane] >= most:
            message = f"{whose(actor)} have {most} streams open already, which is the most; end some and try again"
            raise Refused(ErrorCode.RATE_LIMITED, message, retry_after=5)
        self._counts[lane] += 1
        try:
            yield
        finally:
            self._counts[lane] -= 1
            if not self._counts[lane]:
                del self._counts[lane]


def lane_of(account_id: str | None, workspace_id: str | None) -> str:
    """Return the lane of a person, whatever they show; the shared keys of a workspace have one together."""
    return account_id or f"shared {workspace_id}"


def whose(actor: "Actor") -> str:
    """Return who is in the lane of ``actor``, to be told."""
    return "you" if actor.account_id else "the shared keys of this workspace"


def refuse_more_than_half(actor: "Actor", others: "Iterable[Actor]", places: int, what: str) -> None:
    """Raise ``limit_reached`` when half of the ``places`` is taken by the lane of ``actor`` already."""
    lane = lane_of(actor.account_id, actor.workspace_id)
    if sum(lane_of(each.account_id, each.workspace_id) == lane for each in others) >= places // 2:
        raise Refused(
            ErrorCode.LIMIT_REACHED,
            f"{whose(actor)} take {places // 2} of {places} places {what} already, and the rest is for others",
            hint="end some of your streams, or wait until they end",
            limit=places // 2,
        )
