"""The callers of the matrix with their credentials, and for every row a request with a target of its own.

A target lives until a request succeeds on it: who is refused must not have used it up.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from cmdop_wire.ids import make_id, make_key
from cmdop_wire.vocab import GRANT_SIGN_IN_TOKEN, Scope
from tests.server.matrix import Row
from tests.world import Api, World

ROLES = ("owner", "admin", "member", "guest")
ALL = [str(scope) for scope in Scope]
ALL_BUT_INVITE = [scope for scope in ALL if scope != Scope.MEMBERS_INVITE]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody or something that asks; ``who`` is the person behind it, ``None`` when there is none."""

    name: str
    column: str
    bearer: str | None
    who: str | None = None
    scope: str | None = None  # of a workspace key with only this one


@dataclass
class Stage:
    """One world with every caller, on one connection; requests for the rows are made here."""

    world: World
    callers: list[Caller] = field(init=False)
    own_key: dict[str, str] = field(init=False)  # a personal key's id by who owns it
    shared_key: str = field(init=False)  # the id of a workspace key

    addressed: str = field(init=False)  # the workspace that requests name in their address

    _targets: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.addressed = self.acme
        self._http = Api(self.world.server.url)
        self.own_key = {who: self.world.key(who)["id"] for who in ("owner", "admin", "member")}
        self.shared_key = self.world.key("owner", shared=True)["id"]
        self.callers = [*self._people(), *self._strangers(), *self._keys(), *self._nobodies()]

    def close(self) -> None:
        """Close every connection."""
        self._http.close()
        self.world.close()

    def _people(self) -> Iterator[Caller]:
        for role in ROLES:
            yield Caller(role, role, self.world.token(role), role)
        yield Caller("visitor, signed in for acme", "guest", self.world.token("visitor", "acme"), "visitor")

    def _strangers(self) -> Iterator[Caller]:
        personal = {who: self.world[who].personal for who in ("outsider", "former")}
        for who, workspace, reach in [
            ("outsider", personal["outsider"], "workspace"),
            ("former", personal["former"], "all"),
            ("rival", "globex", "workspace"),
            ("visitor", "globex", "all"),
            ("visitor", "globex", "workspace"),
        ]:
            token = self.world.token(who, workspace, reach)
            yield Caller(f"{who}, signed in for {workspace}, reach {reach}", "stranger", token, who)

    def _keys(self) -> Iterator[Caller]:
        yield Caller("owner's key", "owner's", self.world.key("owner", *ALL)["text"], "owner")
        yield Caller("member's key", "member's", self.world.key("member", *ALL_BUT_INVITE)["text"], "member")
        yield Caller("demoted member's key", "guest's", self._demoted_key())
        yield Caller("shared key", "shared", self.shared(*ALL)["text"])
        yield Caller("shared key of globex", "foreign", self.world.key("rival", *ALL, shared=True)["text"])
        for scope in Scope:
            yield Caller(f"shared key, {scope}", "shared", self.shared(scope)["text"], scope=scope)

    def _nobodies(self) -> Iterator[Caller]:
        text = self.shared(*ALL)["text"]
        revoked, expired, ended = self.shared(*ALL), self.shared(*ALL), self.world.sign_in("owner")
        assert self.send("DELETE", f"/workspaces/{self.acme}/keys/{revoked['id']}", self.world.token("owner")) == 200
        self.world.server.backstage("tests.casting:expire_key", key=expired["id"])
        self._http.post("/auth/revoke", json={"token": ended["refresh_token"], "all": True}).raise_for_status()
        for name, bearer in {
            "nobody": None,
            "nonsense": "nonsense",
            "a mistyped key": text[:-1] + ("0" if text[-1] != "0" else "1"),
            "a key never issued": make_key(self.acme).text,
            "a revoked key": revoked["text"],
            "an expired key": expired["text"],
            "the key of a removed member": self._removed_key(),
            "the token of an ended sign-in": ended["access_token"],
        }.items():
            yield Caller(name, "nobody", bearer)

    @property
    def acme(self) -> str:
        """Return acme's slug."""
        return self.world.acme.slug

    def shared(self, *scopes: str) -> dict[str, str]:
        """Make a workspace key of acme; return its ``id``, ``text`` and ``prefix``."""
        return self.world.key("owner", *scopes, shared=True)

    def join(self, role: str) -> dict[str, str]:
        """Make a new account a member of acme; return its ``id`` and ``email``."""
        return dict(
            self.world.server.backstage("tests.casting:join", workspace=self.acme, role=role, tag=secrets.token_hex(6))
        )

    def _key_of(self, account: str) -> str:
        made = self.world.server.backstage(
            "tests.casting:make_key",
            account=account,
            workspace=self.acme,
            kind="personal",
            name="everything",
            scopes=ALL_BUT_INVITE,
        )
        return str(made["text"])

    def _demoted_key(self) -> str:
        account = self.join("member")["id"]
        text = self._key_of(account)
        self.world.server.backstage("tests.casting:change_role", workspace=self.acme, account=account, role="guest")
        return text

    def _removed_key(self) -> str:
        account = self.join("member")["id"]
        text = self._key_of(account)
        self.world.server.backstage("tests.casting:remove", workspace=self.acme, account=account)
        return text

    def send(self, method: str, path: str, bearer: str | None, **body: Any) -> int:
        """Send a request; return its status."""
        return self.answer(method, path, bearer, **body).status_code

    def answer(self, method: str, path: str, bearer: str | None, **body: Any) -> httpx.Response:
        """Send a request to the API and return the answer; ``json=`` and ``params=`` as httpx has them."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return self._http.request(method, path, headers=headers, **body)

    def ask(self, row: Row, caller: Caller) -> httpx.Response:
        """Ask for the operation of ``row`` as ``caller``."""
        return REQUESTS[row.name](self, caller)

    def at(self, caller: Caller, method: str, path: str = "", **options: Any) -> httpx.Response:
        """Send a request below acme's address, or below whatever is ``addressed`` now."""
        return self.answer(method, f"/workspaces/{self.addressed}{path}", caller.bearer, **options)

    def on(
        self, caller: Caller, method: str, noun: str, name: str, make: Callable[[], dict[str, str]], **options: Any
    ) -> httpx.Response:
        """Send a request to ``/noun/{id}`` of the target called ``name``, which ``make`` makes when it is used up."""
        if name not in self._targets:
            self._targets[name] = make()["id"]
        answer = self.at(caller, method, f"/{noun}/{self._targets[name]}", **options)
        if answer.is_success:
            del self._targets[name]
        return answer

    def end_own_session(self, caller: Caller) -> httpx.Response:
        """End a sign-in of the caller's own: one for a single workspace ends itself, so it is made for this."""
        if caller.column in (*ROLES, "stranger") and caller.who is not None:
            workspace = self.world[caller.who].personal if caller.column == "stranger" else "acme"
            fresh = self.world.sign_in(caller.who, workspace)
            return self.answer("DELETE", f"/me/sessions/{fresh['sign_in_id']}", fresh["access_token"])
        return self.answer("DELETE", f"/me/sessions/{make_id('sign_in')}", caller.bearer)

    def end_session_of_another(self, caller: Caller) -> httpx.Response:
        """End the sign-in of somebody else."""
        other = "owner" if caller.who != "owner" else "admin"
        name = f"sign-in of {other}"
        if name not in self._targets:
            self._targets[name] = self.world.sign_in(other)["sign_in_id"]
        return self.answer("DELETE", f"/me/sessions/{self._targets[name]}", caller.bearer)

    def redeem(self, caller: Caller) -> httpx.Response:
        """Redeem a one-time token; the caller's own credential plays no part."""
        body = {"grant_type": GRANT_SIGN_IN_TOKEN, "token": self.world.one_time_token("outsider")}
        return self.answer("POST", "/auth/token", caller.bearer, json=body)

    def create_workspace(self, caller: Caller) -> httpx.Response:
        """Create a workspace with a slug nobody has."""
        return self.answer("POST", "/workspaces", caller.bearer, json={"name": f"new {secrets.token_hex(6)}"})

    def leave(self, caller: Caller) -> httpx.Response:
        """Leave acme; members do it as a new one of the same role, so that the cast stays."""
        bearer = caller.bearer
        if caller.column in ROLES:
            made = self.world.server.backstage(
                "tests.casting:sign_in",
                account=self.join(caller.column)["id"],
                workspace=self.acme,
                reach="workspace",
            )
            bearer = made["access_token"]
        return self.answer("DELETE", f"/workspaces/{self.addressed}/members/me", bearer)

    def create_key(self, caller: Caller, kind: str) -> httpx.Response:
        """Create a key and, when it succeeded, free its place again."""
        answer = self.at(caller, "POST", "/keys", json={"kind": kind, "name": f"key {secrets.token_hex(6)}"})
        if answer.is_success:
            self.send("DELETE", f"/workspaces/{self.acme}/keys/{answer.json()['id']}", self.world.token("owner"))
        return answer

    def show_key(self, caller: Caller) -> httpx.Response:
        """Show the caller's own key, or a workspace key when it has none."""
        return self.at(caller, "GET", f"/keys/{self.own_key.get(caller.who or '', self.shared_key)}")

    def revoke_key(self, caller: Caller) -> httpx.Response:
        """Revoke a key of the caller's own, or a workspace key when it cannot have one."""
        who = caller.who
        if who not in self.own_key:
            return self.on(caller, "DELETE", "keys", "a shared key", self.shared)
        return self.on(caller, "DELETE", "keys", f"a key of {who}", lambda: self.world.key(who))

    def fleet(self, function: str, **arguments: Any) -> Any:
        """Tell the server what its agents and its relay would."""
        return self.world.server.backstage(f"tests.server.fleet:{function}", **arguments)

    def machine(self) -> dict[str, str]:
        """Register a machine in acme; return its ``id``."""
        return dict(self.fleet("register", workspace=self.acme, hostname=f"host-{secrets.token_hex(6)}"))

    def on_machine(self, caller: Caller, method: str, path: str = "", **options: Any) -> httpx.Response:
        """Send a request below the address of a machine that stays."""
        if "a machine" not in self._targets:
            self._targets["a machine"] = self.machine()["id"]
        return self.at(caller, method, f"/machines/{self._targets['a machine']}{path}", **options)

    def run_command(self, caller: Caller) -> httpx.Response:
        """Ask for a command on a machine that stays."""
        if "a machine" not in self._targets:
            self._targets["a machine"] = self.machine()["id"]
        body = {"machine": self._targets["a machine"], "argv": ["true"]}
        return self.at(caller, "POST", "/commands", json=body)

    def register(self, caller: Caller) -> httpx.Response:
        """Register a host nobody knows in the caller's own workspace, and make room again."""
        body = {"hostname": f"host-{secrets.token_hex(6)}"}
        answer = self.answer("POST", "/agent/register", caller.bearer, json=body)
        if answer.is_success:
            made = answer.json()
            path = f"/workspaces/{made['workspace']['id']}/machines/{made['machine']['id']}"
            self.send("DELETE", path, caller.bearer)
        return answer

    def join_token(self) -> dict[str, str]:
        """Make a join token of acme; return its ``id``."""
        made = self.answer("POST", f"/workspaces/{self.acme}/join-tokens", self.world.token("owner"), json={})
        return {"id": made.json()["id"]}

    def session_of(self, bearer: str) -> dict[str, str]:
        """Have a session on a new machine of acme; return its ``id``."""
        return {"id": str(self.fleet("session_from_before", bearer=bearer, machine=self.machine()["id"]))}

    def on_session(self, caller: Caller, method: str, path: str = "") -> httpx.Response:
        """Send a request below the address of a session that goes on."""
        if "a session" not in self._targets:
            self._targets["a session"] = self.session_of(self.world.token("member"))["id"]
        return self.at(caller, method, f"/sessions/{self._targets['a session']}{path}")

    def terminate(self, caller: Caller, *, own: bool) -> httpx.Response:
        """End a session of the caller's own, which they may have from better days, or somebody else's."""
        is_here = caller.column not in ("stranger", "foreign", "nobody")
        bearer = caller.bearer if own and is_here and caller.bearer else self.world.token(self._other_than(caller))
        name = f"a session of {bearer}"
        if name not in self._targets:
            self._targets[name] = self.session_of(bearer)["id"]
        answer = self.at(caller, "POST", f"/sessions/{self._targets[name]}/terminate")
        if answer.is_success:
            del self._targets[name]
        return answer

    @staticmethod
    def _other_than(caller: Caller) -> str:
        return "owner" if caller.who != "owner" else "admin"


