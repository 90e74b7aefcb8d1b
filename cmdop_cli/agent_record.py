"""This machine's agent as an object: what ``connect status`` shows, and what starting it answers."""

from typing import TYPE_CHECKING, Any

from cmdop_cli import agent
from cmdop_cli.results import Column, Record
from cmdop_wire.vocab import ErrorCode, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmdop_cli.context import Call
    from cmdop_sdk.local import AgentStatus

_PIPED = (
    Column("running"),
    Column("machine.hostname", "machine"),
    Column("workspace.slug", "workspace"),
    Column("link.up", "link up"),
    Column("gate.mode", "gate"),
)
_RUNNING = (
    *_PIPED,
    Column("machine.name", "name"),
    Column("machine.id", "id", "id"),
    Column("active_workspace.slug", "active workspace"),
    Column("server"),
    Column("link.problem", "problem"),
    Column("link.node", "relay node"),
    Column("gate.problem", "gate problem"),
    Column("channels", "streams"),
    Column("versions.agent", "agent version"),
    Column("versions.server", "server version"),
    Column("works_as", "runs work as"),
    Column("pid"),
    Column("started_at", "since", "time"),
    Column("log"),
)
# Of an agent that does not run; everything else would be a dash.
_OFF = tuple(each for each in _RUNNING if each.title in ("RUNNING", "MACHINE", "WORKSPACE", "ACTIVE WORKSPACE", "LOG"))


def current(call: "Call") -> Record:
    """Return how this machine's agent is, and say what to do where none runs (exit 3)."""
    now = agent.status(call)
    if now is not None:
        if now.link.problem_code == ErrorCode.DUPLICATE_CREDENTIAL:
            copied = agent.copied(call, now)
            call.warn(copied.message)
            call.note(f"to make a machine of its own of it: cmdop connect stop && {copied.hint}")
        said = {"link.problem": now.link.problem, "gate.problem": now.gate.problem}
        return _record(_fields(call, now), [each for each in _RUNNING if said.get(each.name, "") is not None])
    if agent.registration(call) is None:
        call.note("this machine is not registered; to do so: cmdop connect")
    else:
        call.note("no agent runs on this machine; to start it: cmdop connect start")
    return _record(_fields(call, None), _OFF, exit_code=Exit.NOT_FOUND)


def planned(call: "Call", **registered: dict[str, Any]) -> Record:
    """Return the agent that ``--dry-run`` would have started; ``registered`` is what it would have registered first."""
    return _record({**_fields(call, None), **registered}, _OFF, planned=True)


def stopped(call: "Call") -> Record | None:
    """Return an agent that does not run, or would not; for programs only, since a person has read a sentence."""
    return _record(_fields(call, None), (), planned=call.is_dry_run) if call.output.is_json else None


def started(call: "Call", now: "AgentStatus") -> Record:
    """Return an agent that has just been started; a person gets two lines in place of the whole table."""
    call.note(f"{now.machine.hostname} is online in workspace {now.workspace.slug}")
    call.note("to see how it is: cmdop connect status; to stop it: cmdop connect stop")
    return _record(_fields(call, now), ())


def _record(
    fields: dict[str, Any], columns: "Sequence[Column]", *, planned: bool = False, exit_code: int = 0
) -> Record:
    return Record(
        "agent", fields, columns, identifier="machine.hostname", planned=planned, piped=_PIPED, exit_code=exit_code
    )


def _fields(call: "Call", now: "AgentStatus | None") -> dict[str, Any]:
    """Return everything that is known of the agent, from itself or, while none runs, from its registration."""
    from cmdop_cli.version import version
    from cmdop_sdk.local import AgentStatus

    own: dict[str, Any] = {
        "running": now is not None,
        "registered": True,
        "log": str(agent.log_path(call)),
        "command_line": version(),
    }
    if now is not None:
        told = {name: getattr(now, name) for name in now.__struct_fields__}
        # No one else's agent answers us: without --run-as, whose rights it has is who we are.
        return {**own, **told, "works_as": now.run_as or agent.own_user()}
    own["active_workspace"] = agent.active_workspace(call)
    fields: dict[str, Any] = {**dict.fromkeys(AgentStatus.__struct_fields__), "works_as": None, **own}
    known = agent.registration(call)
    if known is None:
        return {**fields, "registered": False}
    return {
        **fields,
        "machine": {"id": known.machine_id, "hostname": known.hostname, "name": known.name},
        "workspace": {"id": known.workspace_id, "slug": known.workspace_slug},
        "server": known.server,
        "directory": str(agent.folder(call)),
    }
