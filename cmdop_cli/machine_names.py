"""Which machine a person means: by id, exact hostname or exact name; at a terminal also by how one of them begins.

Exact names are the server's to understand. Only when it knows none is the list asked for, always anew, so that a name
which became ambiguous a minute ago leads to no wrong machine.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cmdop_cli import asking
from cmdop_cli.failures import Failure, usage
from cmdop_wire.vocab import ErrorCode, MachineState

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.errors import NotFound
    from cmdop_sdk.machine_models import Machine

T = TypeVar("T")
SHORTEST = 2  # characters of a beginning that is understood


def understood(call: "Call", ref: str, act: Callable[[str], T], *, found: Callable[[str], None] | None = None) -> T:
    """Return ``act(ref)``; where no machine is called so, at a terminal, act on the one whose name begins so.

    ``found`` is told that one's name, before ``act`` gets its id.
    """
    from cmdop_cli import unreached
    from cmdop_sdk.errors import NotFound

    if not at_terminal():
        with unreached.explained(call, ref):
            return act(ref)
    try:
        with unreached.since_when(call, ref):
            return act(ref)
    except NotFound as unknown:
        if not unreached.is_of_machine(unknown):
            raise
        machine = _beginning(call, ref, unknown)
    call.note(f"{ref} is {machine.name}")
    if found is not None:
        found(machine.name)
    with unreached.explained(call, machine.name):
        return act(machine.id)


def at_terminal() -> bool:
    """Tell whether a person reads and types; a script must say exactly what it means."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _beginning(call: "Call", ref: str, unknown: "NotFound") -> "Machine":
    from cmdop_cli import machine_list, unreached

    machines, prefix = machine_list.listed(call), ref.casefold()
    if any(prefix in unreached.names_of(each) for each in machines):
        raise unknown  # the machine is there; something else was not found
    found = [each for each in machines if any(name.startswith(prefix) for name in unreached.names_of(each)[1:])]
    if len(prefix) < SHORTEST or not found:
        raise _nothing(call, ref, machines)
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:10]) + (" …" if len(found) > 10 else "")
        raise usage(f"{ref} may be any of {names}", hint=f"cmdop {' '.join(call.path)} {found[0].name}")
    return found[0]


def _nothing(call: "Call", ref: str, machines: "Sequence[Machine]") -> Failure:
    """Return what to say of a name that leads nowhere: perhaps it was meant for a verb."""
    from cmdop_cli import unreached
    from cmdop_cli.catalog import CATALOG, Noun

    connect = CATALOG["connect"]
    verbs = list(connect.verbs) if isinstance(connect, Noun) and call.path == ("connect", "to") else []
    near = unreached.nearest(ref, [*verbs, *(each.name for each in machines)]) or "list"
    path = "connect" if near in (*verbs, "list") else " ".join(call.path)
    nearest = "" if near == "list" else f"; the nearest is {near}"
    sentence = f"no machine of workspace {call.workspace().label} is called {ref}{nearest}"
    return Failure(ErrorCode.NOT_FOUND, sentence, hint=f"cmdop {path} {near}")


def chosen(call: "Call", what: str, *, busy: bool = False) -> str:
    """Return the hostname of a machine that the person picks, among those online, or with a session (``busy``).

    Not its id: what is said of the machine from then on, and every line to paste, calls it so.
    """
    from cmdop_cli import machine_list

    if not (at_terminal() and asking.is_possible(call)):
        raise usage("which machine?", hint=f"{call.line} MACHINE")
    online = [each for each in machine_list.listed(call) if each.state == MachineState.ONLINE]
    machines = [each for each in online if each.session or not busy]
    if not machines:
        found = "no machine has an active session" if busy else "no machine is online"
        raise Failure(ErrorCode.NOT_FOUND, f"{found} in {call.workspace().label}", hint="cmdop connect list")
    labels = [f"{each.name}  {each.session.operator.label}" if each.session else each.name for each in machines]
    return machines[asking.choose(call, what, labels)].hostname


def tags_of(words: Sequence[str]) -> dict[str, str]:
    """Return tags as they are asked for: ``key:value``, each key once."""
    tags: dict[str, str] = {}
    for word in words:
        key, colon, value = word.partition(":")
        if not key or not colon or not value:
            raise usage(f"{word} is no tag: write it as key:value")
        if tags.setdefault(key, value) != value:
            raise usage(f"the tag {key} is given twice with different values")
    return tags