Request = Callable[[Stage, Caller], httpx.Response]


def _plain(method: str, path: str, **options: Any) -> Request:
    return lambda stage, caller: stage.answer(method, path, caller.bearer, **options)


def _at(method: str, path: str = "", **options: Any) -> Request:
    return lambda stage, caller: stage.at(caller, method, path, **options)


def _on_member(method: str, of: str, **options: Any) -> Request:
    def ask(stage: Stage, caller: Caller) -> httpx.Response:
        return stage.on(caller, method, "members", f"{of} to {method}", lambda: stage.join(of), **options)

    return ask


def _on_machine(method: str, path: str = "", **options: Any) -> Request:
    return lambda stage, caller: stage.on_machine(caller, method, path, **options)


REQUESTS: dict[str, Request] = {
    "show_me": _plain("GET", "/me"),
    "list_my_workspaces": _plain("GET", "/me/workspaces"),
    "list_my_sessions": _plain("GET", "/me/sessions"),
    "end_my_session": Stage.end_own_session,
    "end_my_session, somebody else's": Stage.end_session_of_another,
    "list_my_tokens": _plain("GET", "/me/tokens"),
    "show_token": _plain("GET", "/auth/token/info"),
    "start_device": _plain("POST", "/auth/device", json={"client": "matrix"}),
    "create_token": Stage.redeem,
    "revoke_token": _plain("POST", "/auth/revoke", json={"token": "nonsense"}),
    "show_version": _plain("GET", "/version"),
    "list_workspaces": _plain("GET", "/workspaces"),
    "create_workspace": Stage.create_workspace,
    "preview_slug": _plain("GET", "/workspaces/slug-preview", params={"name": "Some Name"}),
    "show_workspace": _at("GET"),
    "update_workspace": _at("PATCH", json={"description": "matrix"}),
    "show_usage": _at("GET", "/usage"),
    "show_onboarding": _at("GET", "/onboarding"),
    "update_onboarding": _at("PATCH", "/onboarding", json={"auto_tags": {"from": "matrix"}}),
    "list_members": _at("GET", "/members"),
    "set_role": _on_member("PATCH", "guest", json={"role": "member"}),
    "set_role, of an owner": _on_member("PATCH", "owner", json={"role": "member"}),
    "set_role, to owner": _on_member("PATCH", "member", json={"role": "owner"}),
    "remove_member": _on_member("DELETE", "member"),
    "remove_member, an owner": _on_member("DELETE", "owner"),
    "remove_member, oneself": Stage.leave,
    "list_keys": _at("GET", "/keys"),
    "list_keys, everybody's": _at("GET", "/keys", params={"all": "true"}),
    "create_key": lambda stage, caller: stage.create_key(caller, "personal"),
    "create_key, for the workspace": lambda stage, caller: stage.create_key(caller, "workspace"),
    "show_key": Stage.show_key,
    "show_key, the workspace's": lambda stage, caller: stage.at(caller, "GET", f"/keys/{stage.shared_key}"),
    "revoke_key": Stage.revoke_key,
    "revoke_key, the workspace's": lambda stage, caller: stage.on(
        caller, "DELETE", "keys", "a shared key", stage.shared
    ),
    "list_machines": _at("GET", "/machines"),
    "show_machine": _on_machine("GET"),
    "update_machine": _on_machine("PATCH", json={"tags": {"from": "matrix"}}),
    "remove_machine": lambda stage, caller: stage.on(caller, "DELETE", "machines", "to remove", stage.machine),
    # To where it is, which needs the right and changes nothing: going elsewhere needs a sign-in for all workspaces.
    "move_machine": lambda stage, caller: stage.on_machine(caller, "POST", "/move", json={"to": stage.addressed}),
    "create_machine_ticket": _on_machine("POST", "/ticket", json={"right": "session.operate"}),
    "create_machine_ticket, to watch": _on_machine("POST", "/ticket", json={"right": "session.observe"}),
    "create_machine_ticket, to run": _on_machine("POST", "/ticket", json={"right": "command.execute"}),
    "create_machine_ticket, to read": _on_machine("POST", "/ticket", json={"right": "file.read"}),
    "create_machine_ticket, to write": _on_machine("POST", "/ticket", json={"right": "file.write"}),
    "register_machine": Stage.register,
    "list_join_tokens": _at("GET", "/join-tokens"),
    "create_join_token": _at("POST", "/join-tokens", json={"expires_in": 60}),
    "revoke_join_token": lambda stage, caller: stage.on(
        caller, "DELETE", "join-tokens", "a join token", stage.join_token
    ),
    "list_sessions": _at("GET", "/sessions"),
    "show_session": lambda stage, caller: stage.on_session(caller, "GET"),
    "terminate_session": lambda stage, caller: stage.terminate(caller, own=True),
    "terminate_session, not one's own": lambda stage, caller: stage.terminate(caller, own=False),
    "create_session_ticket": lambda stage, caller: stage.on_session(caller, "POST", "/ticket"),
    # To a machine whose agent is away: whoever may run something there is told so.
    "run_command": Stage.run_command,
    "list_events": _at("GET", "/events"),
    "show_head": _at("GET", "/events/head"),
}
