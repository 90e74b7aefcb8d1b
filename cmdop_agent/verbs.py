"""The verbs of the control socket: what ``cmdop connect …`` and ``AsyncCMDOPClient.local()`` can ask of the agent."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from cmdop_agent.control import Caller, Handler, Refused
from cmdop_agent.permissions import Permissions
from cmdop_agent.rules import Rule, rule_of
from cmdop_wire.frames import VERSION
from cmdop_wire.vocab import ErrorCode, GateMode, GateOperation

if TYPE_CHECKING:
    from cmdop_agent.daemon import Agent

Asked = dict[str, Any]
Answer = dict[str, Any]
Verb = Callable[["Agent", Asked, Caller], Answer | Awaitable[Answer]]
LONGEST_WAIT = 30.0  # seconds that a question about approvals may wait for news


def status(agent: "Agent", _: Asked, __: Caller) -> Answer:
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
            "refused": link.is_refused,
            "seconds": round(monotonic() - link.since, 1),
            "node": link.node or None,
            "problem": link.last_problem or None,
            "problem_code": link.problem_code or None,
            "next_attempt": None if link.next_attempt is None else max(0.0, round(link.next_attempt - monotonic(), 1)),
        },
        "channels": len(agent.channels),
        "gate": {
            "mode": str(now.mode),
            "seeded": now.is_seeded,
            "rules": len(now.rules),
            "problem": now.problem or None,
            "approvers": agent.admission.approvers,
        },
        "versions": {"agent": agent.machine.version, "server": link.server_version or None, "protocol": VERSION},
        "pid": os.getpid(),
        "started_at": agent.started_at,
        "run_as": agent.account.name if agent.account is not None else None,
        "service": agent.is_service,
        "directory": str(agent.directory),
    }


def reload(agent: "Agent", asked: Asked, _: Caller) -> Answer:
    """Note the active workspace and dial again; no stream ends (D-20)."""
    workspace = asked.get("active_workspace")
    if isinstance(workspace, dict):
        agent.active_workspace = {name: str(workspace[name]) for name in ("id", "slug") if workspace.get(name)}
    elif workspace is None and "active_workspace" in asked:
        agent.active_workspace = None
    agent.link.dial_now()
    return {"active_workspace": agent.active_workspace}


def stop(agent: "Agent", _: Asked, __: Caller) -> Answer:
    """End the agent gracefully: its machine is offline at once."""
    agent.stopping.set()
    return {"pid": os.getpid()}


def permissions(agent: "Agent", _: Asked, __: Caller) -> Answer:
    """Return mode, rules and, where strict is in force against the file, why."""
    now = agent.permissions.read()
    return {
        "mode": str(now.mode),
        "seeded": now.is_seeded,
        "problem": now.problem or None,
        "path": str(agent.permissions.path),
        "rules": [
            {"verdict": str(rule.verdict), "operation": str(rule.operation), "match": rule.match, "cwd": rule.cwd}
            for rule in now.rules
        ],
    }


def add_rule(agent: "Agent", asked: Asked, caller: Caller) -> Answer:
    """Add one rule; an equal one is not added twice."""
    rule, now = _rule(asked), agent.permissions.read()
    if rule not in now.rules or now.problem:
        rules = tuple(each for each in now.rules if each != rule)
        _put_in_force(agent, replace(now, rules=(*rules, rule)))
    return permissions(agent, asked, caller)


def revoke_rule(agent: "Agent", asked: Asked, caller: Caller) -> Answer:
    """Take one rule away."""
    rule, now = _rule(asked), agent.permissions.read()
    if rule not in now.rules:
        raise Refused(ErrorCode.NOT_FOUND, f"there is no rule «{rule}»", "cmdop connect permissions list")
    _put_in_force(agent, replace(now, rules=tuple(each for each in now.rules if each != rule)))
    return permissions(agent, asked, caller)


def set_mode(agent: "Agent", asked: Asked, caller: Caller) -> Answer:
    """Put the gate in another mode."""
    try:
        mode = GateMode(asked.get("mode", ""))
    except ValueError:
        raise Refused(ErrorCode.INVALID, f"the mode is one of {', '.join(GateMode)}") from None
    _put_in_force(agent, replace(agent.permissions.read(), mode=mode))
    return permissions(agent, asked, caller)


async def approvals(agent: "Agent", asked: Asked, _: Caller) -> Answer:
    """Return the requests that wait for a person; with ``wait``, as soon as they differ from ``known`` numbers."""
    wait, known = asked.get("wait", 0), asked.get("known", [])
    if isinstance(wait, int | float) and wait > 0 and isinstance(known, list):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(float(wait), LONGEST_WAIT)):
                while sorted(agent.admission.waiting) == sorted(known):
                    await agent.admission.changed()
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


def attend(agent: "Agent", _: Asked, caller: Caller) -> Answer:
    """Note that a person looks at the requests for as long as this connection stays."""

    def leave() -> None:
        agent.admission.approvers -= 1

    if "attend" not in caller.leaving:
        caller.leaving["attend"] = leave
        agent.admission.approvers += 1
    return {"approvers": agent.admission.approvers}


def answer(agent: "Agent", asked: Asked, _: Caller) -> Answer:
    """Approve or refuse one waiting request."""
    number, approved = asked.get("number"), asked.get("approved")
    if not isinstance(number, int) or not isinstance(approved, bool):
        raise Refused(ErrorCode.INVALID, "an answer has a number and approved true or false")
    if not agent.admission.answer(number, approved=approved):
        raise Refused(ErrorCode.NOT_FOUND, "that request does not wait any more", "cmdop connect approvals")
    return {"number": number, "approved": approved}


def _rule(asked: Asked) -> Rule:
    try:
        return rule_of(
            asked.get("verdict"), asked.get("operation"), asked.get("match") or "", asked.get("cwd") or ""
        )  # fmt: skip
    except ValueError as error:
        raise Refused(ErrorCode.INVALID, str(error), f"an operation is one of {', '.join(GateOperation)}") from None


def _put_in_force(agent: "Agent", permissions: Permissions) -> None:
    """Write what a change makes of ``permissions.read()``, which has nothing in it that another hand loosened."""
    agent.permissions.write(replace(permissions, problem=""))
    agent.beat()


def _bound(agent: "Agent", named: Mapping[str, Verb]) -> dict[str, Handler]:
    def bind(verb: Verb) -> Handler:
        async def run(asked: Asked, caller: Caller) -> Answer:
            answered = verb(agent, asked, caller)
            return answered if isinstance(answered, dict) else await answered

        return run

    return {name: bind(verb) for name, verb in named.items()}


def verbs(agent: "Agent") -> dict[str, Handler]:
    """Return the verbs that anything of this user may use."""
    named: dict[str, Verb] = {
        "status": status,
        "reload": reload,
        "permissions": permissions,
        "approvals": approvals,
    }
    return _bound(agent, named)


def own_verbs(agent: "Agent") -> dict[str, Handler]:
    """Return the verbs for people at the machine: those that move the gate (D-25), and the end of the agent."""
    named: dict[str, Verb] = {
        "stop": stop,
        "add_rule": add_rule,
        "revoke_rule": revoke_rule,
        "set_mode": set_mode,
        "attend": attend,
        "answer": answer,
    }
    return _bound(agent, named)
