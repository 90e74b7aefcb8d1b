"""``cmdop workspace settings show | set``: the workspace's own fields and what new machines start with."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Column, Record
from cmdop_wire.vocab import GateMode

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import Onboarding, Workspace

OWN = ("name", "slug", "description", "timezone", "locale")
ONBOARDING = ("auto_tags", "name_pattern", "gate_mode", "gate_rules")
COLUMNS = tuple(Column(name, name.replace("_", " ")) for name in (*OWN, *ONBOARDING))


@verb(needs="workspace")
def show(ctx: Ctx) -> Record:
    """Show what belongs to the workspace.

    Its names, and what a new machine starts with: tags, the pattern of its name, the mode and rules of its gate.

    cmdop workspace settings
    cmdop workspace settings show --json
    """
    return _shown(*ctx.call.ask(_asked))


@verb(needs="workspace", mutates=True)
def change(
    ctx: Ctx,
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE", help=f"keys: {', '.join((*OWN, *ONBOARDING))}")],
) -> Record:
    """Change what belongs to the workspace.

    auto_tags is a list such as env:prod,role:web, name_pattern is made of ${hostname} and ${short_id}, gate_mode is
    default, strict or bypass, gate_rules is a JSON list. What a machine starts with changes for new machines only.

    cmdop workspace settings set timezone=Europe/Berlin gate_mode=strict
    cmdop workspace settings set auto_tags=env:prod,role:web --dry-run
    """
    changes = _changes(pairs)
    if ctx.call.is_dry_run:
        return _shown(*ctx.call.ask(_asked), changes)
    return _changed(ctx.call, changes)


async def _asked(client: "AsyncCMDOPClient") -> "tuple[Workspace, Onboarding]":
    return await client.workspace.show(), await client.workspace.onboarding()


def _changed(call: "Call", changes: dict[str, Any]) -> Record:
    """Send each half to where it is kept; the first refusal ends it, and what was done before is told."""
    from cmdop_cli.commands.workspace_life import changed_workspace

    own = {name: value for name, value in changes.items() if name in OWN}
    defaults = {name: value for name, value in changes.items() if name in ONBOARDING}
    if defaults:
        call.ask(lambda client: client.workspace.update_onboarding(**defaults))
        call.note(f"changed {', '.join(defaults)} of {call.resolution.why}")
    if own:
        changed_workspace(call, own)
    return _shown(*call.ask(_asked))


def _shown(workspace: "Workspace", defaults: "Onboarding", changes: dict[str, Any] | None = None) -> Record:
    fields = {
        "id": workspace.id,
        **{name: getattr(workspace, name) for name in OWN},
        **{name: getattr(defaults, name) for name in ONBOARDING},
        **(changes or {}),
    }
    return Record("settings", fields, columns=COLUMNS, identifier="slug", planned=changes is not None)


def _changes(pairs: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in (*OWN, *ONBOARDING):
            raise usage(f"{pair!r} is no KEY=VALUE; keys are {', '.join((*OWN, *ONBOARDING))}")
        if name in changes:
            raise usage(f"{name} was given twice", hint="give it once")
        changes[name] = _read(name, value)
    return changes


def _read(name: str, value: str) -> Any:
    if name == "auto_tags":
        return _tags(value)
    if name == "gate_mode" and value not in tuple(GateMode):
        raise usage(f"gate_mode is one of {', '.join(GateMode)}")
    if name == "gate_rules":
        try:
            rules = json.loads(value)
        except (ValueError, RecursionError):
            rules = None
        if not isinstance(rules, list):
            raise usage("gate_rules is a JSON list", hint="cmdop workspace settings show --json --fields gate_rules")
        return rules
    return value


def _tags(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        # The mark was an equals sign at first; no key and no value has either.
        key, colon, value = part.replace("=", ":", 0 if ":" in part else 1).partition(":")
        if not colon or key in tags:
            raise usage(f"{part!r}: auto_tags is a list such as env:prod,role:web, each key once")
        tags[key] = value
    return tags
