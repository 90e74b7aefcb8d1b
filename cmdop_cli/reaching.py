"""What ``connect to``, ``observe`` and ``exec`` do, once the line was read. Typer is not needed for it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cmdop_cli.failures import Failure, usage
from cmdop_cli.options import SPELLED, VALUED
from cmdop_cli.results import Listing, Record, Status
from cmdop_wire.vocab import ErrorCode, MachineCode

if TYPE_CHECKING:
    from cmdop_cli.call import Call
    from cmdop_cli.executing import Work
    from cmdop_cli.fan_out import Outcome
    from cmdop_sdk.errors import SessionConflict, StreamClosed

TIMEOUT = "30s"
_WHERE_TO_LOOK = ("--", "printenv", "PATH")


def work_of(call: "Call", timeout: str, *, is_shell: bool) -> "Work":
    """Return what stands after the two dashes as work; a usage error (exit 2) when it cannot be run."""
    from cmdop_cli.executing import Work
    from cmdop_cli.times import parse_duration
    from cmdop_sdk.running import checked_argv
    from cmdop_wire.frames import LIMITS

    if not call.rest:
        raise without_dashes(call.arguments)
    try:
        seconds = parse_duration(timeout).total_seconds()
    except ValueError as wrong:
        raise usage(f"--timeout: {wrong}") from None
    if seconds > LIMITS.timeout:
        raise usage("--timeout: at most 7d")
    return Work(tuple(checked_argv(call.rest, shell=is_shell)), seconds, is_shell)


def without_dashes(words: Sequence[str]) -> Failure:
    """Return the refusal of an ``exec`` without ``--``; its fix is the line with them, where it is clear where."""
    at = list(words).index("exec") + 1 if "exec" in words else len(words)
    while at < len(words) and words[at].partition("=")[0] in SPELLED:
        at += 2 if words[at] in VALUED else 1
    named, command = words[at : at + 1], words[at + 1 :]
    if not named or named[0].startswith("-") or (command and command[0].startswith("-")):
        line = "cmdop connect exec MACHINE -- COMMAND"
    else:
        line = f"{shlex.join(['cmdop', *words[: at + 1]])} -- {shlex.join(command) or 'COMMAND'}"
    return usage("what to run stands after two dashes", hint=line)


def operated(call: "Call", machine: str, *, take_over: bool) -> Status:
    """Join this terminal to a new session on ``machine`` (D-26); the exit status is the shell's."""
    from cmdop_cli import attaching, machine_dialer, machine_names
    from cmdop_sdk.attached import Terminal
    from cmdop_sdk.errors import SessionConflict, StreamClosed
    from cmdop_wire.exits import Exit

    def called(name: str) -> None:
        nonlocal machine
        machine = name

    def opened(_: Terminal) -> None:
        call.note(f"{machine} in {call.resolution.why}")
        call.note("~. disconnects, Ctrl-D ends the shell")

    async def operate(ref: str) -> Exit | None:
        return await attaching.operate(await machine_dialer.dialer(call), ref, take_over=take_over, opened=opened)

    try:
        ended = machine_names.understood(call, machine, lambda ref: call.run(operate(ref), waiting=None), found=called)
    except SessionConflict as held:
        _say_whose(call, held)
        raise
    except StreamClosed as closed:
        _lead_on(closed, call.line, machine)
        raise
    if ended is None:
        call.note(f"disconnected from {machine}")
        return Status()
    call.note(f"the session on {machine} has ended")
    return Status(ended.exit_code)


def observed(call: "Call", machine: str) -> Status:
    """Show the session on ``machine`` until it ends or the person leaves; nothing that is typed goes there (D-26)."""
    from cmdop_cli import attaching, machine_dialer, machine_names
    from cmdop_sdk.attached import Terminal
    from cmdop_sdk.errors import StreamClosed

    def called(name: str) -> None:
        nonlocal machine
        machine = name

    def opened(session: Terminal) -> None:
        leave = "; Ctrl-C, q or ~. leaves" if attaching.is_possible() else ""
        call.note(f"watching {session.operator} on {machine} in {call.resolution.why}, read only{leave}")

    async def observe(ref: str) -> bool:
        return await attaching.observe(await machine_dialer.dialer(call), ref, opened=opened)

    try:
        has_ended = machine_names.understood(
            call, machine, lambda ref: call.run(observe(ref), waiting=None), found=called
        )
    except StreamClosed as closed:
        _lead_on(closed, call.line, machine)
        raise
    call.note(f"the session on {machine} has ended" if has_ended else f"no longer watching {machine}")
    return Status()


def _say_whose(call: "Call", held: "SessionConflict") -> None:
    """Make a conflict say what there is to do: with a session of one's own, another thing than with somebody else's."""
    session, mine = held.details.get("session_id"), call.identity is not None and call.identity.email
    if session and mine and held.details.get("holder") == mine:
        from cmdop_cli.explaining import same_workspace

        ending = same_workspace(call, shlex.join(["cmdop", "connect", "end", str(session)]))
        held.message += ": that is you, from elsewhere"
        held.hint = f"{ending} && {call.line}"
    else:
        held.message += "; an owner or admin may add --take-over"


