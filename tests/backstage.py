"""A Django process in a test server's environment: one JSON request a line in, one JSON answer a line out.

Run by ``Server.backstage``; the functions it may call live in test modules, for example ``tests.casting``.
"""

import contextlib
import importlib
import json
import sys
import traceback
from typing import Any


def answer(line: str) -> dict[str, Any]:
    """Call the function that ``line`` names and return its value, or the traceback of its failure."""
    request = json.loads(line)
    module, _, name = request["function"].partition(":")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return {"value": getattr(importlib.import_module(module), name)(**request["arguments"])}
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    """Answer until the pipe closes."""
    import django

    django.setup()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line), default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
