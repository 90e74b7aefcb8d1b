"""``cmdop connect to | observe | exec``: terminals and commands on machines (D-21, D-26, D-27)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Listing, Record, Status
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.executing import Work

TIMEOUT = "30s"
PARALLEL, MOST_PARALLEL = 10, 500


@verb(needs="workspace", mutates=True)
def to(
    ctx: Ctx,
    machine: Annotated[
        str | None, typer.Argument(help="id, hostname or name; at a terminal the beginning of one will do")
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="end the session of whoever has one there; owners and admins only")
    ] = False,
) -> Status | Record:
    """Open a terminal on a machine.

    The word may be left out: cmdop connect web-1. A machine has one session at a time; others watch it. What is typed
    goes to the machine, Ctrl-C too; at the beginning of a line ~. disconnects and ~? helps. A connection that is lost
    is taken up again for 30 seconds, and nothing is lost or repeated. The exit status is the shell's.

    cmdop connect web-1
    cmdop connect to web-1 --take-over
    """
    from cmdop_cli import attaching

    call = ctx.call
    if not attaching.is_possible():
        raise usage(
            "a session needs a terminal on stdin and stdout",
            hint=f"cmdop connect exec {machine or 'MACHINE'} -- COMMAND",
        )
    wanted = machine or _picked(call, "open a terminal on")
    if call.is_dry_run:
        return Record("session", {"machine": wanted, "take_over": take_over}, identifier="machine", planned=True)
    return _operated(call, wanted, take_over=take_over)


@verb(needs="workspace")
def observe(
    ctx: Ctx,
    machine: Annotated[
        str | None, typer.Argument(help="id, hostname or name; at a terminal the beginning of one will do")
    ] = None,
) -> Status:
    """Watch the session on a machine, read only.

    Shows what its operator sees, from a little before now. Nothing that is typed has any effect there; Ctrl-C, q or ~.
    leaves. Without a terminal the bytes go to stdout until the session ends.

    cmdop connect observe web-1
    cmdop connect observe web-1 > typescript
    """
    call = ctx.call
    return _observed(call, machine or _picked(call, "watch", busy=True))


def _is_one(parameters: Mapping[str, Any]) -> bool:
    return len(set(parameters.get("machine") or ())) == 1 and not parameters.get("tag")


@verb(
    needs="workspace",
    mutates=True,
    rest=("COMMAND", "what to run there, word for word, with its arguments"),
    remote=_is_one,
)
def execute(
    ctx: Ctx,
    machine: Annotated[list[str] | None, typer.Argument(help="ids, exact hostnames or exact names")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="also every machine with all of these tags, as key:value")
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="hand the words to /bin/sh as one text")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="end it after so long; 30s unless given")] = TIMEOUT,
    parallel: Annotated[
        int, typer.Option("--parallel", help="on so many machines at a time; 10 unless given")
    ] = PARALLEL,
) -> Status | Record | Listing:
    """Run a command on one machine, or on many.

    No shell reads the words, unless --shell asks for one. On one machine stdin, stdout, stderr and the exit status are
    the command's own; 255 is a failure of ours before it ran, 124 a time-out. On several every line bears its
    machine's name, or with --json every machine is a record; the exit status is 8 when one of them failed. An interrupt
    ends everything that was started.

    cmdop connect exec web-1 -- uptime
    cmdop connect exec --tag env:prod --parallel 50 --json -- uname -r
    """
    call = ctx.call
    work = _work(call, timeout, is_shell=shell)
    if not 1 <= parallel <= MOST_PARALLEL:
        raise usage(f"--parallel is a number from 1 to {MOST_PARALLEL}")
    if not machine and not tag:
        raise usage("on which machine?", hint=f"cmdop connect exec MACHINE -- {' '.join(work.argv)}")
    if call.is_remote:
        assert machine is not None, "one was named"
        return _on_one(call, machine[0], work)
    return _on_many(call, tuple(dict.fromkeys(machine or ())), tuple(tag or ()), work, parallel)


def _work(call: "Call", timeout: str, *, is_shell: bool) -> "Work":
    from cmdop_cli.executing import Work
    from cmdop_cli.times import parse_duration
    from cmdop_sdk.running import LONGEST_TIMEOUT, checked_argv

    if not call.rest:
        raise usage("what to run stands after two dashes", hint="cmdop connect exec MACHINE -- COMMAND")
    try:
        seconds = parse_duration(timeout).total_seconds()
    except ValueError as wrong:
        raise usage(f"--timeout: {wrong}") from None
    if seconds > LONGEST_TIMEOUT:
        raise usage("--timeout: at most 7d")
    return Work(tuple(checked_argv(call.rest, shell=is_shell)), seconds, is_shell)


def _picked(call: "Call", what: str, *, busy: bool = False) -> str:
    from cmdop_cli import machine_names

    return machine_names.chosen(call, what, busy=busy)


def _operated(call: "Call", machine: str, *, take_over: bool) -> Status:
    from cmdop_cli import attaching, machine_names, streams
    from cmdop_sdk.attached import Terminal
    from cmdop_sdk.errors import SessionConflict
    from cmdop_sdk.exits import Exit

    def opened(_: Terminal) -> None:
        call.note(f"{machine} in {call.resolution.why}")
        call.note("~. disconnects, Ctrl-D ends the shell")

    async def operate(ref: str) -> Exit | None:
        return await attaching.operate(await streams.dialer(call), ref, take_over=take_over, opened=opened)

    try:
        ended = machine_names.understood(call, machine, lambda ref: call.run(operate(ref), waiting=None))
    except SessionConflict as held:
        held.message += "; an owner or admin may add --take-over"
        raise
    if ended is None:
        call.note(f"disconnected from {machine}")
        return Status()
    call.note(f"the session on {machine} has ended")
    return Status(ended.exit_code)


def _observed(call: "Call", machine: str) -> Status:
    from cmdop_cli import attaching, machine_names, streams
    from cmdop_sdk.attached import Terminal

    def opened(session: Terminal) -> None:
        leave = "; Ctrl-C, q or ~. leaves" if attaching.is_possible() else ""
        call.note(f"watching {session.operator} on {machine} in {call.resolution.why}, read only{leave}")

    async def observe(ref: str) -> bool:
        return await attaching.observe(await streams.dialer(call), ref, opened=opened)

    has_ended = machine_names.understood(call, machine, lambda ref: call.run(observe(ref), waiting=None))
    call.note(f"the session on {machine} has ended" if has_ended else f"no longer watching {machine}")
    return Status()


def _on_one(call: "Call", machine: str, work: "Work") -> Status | Record:
    if call.is_dry_run:
        return _planned([machine], work)
    from cmdop_cli import executing, machine_names, streams
    from cmdop_sdk.errors import NotFound
    from cmdop_sdk.stream_state import Notice

    def noticed(notice: Notice) -> None:
        call.note(notice.message)

    async def run() -> Status | Record:
        dialer = await streams.dialer(call)
        if call.output.is_json:
            result = await executing.collected(dialer, work, machine, on_notice=noticed)
            fields = executing.record(machine, work, result)
            return Record("execution", fields, identifier="machine", exit_code=result.exit_code)
        ended = await executing.piped(dialer, work, machine, on_notice=noticed)
        if ended.timed_out:
            call.note(f"time-out after {work.timeout:g} seconds: everything that it had started was ended")
        return Status(ended.exit_code)

    try:
        ended: Status | Record = call.run(run(), waiting=None)
        return ended
    except NotFound as unknown:
        raise machine_names.named(unknown, machine) from None


def _on_many(
    call: "Call", named: tuple[str, ...], tags: tuple[str, ...], work: "Work", parallel: int
) -> Status | Record | Listing:
    from cmdop_cli import fan_out, streams

    machines = {name: name for name in named}
    if tags:
        machines |= _tagged(call, tags, known=machines)
    if call.is_dry_run:
        return _planned(list(machines), work)
    output = call.output
    show = fan_out.Records(output, work) if output.is_json else fan_out.Lines(output, list(machines))
    outcomes: list[fan_out.Outcome] = []

    async def run() -> None:
        spread = fan_out.FanOut(await streams.dialer(call), fan_out.Order(work, machines, parallel), show, call.note)
        outcomes.extend(spread.outcomes)
        await spread.run()

    try:
        call.run(run(), waiting=None)
    finally:
        if any(each.is_over for each in outcomes):
            call.note(fan_out.summary(outcomes))
    return fan_out.result(outcomes, show, output.form)


def _tagged(call: "Call", tags: tuple[str, ...], known: Mapping[str, str]) -> dict[str, str]:
    """Return the machines with all of ``tags`` by name, without those that were named on the line."""
    from cmdop_cli.machine_names import tags_of

    found = call.ask(lambda client: client.machines.list(tags=tags_of(tags)).all())
    if not found and not known:
        raise Failure(
            ErrorCode.NOT_FOUND,
            f"no machine has the tags {', '.join(tags)}",
            hint=f"cmdop connect list --tag {tags[0]}",
        )
    folded = {name.casefold() for name in known}
    return {
        each.name: each.id for each in found if not folded & {each.id, each.name.casefold(), each.hostname.casefold()}
    }


def _planned(machines: list[str], work: "Work") -> Record:
    fields = {"machines": machines, "argv": list(work.argv), "shell": work.is_shell, "timeout": work.timeout}
    return Record("execution", fields, identifier="machines", planned=True)
