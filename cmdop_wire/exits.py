"""How what ran on a machine ended, as numbers that shells understand."""

import signal
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

TIMED_OUT = 124  # as coreutils' timeout says it
SIGNALLED = 128  # plus the signal's number, as shells say it
LONGEST = 10.0**9  # seconds; a longer duration is nonsense, and might be no float at all
LONGEST_NAME = 16  # characters of a signal's name, which may be one of another system's


class Exit(Struct, frozen=True):
    """The end of a process: ``exit_code`` is its own, 128 + n after a signal, 124 after a time-out.

    ``signal`` is a name such as ``TERM``; ``duration`` is in seconds at the machine.
    """

    exit_code: int
    signal: str | None = None
    timed_out: bool = False
    duration: float = 0.0


def exit_of(body: Mapping[str, Any]) -> Exit:
    """Return what an EXIT frame tells; a machine's word, so nothing in it is relied on."""
    status, name, duration = body.get("status"), body.get("signal"), body.get("duration")
    timed_out = body.get("timed_out") is True
    if timed_out:
        code = TIMED_OUT
    elif type(status) is int and 0 <= status <= 255:
        code = status
    else:
        code = SIGNALLED + _number(name)
    return Exit(
        exit_code=code,
        signal=name if isinstance(name, str) and len(name) <= LONGEST_NAME else None,
        timed_out=timed_out,
        duration=float(duration) if isinstance(duration, int | float) and abs(duration) <= LONGEST else 0.0,
    )


def _number(name: object) -> int:
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return 0
