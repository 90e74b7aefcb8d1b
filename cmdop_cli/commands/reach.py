"""``cmdop connect to | observe | exec``: terminals and commands on machines (D-21, D-26, D-27)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cmdop_cli import reaching
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Listing, Record, Status

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
    from cmdop_cli import attaching, complaints, machine_names

    call = ctx.call
    if not attaching.is_possible():
        if machine is not None and (verb := complaints.verb_meant(call, machine)):
            raise complaints.unknown_command("cmdop connect", machine, verb, runs=True)
        raise usage(
            "a session needs a terminal on stdin and stdout",
            hint=f"cmdop connect exec {machine or 'MACHINE'} -- COMMAND",
        )
    wanted = machine or machine_names.chosen(call, "open a terminal on")
    if call.is_dry_run:
        return Record("session", {"machine": wanted, "take_over": take_over}, identifier="machine", planned=True)
    return reaching.operated(call, wanted, take_over=take_over)


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
    from cmdop_cli import machine_names

    call = ctx.call
    return reaching.observed(call, machine or machine_names.chosen(call, "watch", busy=True))


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
    timeout: Annotated[
        str, typer.Option("--timeout", help="end it after so long; 30s unless given")
    ] = reaching.TIMEOUT,
    parallel: Annotated[
        int, typer.Option("--parallel", help="on so many machines at a time; 10 unless given")
    ] = PARALLEL,
) -> Status | Record | Listing:
    """Run a command on one machine, or on many.

    No shell reads the words, unless --shell asks for one. On one machine stdout, stderr and the exit status are the
    command's own, and so is stdin from a pipe or a file (in a loop that reads one: < /dev/null), while a terminal
    is not read; 255 is a failure of ours before it ran, 124 a time-out. On several, or with --json, there is no
    stdin: every line bears its machine's name, or every machine is a record; the exit status is 8 when one of them
    failed. An interrupt ends everything that was started.

    cmdop connect exec web-1 -- uptime
    cmdop connect exec --tag env:prod --parallel 50 --json -- uname -r
    """
    call = ctx.call
    work = reaching.work_of(call, timeout, is_shell=shell)
    if not 1 <= parallel <= MOST_PARALLEL:
        raise usage(f"--parallel is a number from 1 to {MOST_PARALLEL}")
    if not machine and not tag:
        raise usage("on which machine?", hint=f"cmdop connect exec MACHINE -- {' '.join(work.argv)}")
    if call.is_remote:
        assert machine is not None, "one was named"
        return reaching.on_one(call, machine[0], work)
    return reaching.on_many(call, tuple(dict.fromkeys(machine or ())), tuple(tag or ()), work, parallel)
