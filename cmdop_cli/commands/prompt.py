"""``cmdop prompt``: a piece of a shell prompt. Almost always answered by ``fast.py``, before this file is imported."""

from cmdop_cli.context import Ctx
from cmdop_cli.current import prompt_result
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure
from cmdop_cli.results import Text
from cmdop_sdk.errors import LocalStateError


@verb(lenient=True)
def prompt(ctx: Ctx) -> Text:
    """Show the workspace as a piece of a shell prompt.

    The slug, followed by the mode unless it is prod; a question mark where something is wrong, and nothing at all
    where no workspace is chosen. Never fails, never waits.

    cmdop prompt
    PS1='$(cmdop prompt) \\$ '
    """
    try:
        return prompt_result(ctx.call.resolution)
    except (
        Failure,
        LocalStateError,
    ):  # a prompt must not fail whatever the state of the files: `cmdop status` explains
        return Text(["?"], "prompt")
