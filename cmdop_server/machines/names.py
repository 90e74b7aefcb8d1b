"""How machines may be called. Pure: text in, the same text out, or ``Invalid``.

A hostname is what the host calls itself, a name is a label; both lead to the machine, so that no two machines of a
workspace may share any of them (D-5). Making a name safe to show is the business of whoever shows it (D-24).
"""

import re
import unicodedata
from collections.abc import Mapping

from cmdop_server.access.errors import Invalid
from cmdop_server.texts import has_control_characters
from cmdop_server.workspaces.onboarding import checked_tags
from cmdop_wire.ids import is_id

HOSTNAME_LENGTH = 253  # RFC 1035 §2.3.4, without the length bytes
NAME_LENGTH = 100
SHORT_ID = 6
HOSTNAME = re.compile(  # RFC 1123 §2.1
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def checked_hostname(hostname: str) -> str:
    """Return a host name as RFC 1123 has it: labels of letters, digits and dashes, with dots between them."""
    if len(hostname) > HOSTNAME_LENGTH or not HOSTNAME.fullmatch(hostname):
        raise Invalid(
            "a hostname is up to 253 letters, digits, dots and dashes, and no part of it begins or ends with a dash",
            hint="cmdop connect --hostname web-1",
            field="hostname",
        )
    return hostname


def checked_name(name: str) -> str:
    """Return a machine's name, trimmed: 1 to 100 characters on one line, no slash, nothing that is an id."""
    stripped = name.strip()
    if not 1 <= len(stripped) <= NAME_LENGTH:
        raise Invalid(f"a machine's name has 1 to {NAME_LENGTH} characters", field="name")
    if has_control_characters(stripped) or "/" in stripped:
        raise Invalid("a machine's name has no control characters and no slash", field="name")
    if is_id(stripped, "machine") or is_id(stripped, "session"):
        raise Invalid("a machine's name is no id", field="name")
    return stripped


def checked_machine_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags in the grammar of the workspace's defaults, in the order of their keys."""
    return dict(sorted(checked_tags(tags, field="tags").items()))


def checked_tag(text: str) -> tuple[str, str]:
    """Return key and value of a tag written as ``key:value``."""
    key, colon, value = text.partition(":")
    if not colon:
        raise Invalid("a tag is written as key:value", hint="cmdop connect list --tag env:prod", field="tag")
    checked_tags({key: value}, field="tag")
    return key, value


def folded(text: str) -> str:
    """Return the form in which names and hostnames are compared: case and compatibility forms do not count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def short_id(machine_id: str) -> str:
    """Return the part of a machine's id that ``${short_id}`` stands for: its first six characters."""
    return machine_id.partition("_")[2][:SHORT_ID]


def name_from(pattern: str, hostname: str, machine_id: str) -> str:
    """Return the name that the workspace's pattern gives, cut to what a name may hold."""
    made = pattern.replace("${hostname}", hostname).replace("${short_id}", short_id(machine_id))
    return made[:NAME_LENGTH]


def distinct(name: str, machine_id: str) -> str:
    """Return ``name`` with the machine's short id behind it, for a name that is taken."""
    tail = f"-{short_id(machine_id)}"
    return name[: NAME_LENGTH - len(tail)] + tail
