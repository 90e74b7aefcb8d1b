"""How far a transfer is, on stderr, for a person who watches and only when it takes a while."""

import sys
from time import monotonic

from cmdop_cli.door import PATIENCE
from cmdop_cli.safe_text import safe

REDRAWN = 0.1  # seconds
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Draws one line over itself; ``close`` leaves no trace of it."""

    def __init__(self, what: str, *, is_shown: bool) -> None:
        self._what = safe(what)
        self._is_shown = is_shown
        self._began = monotonic()
        self._next = self._began + PATIENCE
        self._width = 0

    def __call__(self, done: int, total: int | None) -> None:
        """Take note that ``done`` bytes of ``total`` have gone."""
        now = monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next = now + REDRAWN
        share = f"{100 * done // total:>3}%  " if total else ""
        self._draw(f"{self._what}  {share}{size(done)}  {size(done / (now - self._began))}/s")

    def close(self) -> None:
        """Take the line away."""
        if self._width:
            self._draw("")
            self._draw("")

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._width}}")
        sys.stderr.flush()
        self._width = len(text)


def size(count: float) -> str:
    """Return a number of bytes as people read it, such as ``1.5 MiB``."""
    power = 0
    while count >= 1024 and power < len(UNITS) - 1:
        count /= 1024
        power += 1
    return f"{count:.0f} B" if power == 0 else f"{count:.1f} {UNITS[power]}"
