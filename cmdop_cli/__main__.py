"""The entry: fast paths first, then Typer, and the outermost frame, which alone turns exceptions into exit statuses."""

import gc
import os
import sys

_FAST = (["workspace", "current"], ["workspace", "current", "--json"], ["prompt"], ["--version"])


def main() -> int:
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
    from cmdop_cli.frame import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
