"""How often a peer may make the relay itself work: who asks or tells without end would hold up everybody else."""

import asyncio

from cmdop_wire.frames import LIMITS, Malformed

AT_ONCE = 100
A_SECOND = 10.0  # afterwards; an honest peer asks a few times an hour
MOST_GRANTED = 4 * LIMITS.channels  # twice what all channels of a link can have a machine tell


class Pace:
    """One peer's allowance."""

    def __init__(self) -> None:
        self._left = float(AT_ONCE)
        self._granted = 0
        self._at = asyncio.get_running_loop().time()

    def grant(self, count: int) -> None:
        """Allow ``count`` more, because we ask for them ourselves."""
        self._granted = min(MOST_GRANTED, self._granted + count)

    def take(self) -> None:
        """Take one from the allowance; ``Malformed`` when there is none."""
        if self._granted:
            self._granted -= 1
            return
        self._refill()
        self._left -= 1.0
        if self._left < 0:
            raise Malformed("asks or tells more often than anybody needs to")

    @property
    def is_whole(self) -> bool:
        """Tell whether this is what a new one would be, so that it can be forgotten."""
        self._refill()
        return self._left >= AT_ONCE and not self._granted

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        self._left = min(float(AT_ONCE), self._left + (now - self._at) * A_SECOND)
        self._at = now


class Paces:
    """The allowances of peers by name, kept while they come and go: who dials again has no more than before."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}
        self._tidy_at = AT_ONCE

    def of(self, name: str) -> Pace:
        """Return a peer's allowance."""
        if len(self._paces) >= self._tidy_at:
            self._paces = {known: pace for known, pace in self._paces.items() if not pace.is_whole}
            self._tidy_at = AT_ONCE + 2 * len(self._paces)
        return self._paces.setdefault(name, Pace())
