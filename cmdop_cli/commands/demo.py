"""``cmdop demo``: the product does its main job for real, on a throw-away control plane."""

from typing import Annotated

import typer

from cmdop_cli.declare import verb


@verb()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="keep the temporary directory and say where it is")] = False,
) -> None:
    """Watch the product at work on a throw-away server.

    Starts a control plane on a free port in a temporary directory, plays two tenants, sign-in, switching, keys,
    a refusal and the audit trail with real commands, and leaves nothing behind.

    cmdop demo
    cmdop demo --keep
    """
    from cmdop_cli.commands.server import check_installed
    from cmdop_cli.demo import run_demo

    check_installed()
    run_demo(keep=keep)
