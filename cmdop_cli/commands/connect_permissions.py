"""``cmdop connect permissions …``: the gate of this machine, moved by a person at it and by nobody else (D-25)."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli import agent
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.vocab import ErrorCode, GateMode, GateOperation, GateVerdict

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.local import Permissions

RULES = (Column("number", kind="number"), Column("verdict"), Column("operation"), Column("match"), Column("cwd"))
DECISIONS = (
    Column("at", kind="time"),
    Column("verdict"),
    Column("actor.label", "for", "aside"),
    Column("request", show=lambda request: _bare(str(request))),
    Column("reason", show=lambda reason: _bare(str(reason))),
)
_BARE = re.compile(rf"^{GateOperation.EXECUTE_COMMAND}\((.*)\)$|{GateOperation.EXECUTE_COMMAND} ", re.DOTALL)
OPERATION = typer.Argument(help=f"{', '.join(GateOperation)}; or both in one, as in 'read_file(~/notes/*)'")
MATCH = typer.Argument(help="the command's words (* is one, ** the rest) or the file's path; without: everything")
CWD = typer.Option("--cwd", metavar="PATH", help="where the command may run; without: the home folder")


@verb()
def list_rules(ctx: Ctx) -> Listing:
    """List the rules of this machine's gate.

    The order is floor, deny, ask, allow, and then the mode: default allows and asks about what is dangerous, strict
    denies, bypass allows. A rule that was put into the file by hand counts only where it is stricter.

    cmdop connect permissions list
    cmdop connect permissions list --json
    """
    return _listing(ctx.call, _known(ctx.call))


def _known(call: "Call") -> "Permissions":
    """Return what is in force: from the agent, or, while none runs, from the file."""
    if agent.is_running(call):
        return agent.ask(call, lambda local: local.permissions())
    from cmdop_agent.permissions import PermissionsFile
    from cmdop_sdk.local import GateRule, Permissions

    known = agent.registered(call)
    file = PermissionsFile(agent.folder(call), call.local.root, lambda: known.is_seeded)
    now = file.read()
    rules = [GateRule(str(each.verdict), str(each.operation), each.match, each.cwd) for each in now.rules]
    return Permissions(
        mode=str(now.mode), seeded=now.is_seeded, problem=now.problem or None, path=str(file.path), rules=rules
    )


def _listing(call: "Call", now: "Permissions") -> Listing:
    if now.problem:
        call.warn(now.problem)
    if not now.seeded:
        call.note("the workspace's defaults have not arrived yet: everything is denied until then")
    call.note(f"mode {now.mode}")
    rules = [
        {"number": number, "verdict": each.verdict, "operation": each.operation, "match": each.match, "cwd": each.cwd}
        for number, each in enumerate(now.rules, 1)
    ]
    extra = {"mode": now.mode, "seeded": now.seeded, "problem": now.problem, "path": now.path}
    return Listing("gate_rule", rules, RULES, identifier="number", empty="no rules", extra=extra, piped=RULES[1:])


@verb(mutates=True)
def allow(
    ctx: Ctx,
    operation: Annotated[str, OPERATION],
    match: Annotated[str | None, MATCH] = None,
    cwd: Annotated[str | None, CWD] = None,
) -> Listing:
    """Let an operation happen.

    The words of a command are compared one by one with what is asked for, never as text for a shell. A rule about
    everything asks first.

    cmdop connect permissions allow execute_command "git status"
    cmdop connect permissions allow read_file "/var/log/**"
    """
    rule = _rule(GateVerdict.ALLOW, operation, match, cwd)
    if not rule["match"] and rule["operation"] != GateOperation.SESSION and not ctx.call.is_dry_run:
        ctx.call.confirm(f"allow every {rule['operation']} to everybody who reaches this machine?")
    return _added(ctx.call, rule)


@verb(mutates=True)
def deny(
    ctx: Ctx,
    operation: Annotated[str, OPERATION],
    match: Annotated[str | None, MATCH] = None,
    cwd: Annotated[str | None, CWD] = None,
) -> Listing:
    """Forbid an operation, whatever else allows it.

    The program is meant however it is spelled: git also forbids /usr/bin/git.

    cmdop connect permissions deny execute_command "sudo **"
    cmdop connect permissions deny session
    """
    return _added(ctx.call, _rule(GateVerdict.DENY, operation, match, cwd))


@verb(mutates=True)
def ask(
    ctx: Ctx,
    operation: Annotated[str, OPERATION],
    match: Annotated[str | None, MATCH] = None,
    cwd: Annotated[str | None, CWD] = None,
) -> Listing:
    """Have a person at this machine asked first.

    Whoever is at the agent's terminal or at cmdop connect approvals answers within a minute; without anybody there it
    is denied at once.

    cmdop connect permissions ask execute_command "make deploy"
    cmdop connect permissions ask write_file "/etc/**"
    """
    return _added(ctx.call, _rule(GateVerdict.ASK, operation, match, cwd))


def _rule(verdict: str, operation: str, match: str | None, cwd: str | None) -> dict[str, str]:
    """Return the rule that the line means, checked as the agent will check it."""
    from cmdop_agent.rules import rule_of

    if match is None and operation.endswith(")") and "(" in operation:
        operation, _, match = operation[:-1].partition("(")
    try:
        rule = rule_of(verdict, operation.strip(), match or "", cwd or "")
    except ValueError as wrong:
        raise usage(str(wrong), hint=f"cmdop connect permissions {verdict} --help") from None
    return {"verdict": rule.verdict, "operation": rule.operation, "match": rule.match, "cwd": rule.cwd}


def _added(call: "Call", rule: dict[str, str]) -> Listing:
    if call.is_dry_run:
        return Listing("gate_rule", [rule], RULES[1:], identifier="match", extra={"planned": True})
    words = (rule["verdict"], rule["operation"], rule["match"])
    return _listing(call, agent.ask(call, lambda local: local.add_rule(*words, cwd=rule["cwd"])))


@verb(mutates=True)
def revoke(
    ctx: Ctx,
    rule: Annotated[str, typer.Argument(metavar="NUMBER|VERDICT", help="the rule's number in the list; or its words")],
    operation: Annotated[str | None, OPERATION] = None,
    match: Annotated[str | None, MATCH] = None,
    cwd: Annotated[str | None, CWD] = None,
) -> Listing:
    """Take a rule away.

    By its number in cmdop connect permissions list, or by its words, as it was made.

    cmdop connect permissions revoke 2
    cmdop connect permissions revoke allow execute_command "git status"
    """
    call = ctx.call
    chosen = _numbered(_known(call), rule) if operation is None else _rule(rule, operation, match, cwd)
    if call.is_dry_run:
        return Listing("gate_rule", [chosen], RULES[1:], identifier="match", extra={"planned": True})
    words = (chosen["verdict"], chosen["operation"], chosen["match"])
    return _listing(call, agent.ask(call, lambda local: local.revoke_rule(*words, cwd=chosen["cwd"])))


def _numbered(now: "Permissions", number: str) -> dict[str, str]:
    if not number.isdecimal():
        raise usage(
            "a rule is named by its number, or by verdict, operation and match", hint="cmdop connect permissions list"
        )
    if not 1 <= int(number) <= len(now.rules):
        raise Failure(ErrorCode.NOT_FOUND, f"there is no rule {number}", hint="cmdop connect permissions list")
    found = now.rules[int(number) - 1]
    return {"verdict": found.verdict, "operation": found.operation, "match": found.match, "cwd": found.cwd}


@verb(mutates=True)
def mode(ctx: Ctx, mode: Annotated[str | None, typer.Argument(help=", ".join(GateMode))] = None) -> Record:
    """Show or change what happens where no rule speaks.

    default allows, and asks about what is dangerous; strict denies; bypass allows. The floor holds in every mode.

    cmdop connect permissions mode
    cmdop connect permissions mode strict
    """
    call = ctx.call
    if mode is None:
        now = _known(call)
        if now.problem:
            call.warn(now.problem)
        return _mode(now.mode)
    if mode not in list(GateMode):
        raise usage(f"a mode is one of {', '.join(GateMode)}", hint="cmdop connect permissions mode strict")
    if call.is_dry_run:
        return _mode(mode, planned=True)
    if mode == GateMode.BYPASS:
        call.confirm(
            "let everything through the gate?",
            affects=["whoever may run commands in the workspace may then do anything here that this user may"],
        )
    return _mode(agent.ask(call, lambda local: local.set_mode(mode)).mode)


def _mode(word: str, *, planned: bool = False) -> Record:
    return Record("gate_mode", {"mode": word}, identifier="mode", planned=planned)


@verb()
def audit(
    ctx: Ctx,
    verdict: Annotated[str | None, typer.Option("--verdict", help="only allow, or only deny")] = None,
    lines: Annotated[int, typer.Option("--lines", min=1, help="how many of the last decisions")] = 50,
) -> Listing:
    """List what the gate decided, latest last.

    This machine's own record, in JSON lines beside its rules. The workspace's log has the same decisions.

    cmdop connect permissions audit --verdict deny
    cmdop connect permissions audit --lines 500 --json
    """
    from cmdop_agent.admission import LOG_FILE

    if verdict is not None and verdict not in ("allow", "deny"):
        raise usage("a decision is allow or deny", hint="cmdop connect permissions audit --verdict deny")
    path = agent.folder(ctx.call) / LOG_FILE
    items = [
        each
        for file in (path.with_suffix(".old.jsonl"), path)
        for each in _decisions(agent.tail(file, 100_000))
        if verdict in (None, each["verdict"])
    ]
    return Listing("gate_decision", items[-lines:], DECISIONS, identifier="request", empty="the gate was not asked yet")


def _bare(text: str) -> str:
    """Return a request or reason without the operation that most are: a terminal has room for what was asked."""
    return _BARE.sub(lambda found: found[1] or "", text)


def _decisions(lines: list[str]) -> "list[dict[str, Any]]":
    import json

    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the piece of a line at the beginning of what was read
        if isinstance(entry, dict) and "verdict" in entry:
            found.append(entry)
    return found
