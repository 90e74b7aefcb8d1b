"""What the tests of machines and sessions share: paths, registering over HTTP, reading the log."""

import secrets
from typing import Any

import httpx

from cmdop_wire.vocab import Scope
from tests.world import Api, World

FLEET = "tests.server.fleet:"


def machines_of(world: World, tenant: str = "acme") -> str:
    """Return the path of a tenant's machines."""
    return f"/workspaces/{world.tenant(tenant).slug}/machines"


def sessions_of(world: World, tenant: str = "acme") -> str:
    """Return the path of a tenant's sessions."""
    return f"/workspaces/{world.tenant(tenant).slug}/sessions"


def ask_to_register(api: Api, hostname: str = "web-1", **fields: Any) -> httpx.Response:
    """Ask to register a host."""
    return api.post("/agent/register", json={"hostname": hostname} | fields)


def register(api: Api, hostname: str | None = None, **fields: Any) -> dict[str, Any]:
    """Register a host, which must be possible; return the whole answer."""
    answer = ask_to_register(api, hostname or f"host-{secrets.token_hex(4)}", **fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def fleet_key(world: World, tenant: str = "acme") -> Api:
    """Return a client with a workspace key that registers machines."""
    who = "owner" if tenant == "acme" else "rival"
    return world.api(world.key(who, Scope.MACHINES_WRITE, shared=True)["text"])


def fleet(world: World, function: str, **arguments: Any) -> Any:
    """Tell the server what an agent or the relay would."""
    return world.server.backstage(f"{FLEET}{function}", **arguments)


def code(response: httpx.Response) -> str:
    """Return the error code of an answer."""
    return str(response.json()["error"]["code"])


def events(world: World, action: str = "machine.*", tenant: str = "acme") -> list[dict[str, Any]]:
    """Return the events of a tenant's log with this action, oldest first."""
    api = world.as_("owner" if tenant == "acme" else "rival")
    path = f"/workspaces/{world.tenant(tenant).slug}/events"
    answer = api.get(path, params={"action": action, "order": "asc", "limit": 200})
    return list(answer.raise_for_status().json()["items"])
