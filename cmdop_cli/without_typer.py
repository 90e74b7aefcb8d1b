"""The lines that people and scripts run most, without Typer, which would be a quarter of their time, or half.

``connect exec MACHINE -- …``, with or without ``--timeout``, and ``workspace use SLUG``: only these forms are read
here; any other goes the whole way, and tests compare the two.
"""

from typing import TYPE_CHECKING

from cmdop_cli.declare import Declared

if TYPE_CHECKING:
    from cmdop_cli.call import Call
    from cmdop_cli.results import Record, Status

EXEC = ("connect", "exec")
DECLARED = Declared(needs="workspace", mutates=True)  # as the command itself declares
USE, SWITCH = ("workspace", "use"), ("workspace", "switch")


def run(call: "Call") -> "Status | Record | None":
    """Run the line of ``call`` and return its result, or ``None`` when it has another form."""
    return _execute(call) if call.arguments[:1] == ["connect"] else _choose(call)


def _choose(call: "Call") -> "Record | None":
    path, ref = tuple(call.arguments[:2]), call.arguments[2:]
    if path not in (USE, SWITCH) or len(ref) != 1 or (ref[0].startswith("-") and ref != ["-"]):
        return None
    from cmdop_cli import choosing

    call.begin(Declared(mutates=True), path)
    return choosing.choose(call, ref[0], tells_agent=path == SWITCH)


def _execute(call: "Call") -> "Status | Record | None":
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
