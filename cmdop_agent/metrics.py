"""What a heartbeat says of the machine: load, memory, uptime. Standard library only; unknown is ``null``."""

import os
import time
from pathlib import Path

_STARTED = time.monotonic()


def metrics(sessions: int) -> dict[str, object]:
    """Return load averages, memory in bytes, seconds since boot and since the agent started, open channels."""
    total, available = _memory()
    return {
        "load": [round(value, 2) for value in os.getloadavg()],
        "cpus": os.cpu_count(),
        "memory_total": total,
        "memory_available": available,
        "uptime": _uptime(),
        "agent_uptime": int(time.monotonic() - _STARTED),
        "channels": sessions,
    }


def _memory() -> tuple[int | None, int | None]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None, None
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return found.get("MemTotal"), found.get("MemAvailable")


def _uptime() -> int | None:
    try:
        return int(float(Path("/proc/uptime").read_text().split()[0]))
    except OSError:
        return None
