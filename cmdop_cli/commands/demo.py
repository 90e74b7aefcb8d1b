"""``cmdop demo``: the product does its main job for real, on a throw-away control plane."""

from typing import Annotated

import typer

from cmdop_cli.declare import verb


@verb()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="keep the temporary directory and say where it is")] = False,
) -> None:
    """Watch the product at work on a throw-away server.

    Starts a control plane on a free port in a temporary directory and plays, with real commands, two tenants,
    sign-in, switching, keys, two machines with a terminal that is shared, moved and revoked, and the audit trail.
    It leaves nothing behind.

    cmdop demo
    cmdop demo --keep
    """
    from cmdop_cli.commands.server import check_installed
    from cmdop_cli.demo import run_demo

    check_installed()
    run_demo(keep=keep)
