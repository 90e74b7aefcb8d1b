"""``cmdop demo``: a throw-away control plane, a few people's terminals, two machines, and every command run for real.

Each command runs as its own process on its own terminal (80 columns), so what is shown is what a person gets.
``play`` is the script, ``stage`` what it happens on; nothing is pre-recorded.
"""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cmdop_cli.demo.play import play
from cmdop_cli.demo.stage import Stage, say

__all__ = ["run_demo"]


def run_demo(*, keep: bool) -> None:
    """Play the demo; exits 1 with the failing command's own words if anything goes otherwise than told."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="cmdop-demo-"))
    try:
        with contextlib.closing(Stage(folder)) as stage:
            play(stage)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    rest = f"Kept in {folder}." if keep else "Nothing is left behind."
    say(f"\nDone in {time.monotonic() - started:.0f} s. {rest}")
    say("\nTo keep a control plane running:")
    _say_reachable()
    say("  cmdop server start")
    say("and in another terminal:")
    _say_reachable()
    say("  cmdop server bootstrap --email you@example.com --token-only | cmdop login --token -")


def _say_reachable() -> None:
    """Print what puts ``cmdop`` on the path of a shell, where it is not: ``make demo`` runs it out of its ``.venv``."""
    activate = Path(sys.prefix, "bin", "activate")
    if shutil.which("cmdop") is None and activate.exists():
        near = os.path.relpath(activate)
        say(f"  source {shlex.quote(str(activate) if near.startswith('..') else near)}")
