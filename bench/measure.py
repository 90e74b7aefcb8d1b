"""What benchmarks have in common: timing in rounds, processor time, a table of ratios. Nothing here passes or fails."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """Something to compare with is not installed; the words say what, and the line that installs it."""

    def __init__(self, what: str, install: str) -> None:
        super().__init__(f"{what} is missing; to compare with it: {install}")


@dataclass
class Contestant:
    """Something to be timed; ``against`` has its rivals by name, with the greatest ratio of medians, 0 for none.

    ``run`` does it once, and may return how long the part took that counts. ``servers`` are the processes whose
    processor time, with that of their ended children, belongs to it.
    """

    name: str
    run: Callable[[], float | None]
    against: Mapping[str, float] = field(default_factory=dict)
    servers: Sequence[int] = ()
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def once(self) -> None:
        """Run it and note how long it took, and how long processors were busy with it."""
        before, begun = self._spent(), time.perf_counter()
        taken = self.run()
        self.seconds.append(time.perf_counter() - begun if taken is None else taken)
        self.busy.append(self._spent() - before)

    def _spent(self) -> float:
        ours = os.times()
        return sum(ours[:4]) + sum(processor_seconds(pid) for pid in self.servers)


def rounds(contestants: Sequence[Contestant], count: int, *, warms: bool = True) -> None:
    """Run everybody in turn, ``count`` times, so that a busy moment falls on all.

    Before that comes a round which counts for nothing, unless what is measured takes so long that nobody is warmed.
    """
    for place in range(count + warms):
        for each in contestants:
            each.once()
            if warms and not place:
                each.seconds.clear()
                each.busy.clear()


def processor_seconds(pid: int) -> float:
    """Return how long processors were busy with a process and its ended children; 0 where nobody tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(each) for each in fields[11:15]) / _TICK


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def report(title: str, contestants: Sequence[Contestant], *, unit: float = 1000.0) -> None:
    """Print medians, minima and p95 in milliseconds, processor time, and ratios."""
    by_name = {each.name: each for each in contestants}
    print(f"\n{title + ', ms':<44}{'median':>9}{'least':>9}{'p95':>9}{'cpu':>9}   ratio of medians")
    for each in contestants:
        middle, least, worst = statistics.median(each.seconds), min(each.seconds), p95(each.seconds)
        busy = statistics.mean(each.busy) if each.busy else 0.0
        cells = "".join(f"{value * unit:>9.1f}" for value in (middle, least, worst, busy))
        ratios = [_ratio(each, by_name[name], budget) for name, budget in each.against.items()]
        print(f"{each.name:<44}{cells}   {'; '.join(ratios)}".rstrip())


def _ratio(each: Contestant, rival: Contestant, budget: float) -> str:
    value = statistics.median(each.seconds) / statistics.median(rival.seconds)
    verdict = ""
    if budget:
        verdict = f" (budget {budget:.2f}){'' if value <= budget else '  over budget'}"
    return f"{value:.2f} × {rival.name}{verdict}, least {min(each.seconds) / min(rival.seconds):.2f}"


def surroundings() -> str:
    """Return on what this runs, without naming the machine."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}; {sys.implementation.name}"
    )
