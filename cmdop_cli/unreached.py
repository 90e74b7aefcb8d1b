"""What to say of a machine that was not reached: which name is nearest, since when it is away, what helps.

The refusal says only that; this asks the server once more, since a failure may take that long. Whoever may not list
machines, or gets no answer, is told what was said before.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cmdop_cli.failures import Failure
from cmdop_sdk.errors import AgentOffline, CMDOPError, GateDenied, NotFound
from cmdop_wire.vocab import MachineState

if TYPE_CHECKING:
    from cmdop_cli.call import Call
    from cmdop_sdk.machine_models import Machine


@contextmanager
def explained(call: "Call", ref: str) -> Iterator[None]:
    """Make what is raised about the machine ``ref`` say more, where more is known."""
    try:
        with since_when(call, ref):
            yield
    except NotFound as unknown:
        if is_of_machine(unknown):
            _name_nearest(call, ref, unknown)
        raise


def is_of_machine(unknown: NotFound) -> bool:
    """Tell whether it is a machine that was not found, and not something on it; servers did not always say what."""
    return bool(unknown.details.get("kind", "machine") == "machine")


@contextmanager
def since_when(call: "Call", ref: str) -> Iterator[None]:
    """Make a refusal because ``ref`` is offline say since when; what is to be done on that machine says where.

    The latter goes for the refusals of its gate, too.
    """
    try:
        yield
    except GateDenied as refused:
        if refused.hint.startswith("cmdop "):
            refused.hint = f"on {ref}: {refused.hint}"
        raise
    except AgentOffline as away:
        _say_since_when(call, ref, away)
        raise


def _name_nearest(call: "Call", ref: str, unknown: NotFound) -> None:
    """Put what was not found in the sentence of ``unknown``, and the line with the nearest name in its fix."""
    machines = _known(call)
    if machines is None:
        return
    if any(ref.casefold() in names_of(each) for each in machines):
        return  # the machine is there; something else was not found
    if ref not in unknown.message:
        unknown.message = f"{unknown.message} called {ref}"
    near = nearest(ref, (name for each in machines for name in (each.name, each.hostname)))
    if near:
        unknown.message += f"; the nearest is {near}"
        unknown.hint = _line_with(call, ref, near)
    unknown.hint = unknown.hint or "cmdop connect list"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the one of ``known`` that ``word`` is a slip of the finger away from, or ``""``.

    No more than one slip, and never in a number: ``web-2`` is another machine than ``web-1``, and what is proposed here
    is pasted and run.
    """
    folded = word.casefold()
    return next((each for each in known if _is_one_slip(folded, each.casefold())), "")


def _is_one_slip(one: str, other: str) -> bool:
    """Tell whether a letter was left out, added, mistaken, or swapped with the next, while the digits are the same."""
    if [each for each in one if each.isdigit()] != [each for each in other if each.isdigit()]:
        return False
    short, long = sorted((one, other), key=len)
    at = next((place for place, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    return short[at + 1 :] == long[at + 1 :] or (
        short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    )


def names_of(machine: "Machine") -> tuple[str, ...]:
    """Return what a machine is called, folded: its id, its hostname, its name."""
    return machine.id, machine.hostname.casefold(), machine.name.casefold()


def _say_since_when(call: "Call", ref: str, away: AgentOffline) -> None:
    from datetime import UTC, datetime

    from cmdop_cli import times

    try:
        machine = call.ask(lambda client: client.machines.show(ref))
    except (CMDOPError, Failure):
        return
    if machine.state == MachineState.ONLINE:
        return  # it has just come back
    seen = machine.last_seen_at
    if seen is None:
        away.message += "; it never was"
    else:
        away.message += f"; last seen {times.local(seen)}, {times.rough(datetime.now(UTC) - seen)} ago"
    away.hint = f"on {machine.hostname}: cmdop connect start"


def listed(call: "Call") -> "Sequence[Machine]":
    """Return every machine of the workspace; none where they cannot be listed."""
    return _known(call) or ()


def _known(call: "Call") -> "Sequence[Machine] | None":
    from cmdop_cli import machine_list

    try:
        return machine_list.listed(call)
    except (CMDOPError, Failure):
        return None


def _line_with(call: "Call", ref: str, name: str) -> str:
    """Return the line with ``name`` in place of ``ref``; one that says yes beforehand only becomes a look."""
    words = list(call.arguments)
    ours = words[: words.index("--")] if "--" in words else words
    for place, word in enumerate(ours):
        if not call.options.yes and (word == ref or word.startswith(f"{ref}:")):
            return shlex.join(["cmdop", *words[:place], name + word[len(ref) :], *words[place + 1 :]])
    return shlex.join(["cmdop", "connect", "show", name])
