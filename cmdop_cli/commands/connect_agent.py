"""``cmdop connect`` without a machine: this machine's agent, from registering it to reading its log (D-21, D-25)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli import agent, agent_record
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call

APPROVALS = (
    Column("number", kind="number"),
    Column("actor", "asked by"),
    Column("request"),
    Column("asked_at", kind="ago"),
)
LINES = 50
_REACHING = "this is what makes this machine reachable; to reach one: cmdop connect MACHINE"


@verb(mutates=True, elsewhere=lambda given: given["join_token"] is not None)
def run(
    ctx: Ctx,
    hostname: Annotated[
        str | None, typer.Option("--hostname", help="register under this name instead of the system's")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="what people call it; the workspace's pattern otherwise")
    ] = None,
    join_token: Annotated[
        str | None,
        typer.Option(
            "--join-token", metavar="SOURCE", help="a join token in place of a sign-in: -, file:PATH, env:NAME"
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="register anew, taking the hostname of a machine that is offline")
    ] = False,
    accept_bypass: Annotated[
        bool, typer.Option("--accept-bypass", help="agree that the workspace may let everything through the gate")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="run in the background; return once the link is up")] = False,
) -> Record | None:
    """Run this machine's agent.

    The first time it registers the machine: at a terminal it shows where, as whom and for whom, and asks; elsewhere
    it needs --yes and a workspace that was named, a key or a join token. From then on the machine stays where it is
    registered, whatever workspace is active; cmdop connect workspace move is the only way to another one.
    It dials out and listens to nobody. Ctrl-C stops it, and the machine is offline at once. Requests that the gate
    asks about are put to you for as long as it runs in front of you.

    cmdop connect
    cmdop connect --detach --hostname build-7 --workspace acme --yes
    """
    from cmdop_cli.registering import Planned, Wanted, check_same, settled

    call, wanted = ctx.call, Wanted(hostname, name, join_token, replace, accept_bypass)
    before = agent.registration(call)
    if agent.is_running(call):
        if before is not None and not replace:
            check_same(call, before, wanted)
        return _runs_already(call, replace=replace, detach=detach)
    known = settled(call, wanted)
    if isinstance(known, Planned):
        slug = known.workspace.slug if known.workspace is not None else None
        return agent_record.planned(call, machine={"hostname": known.hostname}, workspace={"slug": slug})
    if call.is_dry_run:
        return agent_record.planned(call)
    if detach:
        return agent_record.started(call, agent.start(call))
    from cmdop_cli import agent_foreground

    call.note(f"{known.hostname} in workspace {known.workspace_slug}; Ctrl-C stops the agent")
    if call.can_ask:
        call.note(_REACHING)
    agent_foreground.run(call, known, asks=call.can_ask)
    return None


def _runs_already(call: "Call", *, replace: bool, detach: bool) -> Record:
    if replace or not detach:
        if call.can_ask and not replace:
            call.note(_REACHING)
        raise Failure(
            ErrorCode.CONFLICT,
            "an agent runs already on this machine",
            hint=agent.replacing_line(call) if replace else "cmdop connect status",
        )
    call.note("an agent runs already on this machine")
    return agent_record.current(call)


@verb()
def daemon(
    ctx: Ctx,
    service: Annotated[bool, typer.Option("--service", help="a service manager looks after it")] = False,
    run_as: Annotated[
        str | None, typer.Option("--run-as", metavar="USER", help="whose rights remote work gets; needs root")
    ] = None,
) -> None:
    """Run the registered agent under a supervisor.

    What connect --detach and the service start. It asks nothing and registers nothing.

    cmdop connect daemon --service
    cmdop connect daemon --service --run-as deploy
    """
    from cmdop_cli import agent_foreground

    call = ctx.call
    known = agent.registered(call)
    account = None
    if run_as is not None:
        from cmdop_cli.agent_service import checked_account

        account = checked_account(run_as)
    agent_foreground.run(call, known, is_silent=not service, is_service=service, account=account)


@verb(mutates=True)
def start(ctx: Ctx) -> Record:
    """Start the agent in the background.

    Returns once its link is up. A link that does not come up is exit 8, and the agent goes on trying.

    cmdop connect start
    cmdop connect start --json
    """
    call = ctx.call
    agent.registered(call)
    if agent.is_running(call):
        call.note("an agent runs already on this machine")
        return agent_record.current(call)
    return agent_record.planned(call) if call.is_dry_run else agent_record.started(call, agent.start(call))


@verb(mutates=True)
def stop(ctx: Ctx) -> Record | None:
    """Stop the agent: the machine is offline at once.

    Sessions and commands that run on it end.

    cmdop connect stop
    cmdop connect stop --quiet
    """
    call = ctx.call
    if not agent.is_running(call):
        call.note("no agent runs on this machine")
    elif call.is_dry_run:
        call.note("an agent runs on this machine, and would be stopped")
    else:
        agent.stop(call)
        call.note("the agent has stopped; this machine is offline")
    return agent_record.stopped(call)


@verb(mutates=True)
def restart(ctx: Ctx) -> Record:
    """Stop the agent, if it runs, and start it again.

    Sessions and commands that run on the machine end.

    cmdop connect restart
    cmdop connect restart --json
    """
    call = ctx.call
    agent.registered(call)
    now = agent.status(call)
    if now is not None and now.service:
        from cmdop_cli.agent_service import restart_line

        raise Failure(
            ErrorCode.CONFLICT,
            "a service manager runs this agent",
            hint=restart_line(call, is_system=now.run_as is not None),
        )
    if call.is_dry_run:
        return agent_record.planned(call)
    if now is not None:
        agent.stop(call)
    return agent_record.started(call, agent.start(call))


@verb()
def status(ctx: Ctx) -> Record:
    """Show this machine's registration, link and gate.

    Also the workspace that your commands act in, which need not be the machine's. Without a running agent it shows
    what is registered, and exits with 3.

    cmdop connect status
    cmdop connect status --json
    """
    return agent_record.current(ctx.call)


@verb()
def logs(
    ctx: Ctx,
    lines: Annotated[int, typer.Option("--lines", min=0, help="how many of the last lines")] = LINES,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with new lines until Ctrl-C")] = False,
) -> None:
    """Print the agent's log.

    It is on this machine only, private, and turned over by size. Decisions of the gate are in
    cmdop connect permissions audit.

    cmdop connect logs --lines 200
    cmdop connect logs -f
    """
    from cmdop_cli.agent_log import printed

    printed(ctx.call, agent.log_path(ctx.call), lines, follow=follow)


@verb(mutates=True)
def approvals(
    ctx: Ctx,
    allow: Annotated[int | None, typer.Option("--allow", metavar="NUMBER", help="allow one waiting request")] = None,
    refuse: Annotated[int | None, typer.Option("--refuse", metavar="NUMBER", help="refuse one waiting request")] = None,
) -> Listing | None:
    """Answer what the gate asks about, as it comes.

    At a terminal it stays, shows each request and asks, until Ctrl-C; a request waits for a minute, and only while
    somebody is there. Elsewhere it lists what waits now.

    cmdop connect approvals
    cmdop connect approvals --allow 3
    """
    call = ctx.call
    if allow is not None and refuse is not None:
        raise usage("give --allow or --refuse, not both", hint="cmdop connect approvals --help")
    number = allow if allow is not None else refuse
    if number is not None and not call.is_dry_run:
        agent.ask(call, lambda local: local.answer(number, approved=allow is not None))
        call.note("allowed" if allow is not None else "refused")
        return None
    if call.can_ask and not call.output.is_json and not call.is_dry_run:
        from cmdop_cli.approvals import attend

        attend(call)
        return None
    waiting = agent.ask(call, lambda local: local.approvals())
    return Listing("approval", waiting, APPROVALS, identifier="number", empty="nothing waits for an answer")
