"""What a failure of an operator's command looks like under ``--json``: the same object as of every other command."""

import json

from cmdop_wire.vocab import Exit


def error(code: str, message: str, hint: str, exit_code: int, **more: str) -> str:
    """Return the object as one line; ``more`` follows what every such object has (cli.md)."""
    fields = {
        "schema": "cmdop.error.v1",
        "code": str(code),
        "message": message,
        "hint": hint or None,
        "transient": exit_code in (Exit.UNREACHABLE, Exit.TEMPORARY),
        "http_status": None,  # no server was asked
        "request_id": None,
        "workspace": None,
        "exit_code": int(exit_code),
    }
    return json.dumps({**fields, **more})
