"""``cmdop mode``: which deployment commands talk to."""

from typing import Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Column, Record
from cmdop_cli.state_shape import MODES


@verb()
def mode(
    ctx: Ctx, new: Annotated[str | None, typer.Argument(metavar="MODE", help="prod, dev or toggle")] = None
) -> Record:
    """Show or change the mode: prod or dev.

    Each mode has its own sign-ins and its own active workspace; changing it touches neither.

    cmdop mode
    cmdop mode toggle
    """
    call = ctx.call
    resolution = call.resolution
    if resolution.credential_problem is not None and resolution.key is None:
        raise resolution.credential_problem
    if new is None:
        return _result(resolution.mode, resolution.mode_source)
    if new not in (*MODES, "toggle"):
        raise usage(f"the mode is one of {', '.join(MODES)}, or toggle", hint="cmdop mode toggle")
    call.check_may_change()
    call.change_state(lambda draft: draft.use_mode(_other(draft.state.mode) if new == "toggle" else new))
    chosen = call.state.mode
    call.note(f"the mode is {chosen} now")
    if call.resolution.mode != chosen:
        call.warn(f"{call.resolution.mode_source} hides it: commands here still use {call.resolution.mode}")
    elif call.state.identity(call.resolution.profile, chosen) is None:
        call.note(f"nobody is signed in there yet: cmdop login{' --dev' if chosen == 'dev' else ''}")
    return _result(chosen, "saved")


def _other(mode: str) -> str:
    return MODES[1 - MODES.index(mode)]


def _result(mode: str, source: str) -> Record:
    shown = (Column("mode"), Column("source", "from"))
    return Record("mode", {"mode": mode, "source": source}, shown, identifier="mode", piped=shown[:1])
