"""The entry: fast paths first, then Typer, and the outermost frame, which alone turns exceptions into exit statuses."""

import os
import sys


def main() -> int:
    """Run the line in ``sys.argv`` and return its exit status."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:  # before the frame stood that would have said so
        sys.stderr.write("error: interrupted\n")
        return 130


def _run(arguments: list[str]) -> int:
    if arguments in (["workspace", "current"], ["workspace", "current", "--json"], ["prompt"], ["--version"]):
        from cmdop_cli import fast

        status = fast.run(arguments, os.environ)
        if status is not None:
            return status
    from cmdop_cli.frame import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
