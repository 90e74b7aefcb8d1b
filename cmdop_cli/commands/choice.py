"""Which workspace is in force: show it, change it. Local, but for what the cache cannot answer."""

from typing import Annotated

import typer

from cmdop_cli.context import Call, Ctx
from cmdop_cli.current import current_result
from cmdop_cli.declare import verb
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
    call: Call = ctx.call
    resolution = call.resolution
    if resolution.problem is not None:
        raise resolution.problem
    place = call.workspace() if check else None
    return current_result(resolution, place, why=why)
