"""Many commands at once, and commands that die: each in a fork of one process that has loaded the command line.

Run as ``python -m tests.cli.forks``: reads a JSON plan from stdin, prints a JSON report. Forks share no memory and
hold their own locks, as processes do; only the start-up is paid once.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS = ("open", "write", "fsync", "replace", "close", "mkdir", "unlink")


def run(arguments: list[str]) -> int:
    """Run one line in this process and return its exit status."""
    from cmdop_cli.frame import run as framed

    return framed(arguments)


def forked(act: Callable[[], int]) -> int:
    """Start ``act`` in a fork and return its process id."""
    child = os.fork()
    if child:
        return child
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    status = 99
    try:
        status = act()
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """Wait for a fork; its exit status, or the negative number of the signal that killed it."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def all_at_once(lines: list[list[str]]) -> list[int]:
    """Run every line in a fork of its own, all started before the first is waited for."""
    children = [forked(lambda line=line: run(line)) for line in lines]  # type: ignore[misc]
    return [ended(child) for child in children]


def dying(arguments: list[str], last_call: int, *, after: bool) -> int:
    """Run a line that kills itself at the ``last_call``-th call which touches a file, before or after that call."""

    def act() -> int:
        calls = 0

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def called(*given: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == last_call and not after:
                    if real.__name__ == "write":  # torn: half of it arrives
                        real(given[0], bytes(given[1])[: len(given[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                try:
                    return real(*given, **named)
                finally:
                    if calls == last_call:
                        os.kill(os.getpid(), signal.SIGKILL)

            return called

        for name in POINTS:
            setattr(os, name, deadly(getattr(os, name)))
        return run(arguments)

    return ended(forked(act))


def deaths(arguments: list[str], path: Path, *, after: bool) -> list[dict[str, Any]]:
    """Let a line die at every call in turn, each time over the same file; tell what was left and who came next."""
    before, found = path.read_bytes(), []
    for last_call in range(1, 1000):
        path.write_bytes(before)
        status = dying(arguments, last_call, after=after)
        content = path.read_text()
        following = ended(forked(lambda: run(arguments)))
        left = [each.name for each in path.parent.glob(".*.tmp")]
        found.append({"status": status, "content": content, "following": following, "left": left})
        if status != -signal.SIGKILL:
            break
    return found


def main() -> None:
    """Do what the plan on stdin says."""
    import cmdop_cli.choosing
    import cmdop_cli.commands.choice
    import cmdop_cli.frame  # noqa: F401

    plan = json.load(sys.stdin)
    if "rounds" in plan:
        report: Any = [all_at_once(lines) for lines in plan["rounds"]]
    else:
        report = deaths(plan["line"], Path(plan["path"]), after=plan["after"])
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
