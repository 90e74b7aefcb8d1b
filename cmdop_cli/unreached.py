"""What to say of a machine that was not reached: which name is nearest, since when it is away, what helps.

The refusal says only that; this asks the server once more, since a failure may take that long. Whoever may not list
machines, or gets no answer, is told what was said before.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cmdop_cli.failures import Failure
from cmdop_sdk.errors import AgentOffline, CMDOPError, NotFound
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
        _name_nearest(call, ref, unknown)
        raise


@contextmanager
def since_when(call: "Call", ref: str) -> Iterator[None]:
    """Make a refusal because ``ref`` is offline say since when, and what to do on that machine."""
    try:
        yield
    except AgentOffline as away:
        _say_since_when(call, ref, away)
        raise


def _name_nearest(call: "Call", ref: str, unknown: NotFound) -> None:
    """Put what was not found in the sentence of ``unknown``, and the line with the nearest name in its fix."""
    machines = listed(call)
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
    """Return the one of ``known`` that ``word`` was probably meant to be, or ``""``."""
    from difflib import get_close_matches

    by_folded = {each.casefold(): each for each in known}
    return next((by_folded[each] for each in get_close_matches(word.casefold(), by_folded, n=1)), "")


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
    from cmdop_cli import machine_names

    try:
        return machine_names.listed(call)
    except (CMDOPError, Failure):
        return ()


def _line_with(call: "Call", ref: str, name: str) -> str:
    """Return the line with ``name`` in place of ``ref``; one that says yes beforehand only becomes a look."""
    words = list(call.arguments)
    ours = words[: words.index("--")] if "--" in words else words
    for place, word in enumerate(ours):
        if not call.options.yes and (word == ref or word.startswith(f"{ref}:")):
            return shlex.join(["cmdop", *words[:place], name + word[len(ref) :], *words[place + 1 :]])
    return shlex.join(["cmdop", "connect", "show", name])
