"""Which workspace is in force: show it, change it. Local, but for what the cache cannot answer."""

from typing import Annotated

import typer

from cmdop_cli import choosing
from cmdop_cli.context import Ctx
from cmdop_cli.current import current_result
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Record


@verb()
def current(
    ctx: Ctx,
    why: Annotated[bool, typer.Option("--why", help="show every source and which one won")] = False,
    check: Annotated[bool, typer.Option("--check", help="ask the server whether it is so")] = False,
) -> Record:
    """Show the workspace that commands act in.

    Local and fast: nothing is asked over the network unless --check is given. With --why, every source is shown in
    its order: flag, variable, key, directory binding, active workspace, account default.

    cmdop workspace current
    cmdop workspace current --why
    """
    resolution = ctx.call.resolution
    if resolution.problem is not None:
        raise resolution.problem
    if check:
        return current_result(resolution, choosing.checked(ctx.call), why=why)
    if resolution.must_verify:
        raise choosing.undecided(resolution)
    return current_result(resolution, why=why)


@verb(mutates=True)
def use(
    ctx: Ctx,
    slug: Annotated[str | None, typer.Argument(help="slug or id; - is the previous one")] = None,
    none: Annotated[bool, typer.Option("--none", help="choose no workspace, not even the default")] = False,
) -> Record:
    """Make a workspace the active one.

    Writes this profile's and mode's choice to the local state and nothing else: no token is renewed, no agent is
    told, and other shells with their own CMDOP_WORKSPACE keep theirs.

    cmdop workspace use acme
    cmdop workspace use -
    """
    if (slug is None) is not none:
        raise usage("name one workspace, or give --none", hint="cmdop workspace list")
    return choosing.choose(ctx.call, slug)


@verb(mutates=True)
def switch(ctx: Ctx, slug: Annotated[str, typer.Argument(help="slug or id; - is the previous one")]) -> Record:
    """Make a workspace the active one, and tell the agent.

    The same as use; then this machine's running agent, if there is one, is told and connects anew, without ending
    anybody's session. The machine itself stays in its workspace. An agent that does not answer within 5 seconds
    leaves everything as it was (exit 75).

    cmdop workspace switch acme
    cmdop workspace switch -
    """
    return choosing.choose(ctx.call, slug, tells_agent=True)
