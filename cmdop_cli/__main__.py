"""The entry: fast paths first, then Typer, and the outermost frame, which alone turns exceptions into exit statuses."""

import os
import sys


def main() -> int:
    """Run the line in ``sys.argv`` and return its exit status."""
    arguments = sys.argv[1:]
    if arguments in (["workspace", "current"], ["workspace", "current", "--json"], ["prompt"], ["--version"]):
        from cmdop_cli import fast

        status = fast.run(arguments, os.environ)
        if status is not None:
            return status
    from cmdop_cli.frame import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
