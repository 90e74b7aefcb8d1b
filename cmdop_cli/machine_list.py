"""Every machine of the workspace, always asked for anew; the names that were listed are kept for completion."""

from typing import TYPE_CHECKING

from cmdop_cli.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import Machine
    from cmdop_sdk.resources.base import Listing

KEPT = 2000  # machines that are kept for completion
FILE = "machines.json"


def listed(call: "Call") -> "list[Machine]":
    """Return every machine of the workspace, and keep their names for completion."""

    async def ask(client: "AsyncCMDOPClient") -> "list[Machine]":
        found: Listing[Machine] = client.machines.list()
        return await found.all()

    machines = call.ask(ask)
    keep(call, machines)
    return machines


def keep(call: "Call", machines: "Sequence[Machine]") -> None:
    """Keep names for completion, by identity and workspace; that it cannot be written is no failure."""
    path = _kept_in(call)
    if path is None:
        return
    from cmdop_sdk import documents
    from cmdop_sdk.errors import LocalStateError

    items = [{"hostname": each.hostname, "name": each.name} for each in machines[:KEPT]]
    try:
        with call.local.file(path).locked(wait=0) as file:
            file.write(documents.to_json({"schema": documents.SCHEMA, "items": items}))
    except (Failure, LocalStateError):
        return


def kept(call: "Call") -> list[str]:
    """Return the names that were listed last; nothing where none are kept."""
    path = _kept_in(call)
    content = None if path is None else call.local.file(path).read()
    if path is None or content is None:
        return []
    from cmdop_sdk import documents

    items = documents.parse_json(call.local.root / path, content).get("items")
    found = [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    return list(dict.fromkeys(str(each.get(name, "")) for name in ("name", "hostname") for each in found))


def _kept_in(call: "Call") -> str | None:
    identity, place = call.identity, call.resolution.workspace
    if identity is None or place is None or place.id is None:
        return None
    return f"accounts/{identity.key}/{place.id}/{FILE}"
