"""``cmdop connect service install | uninstall``: the agent starts with the machine or with its user's first login."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli import agent, agent_service
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.results import Column, Record, Text

if TYPE_CHECKING:
    from cmdop_cli.agent_service import Service

RUN_AS = typer.Option("--run-as", metavar="USER", help="a system service, whose remote work has this user's rights")
_SHOWN = (Column("manager"), Column("path"))


@verb(mutates=True)
def install(ctx: Ctx, run_as: Annotated[str | None, RUN_AS] = None) -> Record | Text:
    """Have the agent started by the service manager.

    Writes a systemd or launchd definition and says which lines make it take effect; it runs none of them. With
    --run-as (as root, on Linux) the agent is a system service and everything that it starts or touches for others has
    that user's rights: then the gate is a boundary, because its files are out of their reach.

    cmdop connect service install
    cmdop connect service install --run-as deploy
    """
    call = ctx.call
    agent.registered(call)
    if run_as is not None:
        agent_service.checked_account(run_as)
    made = agent_service.service(call, run_as)
    if call.is_dry_run:
        return Text(made.text.splitlines(), "service", [{**_fields(made), "text": made.text, "planned": True}])
    call.confirm(f"write {made.path}?", affects=["the agent then starts by itself"])
    agent_service.write(made)
    call.note(f"wrote {made.path}; to take it up, run:")
    for line in made.start:
        call.note(f"  {line}")
    return Record("service", _fields(made), _SHOWN, identifier="path")


@verb(mutates=True)
def uninstall(
    ctx: Ctx, system: Annotated[bool, typer.Option("--system", help="the one that was installed with --run-as")] = False
) -> Record:
    """Remove what install wrote.

    A definition that cmdop did not write is left alone. The service manager goes on with what it has started until it
    is told otherwise.

    cmdop connect service uninstall
    cmdop connect service uninstall --system
    """
    call = ctx.call
    made = agent_service.service(call, "root" if system else None)
    if call.is_dry_run:
        return Record("service", _fields(made), _SHOWN, identifier="path", planned=True)
    if agent_service.remove(made):
        call.note(f"removed {made.path}; to stop what still runs:")
        for line in made.end:
            call.note(f"  {line}")
    else:
        call.note(f"there is no {made.path}")
    return Record("service", _fields(made), _SHOWN, identifier="path")


def _fields(made: "Service") -> dict[str, object]:
    return {"manager": made.manager, "path": str(made.path), "start": list(made.start), "end": list(made.end)}
