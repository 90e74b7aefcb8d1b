"""``cmdop connect approvals`` at a terminal: the person that another process's gate asks, for as long as it stays."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from cmdop_cli.approving import Asked, approve
from cmdop_sdk.errors import NotFound
from cmdop_sdk.local import LocalAgent

if TYPE_CHECKING:
    from cmdop_cli.context import Call

WAIT = 25.0  # seconds that one question to the agent may stay open


class _Desk:
    """The requests of a running agent; one connection waits for them, the other answers meanwhile."""

    def __init__(self, looking: LocalAgent, answering: LocalAgent) -> None:
        self._looking, self._answering = looking, answering

    async def waiting(self, known: Sequence[int]) -> list[Asked]:
        """Return what waits, once it is something else than ``known`` or some time has passed."""
        found = await self._looking.approvals(wait=WAIT, known=known)
        return [Asked(each.number, each.actor, each.request) for each in found]

    async def answer(self, number: int, *, approved: bool) -> bool:
        """Give an answer; tell whether the request still waited."""
        with suppress(NotFound):
            await self._answering.answer(number, approved=approved)
            return True
        return False


def attend(call: "Call") -> None:
    """Ask the person at this terminal about every request, until Ctrl-C or the end of input."""

    async def whole() -> None:
        async with LocalAgent(call.local.root) as present, LocalAgent(call.local.root) as looking:
            async with LocalAgent(call.local.root) as answering:
                await present.attend()
                call.note("waiting for requests; Ctrl-C leaves", now=True)
                desk = _Desk(looking, answering)
                await approve(desk, lambda line: call.note(line, now=True), call.output.ask)

    try:
        asyncio.run(whole())
    except KeyboardInterrupt:
        call.output.interrupted()
