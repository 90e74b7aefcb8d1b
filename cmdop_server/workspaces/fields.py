"""What the fields of a workspace may hold. Pure: text in, the same text out, or ``Invalid``.

Text is stored exactly as given, trimmed; making it safe to show is the business of whoever shows it (D-24).
"""

import re
from functools import cache
from zoneinfo import available_timezones

from cmdop_server.access.errors import Invalid
from cmdop_server.texts import has_control_characters
from cmdop_server.workspaces.plans import TEAM_PLANS
from cmdop_wire.vocab import Plan, Role, parse_role

NAME_LENGTH = 120
DESCRIPTION_LENGTH = 500
LOCALE_LENGTH = 20
_LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")  # the usual part of BCP 47


def checked_name(name: str) -> str:
    """Return a workspace's name, trimmed: 1 to 120 characters on one line."""
    stripped = name.strip()
    if not 1 <= len(stripped) <= NAME_LENGTH:
        raise Invalid(f"a name has 1 to {NAME_LENGTH} characters", field="name")
    if has_control_characters(stripped):
        raise Invalid("a name has no control characters", field="name")
    return stripped


def checked_description(description: str) -> str:
    """Return a description, trimmed: at most 500 characters; line breaks and tabs may stand in it."""
    stripped = description.strip()
    if len(stripped) > DESCRIPTION_LENGTH:
        raise Invalid(f"a description has at most {DESCRIPTION_LENGTH} characters", field="description")
    if has_control_characters(stripped, allowed="\n\t"):
        raise Invalid("a description has no control characters but line feeds and tabs", field="description")
    return stripped


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones() | {"UTC"})


def checked_timezone(timezone: str) -> str:
    """Return the name of a time zone of the tz database, such as ``Europe/Oslo``."""
    if timezone not in _timezones():
        raise Invalid("this is not a time zone, such as UTC or Europe/Oslo", field="timezone")
    return timezone


def checked_locale(locale: str) -> str:
    """Return a language tag such as ``en`` or ``pt-BR``."""
    if len(locale) > LOCALE_LENGTH or not _LOCALE.fullmatch(locale):
        raise Invalid("this is not a language tag, such as en or pt-BR", field="locale")
    return locale


def checked_team_plan(plan: str | None) -> Plan:
    """Return the plan of a team workspace; ``starter`` unless another was chosen."""
    if plan is None:
        return Plan.STARTER
    if plan not in TEAM_PLANS:
        raise Invalid(f"unknown plan; choose one of {', '.join(TEAM_PLANS)}", field="plan")
    return Plan(plan)


def checked_role(role: str) -> Role:
    """Return the role that was meant, aliases included (D-6)."""
    try:
        return parse_role(role)
    except ValueError as unknown:
        raise Invalid(str(unknown), field="role") from None
