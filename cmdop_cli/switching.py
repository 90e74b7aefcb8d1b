"""Telling this machine's agent which workspace is active now; the choice falls with an agent that does not answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cmdop_cli.failures import Code, Failure
from cmdop_sdk.agent_socket import socket_path

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.state import Place
    from cmdop_cli.state_draft import Draft


NO_AGENT = "no agent runs on this machine"


def tell_agent(call: "Call", place: "Place", put_back: "Callable[[Draft], None]") -> str:
    """Send ``reload`` to the running agent; return what to say. One that does not answer: exit 75, as it was (D-20)."""
    if not socket_path(call.local.root).exists():  # before anything that speaks over sockets is loaded
        return NO_AGENT
    from cmdop_cli import agent
    from cmdop_sdk.errors import AgentNotRunning, CMDOPError

    try:
        agent.ask(call, lambda local: local.reload(workspace_id=place.id or "", slug=place.slug or ""))
    except AgentNotRunning:
        return NO_AGENT
    except CMDOPError as problem:
        call.change_state(put_back)
        raise Failure(
            Code.TIME_OUT,
            f"{problem.message}; the workspace that was active before is active again",
            hint="cmdop connect restart",
        ) from problem
    except BaseException:
        call.change_state(put_back)
        raise
    return "the agent knows, and connects anew; no session ends"
