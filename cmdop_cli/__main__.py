"""The entry: fast paths first, then Typer, and the outermost frame, which alone turns exceptions into exit statuses."""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_FAST = (["workspace", "current"], ["workspace", "current", "--json"], ["prompt"], ["--version"])


def main() -> "NoReturn":
    """Run the line in ``sys.argv`` and end this process.

    At once: taking some hundred modules apart is a tenth of the time of a short command, and frees nothing.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from cmdop_cli import closed_streams

        closed_streams.hold()
    status = run()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):  # they may be closed, or read by nobody: the interpreter has its way with that
        sys.exit(status)
    os._exit(status)


def run() -> int:
    """Run the line in ``sys.argv`` and return its exit status."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:  # before the frame stood that would have said so
        sys.stderr.write("error: interrupted\n")
        return 130
    finally:
        gc.enable()


def _run(arguments: list[str]) -> int:
    if arguments in _FAST or arguments[:1] in ([], ["help"]) or arguments[-1] in ("--help", "-h"):
        from cmdop_cli import fast

        status = fast.run(arguments, os.environ)
        if status is not None:
            return status
    # Importing makes many thousand objects and no garbage; looking for some costs a tenth of a local command.
    # ``door.py`` collects again, for what talks to the network.
    gc.disable()
    from cmdop_cli import frame

    return frame.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
