"""Arranges who is signed in on a command line: in earnest with a one-time token, or by planting what login leaves."""

import secrets
import time
from pathlib import Path
from typing import Any

from cmdop_cli.local import Local
from cmdop_cli.profiles import Server
from cmdop_cli.state import Place
from cmdop_sdk.auth import Secret, TokenPair
from cmdop_sdk.store import Store
from cmdop_sdk.token_files import account_hash
from tests.agents import register
from tests.terminal import Cmdop
from tests.world import World


def sign_in(cmdop: Cmdop, world: World, who: str, workspace: str | None = None, *arguments: str) -> Cmdop:
    """Sign ``who`` in for all workspaces, beginning in ``workspace``, through the real command; return ``cmdop``."""
    where = ("--server", world.server.url, "--workspace", world.ref(who, workspace))
    cmdop.here("login", "--token", "-", *where, *arguments, stdin=world.one_time_token(who)).ok()
    return cmdop


def owner_of_two_machines(cmdop: Cmdop, world: World, directory: Path) -> Cmdop:
    """Act as the owner of acme, whose machines web-1 and db-1 are registered and have never been online."""
    for name in ("web-1", "db-1"):
        register(world, directory / name, name)
    plant(cmdop, world, "owner", "acme", reach="all")
    return cmdop.with_(CMDOP_WORKSPACE=world.acme.slug)


def plant(cmdop: Cmdop, world: World, who: str, workspace: str | None = None, *, reach: str = "workspace") -> TokenPair:
    """Leave on disk what a device sign-in of ``who`` leaves, without its five seconds of polling."""
    ref = world.ref(who, workspace)
    person = world[who]
    granted = world.sign_in(who, ref, reach)
    here = world.api(granted["access_token"]).get("/me").json()["workspace"]
    pair = TokenPair(
        origin=world.server.url,
        mode="prod",
        account_id=person.id,
        account_email=person.email,
        workspace_id=here["id"],
        workspace_slug=here["slug"],
        sign_in_id=granted["sign_in_id"],
        family_id=granted["family_id"],
        reach=reach,
        access_token=Secret(granted["access_token"]),
        refresh_token=Secret(granted["refresh_token"]),
        expires_at=time.time() + 3600,
        refresh_expires_at=time.time() + 30 * 86_400,
    )
    root = Path(cmdop.environ["CMDOP_CONFIG_DIR"])
    Store(root).save(pair, "file")
    local = Local(cmdop.environ)
    local.profiles().save("default", "prod", Server(pair.origin, None, person.id, person.email))
    local.change_state(
        lambda draft: draft.signed_in(
            "default",
            "prod",
            identity=account_hash(pair.origin, person.id),
            origin=pair.origin,
            account_id=person.id,
            email=person.email,
            workspace=Place(here["id"], here["slug"]),
            default=None,
        )
    )
    return pair


def token_files(cmdop: Cmdop) -> dict[str, bytes]:
    """Return the content of every stored token file by its path below the configuration directory."""
    root = Path(cmdop.environ["CMDOP_CONFIG_DIR"])
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("accounts/*/*/token_*.json"))}


def unique(name: str) -> str:
    """Return a slug that no other test asks for."""
    return f"{name}-{secrets.token_hex(4)}"


def answers(api: Any) -> int:
    """Return the status of a request that anybody signed in may make."""
    return int(api.get("/me").status_code)
