"""What is added to a failure before it is shown: where it happened and why there, whose key it was, a fix that fits.

How a failure then looks is ``failures.py``'s.
"""

import shlex
from typing import TYPE_CHECKING

from cmdop_cli import asking, environment
from cmdop_cli.failures import Code, Failure
from cmdop_wire.vocab import ErrorCode, Exit, Scope

if TYPE_CHECKING:
    from cmdop_cli.context import Call

_OPTIONS = ("--workspace", "-w")
_MAKE_KEY = "cmdop --no-api-key auth create-key "
_ELSEWHERE = ("help", "server", "demo", "profile", "mode", "config", "completion")  # what these say is true everywhere


def explain(call: "Call", failure: Failure) -> Failure:
    """Add to ``failure`` in which workspace it happened and why that one, as far as that is known; return it."""
    if failure.exit_code == Exit.USAGE and not failure.hint:
        failure.hint = f"cmdop {' '.join(call.path)} --help" if call.path else "cmdop help options"
    if failure.code in ("invalid_key", ErrorCode.UNAUTHENTICATED) and call.has_key:
        _blame_key(call, failure)
    if failure.code == ErrorCode.FORBIDDEN and call.has_key and call.options.api_key is None:
        _as_the_person(call, failure)
    if failure.hint == environment.UNSET_KEY:  # which is no help where it was set for this one line
        failure.hint = f"cmdop --no-api-key {call.line.removeprefix('cmdop ')}"
    if failure.exit_code != Exit.USAGE:  # else it may be these very options that are wrong
        failure.hint = same_server(call, failure.hint)
    if failure.hint.startswith(_MAKE_KEY) and not asking.is_possible(call):
        failure.hint = f"{_maker(failure.hint)} makes one for {environment.API_KEY}: {failure.hint}"
    resolution = call.resolved
    if resolution is None or resolution.workspace is None:
        return failure
    if failure.code == Code.UNEXPECTED_WORKSPACE and not failure.hint and not call.options.workspace:
        failure.hint = f"cmdop --workspace {resolution.expected} {call.line.removeprefix('cmdop ')}"
    if call.declared.needs != "workspace":
        return failure
    if call.options.workspace and _acts_in_a_workspace(failure.hint):
        failure.hint = same_workspace(call, failure.hint)
    if failure.workspace is None:
        place = call.settled or resolution.workspace
        failure.workspace = {"id": place.id, "slug": place.slug, "source": str(resolution.source)}
        if not failure.why and failure.code not in (Code.USAGE, Code.LOCAL_STATE):
            failure.why = f"workspace {place.label} (from {resolution.source_words})"
    return failure


def same_workspace(call: "Call", line: str) -> str:
    """Return ``line`` so that, pasted, it acts in the workspace of ``call``, which perhaps only its own line names."""
    line = same_server(call, line)
    if not call.options.workspace:
        return line
    place = call.settled or call.resolution.workspace
    return in_workspace(line, call.options.workspace if place is None else place.label)


def same_server(call: "Call", line: str) -> str:
    """Return ``line`` so that, pasted, it asks whom ``call`` asks, as whom: what its own line says of that is kept."""
    ours, dashes, rest = line.partition(" -- ")
    program, *words = ours.split() or [""]
    if program != "cmdop" or {"--help", "&&"} & set(words) or (words and words[0] in _ELSEWHERE):
        return line
    options = call.options
    said: list[tuple[tuple[str, ...], list[str]]] = [
        (("--profile",), ["--profile", options.profile] if options.profile else []),
        (("--mode", "--dev"), ["--mode", options.mode] if options.mode else []),
        (("--server",), ["--server", options.server] if options.server else []),
        (("--no-api-key", "--api-key"), ["--no-api-key"] if options.no_api_key else []),
    ]
    for spellings, again in said:
        if again and not any(word.partition("=")[0] in spellings for word in words):
            ours = f"{ours} {shlex.join(again)}"
    return f"{ours}{dashes}{rest}"


def in_workspace(line: str, ref: str) -> str:
    """Return ``line`` with ``--workspace``, unless it names one; what stands after two dashes is another program's."""
    ours, dashes, rest = line.partition(" -- ")
    if any(word.startswith(_OPTIONS) for word in ours.split()):
        return line
    return f"{ours} --workspace {ref}{dashes}{rest}"


def _acts_in_a_workspace(line: str) -> bool:
    """Tell whether ``line`` is one command of ours, and one whose own declaration says that it needs a workspace."""
    from cmdop_cli.catalog import Verb, load, row
    from cmdop_cli.declare import declared

    program, *words = line.partition(" -- ")[0].split() or [""]
    if program != "cmdop" or "--help" in words or "&&" in words:
        return False
    found = next((found for size in (3, 2, 1) if isinstance(found := row(tuple(words[:size])), Verb)), None)
    return found is not None and declared(load(found.target)).needs == "workspace"


def _as_the_person(call: "Call", failure: Failure) -> None:
    """Make the fix of what the variable's key may not do one that leaves it out: no key makes keys, or signs in."""
    if failure.hint == "cmdop login":
        failure.hint = environment.UNSET_KEY
    elif failure.hint.startswith("cmdop auth create-key "):
        line = f"cmdop --no-api-key {failure.hint.removeprefix('cmdop ')}"
        place = call.settled or (None if call.resolved is None else call.resolved.workspace)
        failure.hint = line if place is None else in_workspace(line, place.label)


def _maker(line: str) -> str:
    """Return who makes a key by ``line``, for whoever reads in a job's log that its own may not: they seldom are it."""
    return "an owner or admin" if "--shared" in line or Scope.MEMBERS_INVITE in line else "whose key it is"


def _blame_key(call: "Call", failure: Failure) -> None:
    """Make ``failure`` name the refused key: nothing else helps while it is in force, a sign-in least of all."""
    given = environment.API_KEY if call.options.api_key is None else "--api-key"
    if failure.code == ErrorCode.UNAUTHENTICATED:
        failure.message = f"the server refuses the key in {given}: revoked, expired, or of another server"
    if given == environment.API_KEY:
        failure.hint = environment.UNSET_KEY
    else:
        failure.hint = "cmdop auth create-key --name NAME"
