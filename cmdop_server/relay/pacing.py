"""How often a peer may make the relay itself work: who asks without end would hold up everybody else."""

import asyncio

from cmdop_wire.frames import Malformed

AT_ONCE = 100
A_SECOND = 10.0  # afterwards; an honest client asks a few times an hour


class Pace:
    """One peer's allowance."""

    def __init__(self) -> None:
        self._left = float(AT_ONCE)
        self._at = asyncio.get_running_loop().time()

    def take(self) -> None:
        """Take one from the allowance; ``Malformed`` when there is none."""
        now = asyncio.get_running_loop().time()
        self._left = min(float(AT_ONCE), self._left + (now - self._at) * A_SECOND) - 1.0
        self._at = now
        if self._left < 0:
            raise Malformed("asks more often than anybody needs to")
