"""The verbs of the control socket: what ``cmdop connect …`` and ``AsyncCMDOPClient.local()`` can ask of the agent."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from cmdop_agent.control import Handler, Refused
from cmdop_agent.rules import Operation, Rule, Verdict, check_match
from cmdop_wire.frames import VERSION
from cmdop_wire.vocab import GateMode

if TYPE_CHECKING:
    from cmdop_agent.daemon import Agent

Verb = Callable[["Agent", dict[str, Any]], dict[str, Any]]


def status(agent: "Agent", _: dict[str, Any]) -> dict[str, Any]:
    """Return registration, link, active workspace, gate and versions."""
    registration, link = agent.registration, agent.link.state
    now = agent.permissions.read()
    return {
        "machine": {"id": registration.machine_id, "hostname": registration.hostname, "name": registration.name},
        "workspace": {"id": registration.workspace_id, "slug": registration.workspace_slug},
        "active_workspace": agent.active_workspace,
        "server": registration.server,
        "link": {
            "up": link.is_up,
            "seconds": round(monotonic() - link.since, 1),
            "node": link.node,
            "problem": link.last_problem,
            "next_attempt": None if link.next_attempt is None else max(0.0, round(link.next_attempt - monotonic(), 1)),
        },
        "channels": len(agent.channels),
        "gate": {"mode": str(now.mode), "seeded": now.is_seeded, "rules": len(now.rules), "problem": now.problem},
        "versions": {"agent": agent.machine.version, "server": link.server_version, "protocol": VERSION},
        "directory": str(agent.directory),
    }


def reload(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Note the active workspace and dial again; no stream ends (D-20)."""
    workspace = asked.get("active_workspace")
    if isinstance(workspace, dict):
        agent.active_workspace = {name: str(workspace[name]) for name in ("id", "slug") if name in workspace}
    agent.link.dial_now()
    return {"active_workspace": agent.active_workspace}


def stop(agent: "Agent", _: dict[str, Any]) -> dict[str, Any]:
    """End the agent gracefully: its machine is offline at once."""
    agent.stopping.set()
    return {}


def permissions(agent: "Agent", _: dict[str, Any]) -> dict[str, Any]:
    """Return mode, rules and, if strict is in force against the file, why."""
    now = agent.permissions.read()
    return {
        "mode": str(now.mode),
        "seeded": now.is_seeded,
        "problem": now.problem,
        "path": str(agent.permissions.path),
        "rules": [
            {"verdict": str(rule.verdict), "operation": str(rule.operation), "match": rule.match} for rule in now.rules
        ],
    }


def add_rule(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Add one rule; an equal one is not added twice."""
    rule = _rule(asked)
    now = _settled(agent)
    if rule not in now.rules:
        agent.permissions.write(replace(now, rules=(*now.rules, rule), problem=""))
    return permissions(agent, asked)


def revoke_rule(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Take one rule away."""
    rule = _rule(asked)
    now = _settled(agent)
    if rule not in now.rules:
        raise Refused("not_found", f"there is no rule «{rule}»", "cmdop connect permissions list")
    agent.permissions.write(replace(now, rules=tuple(each for each in now.rules if each != rule), problem=""))
    return permissions(agent, asked)


def set_mode(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Put the gate in another mode."""
    try:
        mode = GateMode(asked.get("mode", ""))
    except ValueError:
        raise Refused("invalid", f"the mode is one of {', '.join(GateMode)}") from None
    agent.permissions.write(replace(_settled(agent), mode=mode, problem=""))
    return permissions(agent, asked)


def approvals(agent: "Agent", _: dict[str, Any]) -> dict[str, Any]:
    """Return the requests that wait for a person."""
    return {
        "waiting": [
            {
                "number": each.number,
                "actor": each.actor,
                "request": str(each.request),
                "operation": str(each.request.operation),
                "asked_at": each.asked_at.isoformat().replace("+00:00", "Z"),
            }
            for each in agent.admission.waiting.values()
        ]
    }


def attend(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Say that a person looks at the requests now (``here`` true), or no longer."""
    agent.admission.approvers = max(0, agent.admission.approvers + (1 if asked.get("here") is True else -1))
    return approvals(agent, asked)


def answer(agent: "Agent", asked: dict[str, Any]) -> dict[str, Any]:
    """Approve or refuse one waiting request."""
    number, approved = asked.get("number"), asked.get("approved")
    if not isinstance(number, int) or not isinstance(approved, bool):
        raise Refused("invalid", "an answer has a number and approved true or false")
    if not agent.admission.answer(number, approved=approved):
        raise Refused("not_found", "that request does not wait any more", "cmdop connect approvals")
    return {"number": number, "approved": approved}


def _rule(asked: dict[str, Any]) -> Rule:
    try:
        rule = Rule(
            Verdict(asked.get("verdict", "")), Operation(asked.get("operation", "")), str(asked.get("match", ""))
        )
        check_match(rule)
    except ValueError as error:
        raise Refused("invalid", str(error), f"an operation is one of {', '.join(Operation)}") from None
    return rule


def _settled(agent: "Agent") -> Any:
    """Return what is in force, which a change starts from; a broken file is replaced by strict and no rules."""
    return replace(agent.permissions.read(), is_seeded=True)


def _bound(agent: "Agent", named: Mapping[str, Verb]) -> dict[str, Handler]:
    def bind(verb: Verb) -> Handler:
        async def run(asked: dict[str, Any]) -> dict[str, Any]:
            return verb(agent, asked)

        return run

    return {name: bind(verb) for name, verb in named.items()}


def verbs(agent: "Agent") -> dict[str, Handler]:
    """Return the verbs that anyone of this user may use."""
    named: dict[str, Verb] = {
        "status": status,
        "reload": reload,
        "stop": stop,
        "permissions": permissions,
        "approvals": approvals,
    }
    return _bound(agent, named)


def gate_verbs(agent: "Agent") -> dict[str, Handler]:
    """Return the verbs that move the gate: not for descendants of the agent (D-25)."""
    named: dict[str, Verb] = {
        "add_rule": add_rule,
        "revoke_rule": revoke_rule,
        "set_mode": set_mode,
        "attend": attend,
        "answer": answer,
    }
    return _bound(agent, named)
