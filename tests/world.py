"""The cast, as data, and handles to reach it: the same people in every server test, in tenants of their own.

Two team workspaces, ``acme`` and ``globex``, and everybody's personal one; one person per role; one in both with
different roles; an outsider; somebody who was an admin and was removed; a key of each kind and scope, made on demand.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

from cmdop_wire.vocab import Role
from tests.processes import Server

TENANTS = ("acme", "globex")
# Who is what where, in the order of joining. ``None``: was an admin and has been removed.
CAST: dict[str, dict[str, Role | None]] = {
    "owner": {"acme": Role.OWNER},
    "rival": {"globex": Role.OWNER},
    "admin": {"acme": Role.ADMIN},
    "member": {"acme": Role.MEMBER},
    "guest": {"acme": Role.GUEST},
    "visitor": {"acme": Role.GUEST, "globex": Role.OWNER},
    "former": {"acme": None},
    "outsider": {},
}
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Person:
    """One of the cast; ``personal`` is the slug of their personal workspace."""

    who: str
    id: str
    email: str
    username: str
    personal: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace of the world."""

    id: str
    slug: str
    name: str


class Api(httpx.Client):
    """The HTTP API as one caller sees it; paths are relative to ``/api/v1``.

    Every caller comes from its own loopback address, so that the limits of one test never reach another.
    """

    def __init__(self, url: str, credential: str | None = None, **options: Any) -> None:
        address = f"127.{1 + secrets.randbelow(200)}.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
        super().__init__(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {credential}"} if credential else {},
            transport=httpx.HTTPTransport(local_address=address, verify=False),  # plain http: no authorities to read
            timeout=30,
            **options,
        )


@dataclass
class World:
    """The cast in a fresh pair of tenants on a running server."""

    server: Server
    tag: str  # makes the names of this world unique
    password: str | None
    _people: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _tenants: dict[str, Tenant] = field(default_factory=dict, repr=False)
    _opened: list[httpx.Client] = field(default_factory=list, repr=False)
    _tokens: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict, repr=False)

    def __getitem__(self, who: str) -> Person:
        """Return one of the cast. Who is not in acme comes when first asked for, with all that is theirs."""
        if "globex" in CAST[who]:
            self.tenant("globex")
        if who not in self._people:
            here = {"tag": self.tag, "password": self.password}
            self._people[who] = self.server.backstage("tests.casting:arrive", who=who, **here)
            if CAST[who].get("acme", Role.OWNER) is None:
                gone = {"founder": self["owner"].id, "workspace": self.acme.slug, "account": self._people[who]["id"]}
                self.server.backstage("tests.casting:come_and_go", **gone, role=None)
        return Person(who=who, **self._people[who])

    @property
    def acme(self) -> Tenant:
        """Return the tenant that most of the cast is in."""
        return self.tenant("acme")

    @property
    def globex(self) -> Tenant:
        """Return the other tenant."""
        return self.tenant("globex")

    def tenant(self, name: str) -> Tenant:
        """Return ``acme`` or ``globex``, with its members; it is made when first asked for."""
        if name not in self._tenants:
            here = {"tag": self.tag, "password": self.password, "people": self._people}
            made = self.server.backstage("tests.casting:found", tenant=name, **here)
            self._people |= made["people"]
            self._tenants[name] = Tenant(**made["tenant"])
        return self._tenants[name]

    def sign_in(self, who: str, workspace: str | None = None, reach: str = "workspace") -> dict[str, Any]:
        """Approve a new device grant of ``who`` and redeem it; return what ``POST /auth/token`` would answer, in part.

        Keys: ``access_token``, ``refresh_token``, ``sign_in_id``, ``family_id``. ``workspace`` is ``acme``,
        ``globex``, any slug or id; by default the tenant that the person is in, else their personal workspace.
        """
        return dict(
            self.server.backstage(
                "tests.casting:sign_in", account=self[who].id, workspace=self.ref(who, workspace), reach=reach
            )
        )

    def token(self, who: str, workspace: str | None = None, reach: str = "workspace") -> str:
        """Return an access token of ``who``, the same one for the same question."""
        ref = self.ref(who, workspace)
        if (who, ref, reach) not in self._tokens:
            self._tokens[who, ref, reach] = self.sign_in(who, ref, reach)
        return str(self._tokens[who, ref, reach]["access_token"])

    def one_time_token(self, who: str) -> str:
        """Return what the operator's ``bootstrap`` prints: good once, for ``cmdop login --token -``."""
        return str(self.server.backstage("tests.casting:one_time_token", account=self[who].id))

    def key(
        self,
        who: str = "owner",
        *scopes: str,
        workspace: str | None = None,
        shared: bool = False,
        name: str | None = None,
    ) -> dict[str, str]:
        """Make a key as ``who`` (a workspace key when ``shared``); return its ``id``, ``text`` and ``prefix``."""
        return dict(
            self.server.backstage(
                "tests.casting:make_key",
                account=self[who].id,
                workspace=self.ref(who, workspace),
                kind="workspace" if shared else "personal",
                name=name or f"key-{secrets.token_hex(4)}",
                scopes=list(scopes) or None,
            )
        )

    def api(self, credential: str | None = None) -> Api:
        """Return a client with this access token or key, or with none."""
        client = Api(self.server.url, credential)
        self._opened.append(client)
        return client

    def as_(self, who: str, workspace: str | None = None, reach: str = "workspace") -> Api:
        """Return a client signed in as ``who``."""
        return self.api(self.token(who, workspace, reach))

    def ref(self, who: str, workspace: str | None) -> str:
        """Return the slug or id meant by ``acme``, ``globex``, a slug, an id, or nothing (where the person is)."""
        if workspace is None:
            workspace = next((name for name, role in CAST[who].items() if role is not None), self[who].personal)
        return self.tenant(workspace).slug if workspace in TENANTS else workspace

    def close(self) -> None:
        """Close every client that was handed out."""
        for client in self._opened:
            client.close()


def make_world(server: Server, *, passwords: bool = False) -> World:
    """Build the cast on ``server`` in tenants of its own; ``passwords`` gives everybody ``PASSWORD``."""
    world = World(server, secrets.token_hex(4), PASSWORD if passwords else None)
    world.tenant("acme")
    return world