def _lead_on(closed: "StreamClosed", line: str, machine: str) -> None:
    """Name a next step where a session was closed: to watch whoever has it now, or the same line again."""
    if closed.reason == "taken_over":
        closed.hint = shlex.join(["cmdop", "connect", "observe", machine])
    closed.hint = closed.hint or line


def on_one(call: "Call", machine: str, work: "Work") -> Status | Record:
    """Run ``work`` on one machine, through our own streams or for one record; the exit status is its own (D-27)."""
    if call.is_dry_run:
        return _planned([machine], work)
    from cmdop_cli import executing, machine_dialer, unreached
    from cmdop_sdk.errors import CMDOPError, StreamClosed
    from cmdop_sdk.stream_state import Notice

    def noticed(notice: Notice) -> None:
        call.note(notice.message)

    async def run() -> Status | Record:
        dialer = await machine_dialer.dialer(call)
        if call.output.is_json:
            result = await executing.collected(dialer, work, machine, on_notice=noticed)
            fields = executing.record(machine, work, result)
            return Record("execution", fields, identifier="machine", exit_code=result.exit_code)
        ended = await executing.piped(dialer, work, machine, on_notice=noticed)
        if ended.timed_out:
            call.note(f"time-out after {work.timeout:g} s: everything that it had started was ended")
        return Status(ended.exit_code)

    try:
        with unreached.explained(call, machine):
            ended: Status | Record = call.run(run(), waiting=None)
            return ended
    except StreamClosed as closed:
        if closed.transient or not closed.hint:  # to run it again is up to whoever knows what it does
            closed.message += "; it may have run to its end"
            closed.hint = closed.hint or "cmdop audit list"
        raise
    except CMDOPError as refused:
        if refused.code == MachineCode.COMMAND_NOT_FOUND and not work.is_shell:
            # one word with blanks in it was meant for a shell, as ssh would have had it; any other is not in its PATH
            ours = call.arguments[: call.arguments.index("--")]
            is_line = len(work.argv) == 1 and " " in work.argv[0]
            refused.hint = shlex.join(["cmdop", *ours, *(["--shell", "--", *work.argv] if is_line else _WHERE_TO_LOOK)])
        raise


def on_many(
    call: "Call", named: tuple[str, ...], tags: tuple[str, ...], work: "Work", parallel: int
) -> Status | Record | Listing:
    """Run ``work`` on machines by name and by tag, so many at a time; exit 8 when it did not end well everywhere."""
    from cmdop_cli import fan_out, machine_dialer

    machines = {name: name for name in named}
    if tags:
        machines |= _tagged(call, tags, known=machines)
    if call.is_dry_run:
        return _planned(list(machines), work)
    output = call.output
    show = fan_out.Records(output, work) if output.is_json else fan_out.Lines(output, list(machines))
    outcomes: list[fan_out.Outcome] = []

    async def run() -> None:
        spread = fan_out.FanOut(
            await machine_dialer.dialer(call), fan_out.Order(work, machines, parallel), show, call.note
        )
        outcomes.extend(spread.outcomes)
        await spread.run()

    try:
        call.run(run(), waiting=None)
    finally:
        if any(each.is_over for each in outcomes):
            for line in fan_out.summary(outcomes):
                call.note(line)
    _name_nearest(call, outcomes)
    return fan_out.result(outcomes, show, output.form)


def _name_nearest(call: "Call", outcomes: "Sequence[Outcome]") -> None:
    """Tell which machines were probably meant by names that lead nowhere."""
    unknown = [each.machine for each in outcomes if each.failure and each.failure.code == ErrorCode.NOT_FOUND]
    if not unknown or call.output.is_json:
        return
    from cmdop_cli import unreached

    machines = unreached.listed(call)
    for ref in unknown:
        near = unreached.nearest(ref, (name for each in machines for name in (each.name, each.hostname)))
        if near:
            call.note(f"no machine is called {ref}; the nearest is {near}")


def _tagged(call: "Call", tags: tuple[str, ...], known: Mapping[str, str]) -> dict[str, str]:
    """Return the machines with all of ``tags`` by name, without those that were named on the line."""
    from cmdop_cli.machine_names import tags_of

    found = call.ask(lambda client: client.machines.list(tags=tags_of(tags)).all())
    if not found:  # also beside names: a slip in a tag would leave out everything that was meant by it
        having = f"the tag {tags[0]}" if len(tags) == 1 else f"all of the tags {', '.join(tags)}"
        raise Failure(ErrorCode.NOT_FOUND, f"no machine has {having}; nothing was run", hint="cmdop connect list")
    folded = {name.casefold() for name in known}
    return {
        each.name: each.id for each in found if not folded & {each.id, each.name.casefold(), each.hostname.casefold()}
    }


def _planned(machines: list[str], work: "Work") -> Record:
    fields = {"machines": machines, "argv": list(work.argv), "shell": work.is_shell, "timeout": work.timeout}
    return Record("execution", fields, identifier="machines", planned=True)
