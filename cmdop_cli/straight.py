"""The line that scripts run most, without Typer, which would be a quarter of its time: ``connect exec MACHINE -- …``.

Only that form, with or without ``--timeout``, is read here; any other goes the whole way, and a test compares the two.
"""

from typing import TYPE_CHECKING

from cmdop_cli.declare import Declared

if TYPE_CHECKING:
    from cmdop_cli.call import Call
    from cmdop_cli.results import Record, Status

EXEC = ("connect", "exec")
DECLARED = Declared(needs="workspace", mutates=True)  # as the command itself declares


def run(call: "Call") -> "Status | Record | None":
    """Run the line of ``call`` and return its result, or ``None`` when it has another form."""
    words = call.arguments[len(EXEC) :]
    if tuple(call.arguments[: len(EXEC)]) != EXEC or "--" not in words:
        return None
    place = words.index("--")
    ours, rest = words[:place], words[place + 1 :]
    if len(ours) not in (1, 3) or not rest or (len(ours) == 3 and ours[1] != "--timeout"):
        return None
    if ours[0].startswith("-") or ours[-1].startswith("-"):
        return None
    from cmdop_cli import reaching

    call.rest, call.is_remote = rest, True
    call.begin(DECLARED, EXEC)
    work = reaching.work_of(call, ours[2] if len(ours) == 3 else reaching.TIMEOUT, is_shell=False)
    return reaching.on_one(call, ours[0], work)
