"""A person at this machine answers what the gate asks (D-25): a request is shown, yes or no read, the result told.

Where the requests come from is the caller's: the agent in this process, or another one over its socket.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from cmdop_cli.readiness import READING, noticed

LOOK_AWAY = 0.25  # seconds; whoever brings us to the front does not notice them

Say = Callable[[str], None]


class Asked(NamedTuple):
    """One request that waits."""

    number: int
    actor: str
    request: str


class Desk(Protocol):
    """Where requests come from and answers go."""

    async def waiting(self, known: Sequence[int]) -> list[Asked]:
        """Return what waits, as soon as that is something else than ``known``; or the same after a while."""

    async def answer(self, number: int, *, approved: bool) -> bool:
        """Give an answer; tell whether the request still waited."""


class Lines:
    """Lines typed at the terminal, without keeping a thread waiting for them."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._typed = b""
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._watching = contextlib.ExitStack()
        self._watch()

    def _watch(self) -> None:
        self._watching.enter_context(noticed(self._fd, READING, self._read))

    def _read(self) -> None:
        try:
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                # In the background: what is typed is the shell's, and reading it would stop us. It may lie there unread
                # for long, so we look away for a while; that we are in front again nobody tells us.
                self._watching.close()
                again = asyncio.get_running_loop().call_later(LOOK_AWAY, self._watch)
                self._watching.callback(again.cancel)
                return
            data = os.read(self._fd, 4096)
        except OSError:
            data = b""
        if not data:
            self.close()
            self._lines.put_nowait(None)
            return
        *whole, self._typed = (self._typed + data).split(b"\n")
        for line in whole:
            self._lines.put_nowait(line.decode(errors="replace").strip())

    def forget(self) -> None:
        """Drop what was typed so far: nobody answers a question before it was asked."""
        while not self._lines.empty():
            self._lines.get_nowait()

    async def next(self) -> str | None:
        """Return the next line, ``None`` at the end of input."""
        return await self._lines.get()

    def close(self) -> None:
        """Read no more."""
        self._watching.close()


async def approve(desk: Desk, say: Say, prompt: Say) -> None:
    """Ask about every request that comes, one after the other, until input ends or the task is cancelled.

    A request that is withdrawn or answered elsewhere is not asked about any longer.
    """
    lines = Lines()
    known: list[int] = []
    try:
        while True:
            waiting = await desk.waiting(known)
            known = [each.number for each in waiting]
            if waiting and not await _ask(desk, waiting[0], lines, say, prompt):
                return
            if waiting:
                known = []  # look again: the one that was asked about is settled
    finally:
        lines.close()


async def _ask(desk: Desk, asked: Asked, lines: Lines, say: Say, prompt: Say) -> bool:
    """Ask about one request; tell ``False`` when there is nobody left to ask."""
    lines.forget()
    prompt(f"{asked.actor} asks for {asked.request}; allow it? [y/N] ")
    typing = asyncio.ensure_future(lines.next())
    gone = asyncio.ensure_future(_until_gone(desk, asked.number))
    try:
        await asyncio.wait([typing, gone], return_when=asyncio.FIRST_COMPLETED)
        if not typing.done():
            say("")
            say("it is not asked for any more")
            return True
        line = typing.result()
        if line is None:
            return False
        approved = line.lower() in ("y", "yes")
        if await desk.answer(asked.number, approved=approved):
            say("allowed" if approved else "refused")
        else:
            say("it was not asked for any more")
        return True
    finally:
        await _ended(typing, gone)


async def _until_gone(desk: Desk, number: int) -> None:
    known: list[int] = []
    while True:
        numbers = [each.number for each in await desk.waiting(known)]
        if number not in numbers:
            return
        known = numbers


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
