"""What a workspace's defaults for new machines may hold. Pure; applied once, at registration (D-25)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cmdop_server.access.errors import Invalid
from cmdop_server.texts import has_control_characters
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict

TAGS = 20
TAG_KEY = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
TAG_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
PATTERN_LENGTH = 120
_PATTERN = re.compile(r"(?:\$\{(?:hostname|short_id)\}|[A-Za-z0-9.-])+")
RULES = 200
MATCH_LENGTH = 500


def checked_tags(tags: Mapping[str, str], *, field: str = "auto_tags") -> dict[str, str]:
    """Return at most 20 tags: keys of lower-case letters, digits and ``._/-``, values of letters, digits, ``._-``."""
    if len(tags) > TAGS:
        raise Invalid(f"at most {TAGS} tags", field=field)
    for key, value in tags.items():
        if not (isinstance(key, str) and TAG_KEY.fullmatch(key)):
            raise Invalid("a tag's key is 1 to 63 lower-case letters, digits, dots, dashes …", field=field)
        if not (isinstance(value, str) and TAG_VALUE.fullmatch(value)):
            raise Invalid("a tag's value is 1 to 63 letters, digits, dots and dashes", field=field)
    return dict(tags)


def checked_name_pattern(pattern: str) -> str:
    """Return a pattern of ``${hostname}``, ``${short_id}`` and characters of a host name.

    One placeholder at least: machines' names are unique in a workspace (D-5).
    """
    if len(pattern) > PATTERN_LENGTH or not _PATTERN.fullmatch(pattern):
        raise Invalid(
            "a name pattern is made of ${hostname}, ${short_id}, letters, digits, dots and dashes",
            field="name_pattern",
        )
    if "$" not in pattern:
        raise Invalid("a name pattern needs ${hostname} or ${short_id}: names are unique", field="name_pattern")
    return pattern


def checked_gate_mode(mode: str) -> GateMode:
    """Return the gate mode that new machines are seeded with (D-25)."""
    if mode not in list(GateMode):
        raise Invalid(f"unknown gate mode; choose one of {', '.join(GateMode)}", field="gate_mode")
    return GateMode(mode)


def checked_gate_rules(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return at most 200 rules, each exactly ``{"kind", "operation", "match"}`` (D-25)."""
    if len(rules) > RULES:
        raise Invalid(f"at most {RULES} gate rules", field="gate_rules")
    return [_checked_rule(rule) for rule in rules]


def _checked_rule(rule: Mapping[str, Any]) -> dict[str, str]:
    if rule.keys() != {"kind", "operation", "match"}:
        raise Invalid("a gate rule has kind, operation and match, nothing else", field="gate_rules")
    kind, operation, match = rule["kind"], rule["operation"], rule["match"]
    if kind not in list(GateVerdict):
        raise Invalid(f"a gate rule's kind is one of {', '.join(GateVerdict)}", field="gate_rules")
    if operation not in list(GateOperation):
        raise Invalid(f"a gate rule's operation is one of {', '.join(GateOperation)}", field="gate_rules")
    if not isinstance(match, str) or not 1 <= len(match) <= MATCH_LENGTH or has_control_characters(match):
        raise Invalid(f"a gate rule's match is 1 to {MATCH_LENGTH} characters on one line", field="gate_rules")
    return {"kind": str(kind), "operation": str(operation), "match": match}
