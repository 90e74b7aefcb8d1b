"""``cmdop demo``: a throw-away control plane, a few people's terminals, two machines, and every command run for real.

Each command runs as its own process on its own terminal (80 columns), so what is shown is what a person gets.
``play`` is the script, ``stage`` what it happens on; nothing is pre-recorded.
"""

import contextlib
import shutil
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
    say("  cmdop server start")
    say("  cmdop server bootstrap --email you@example.com --token-only")
    say("  cmdop login --token -")
