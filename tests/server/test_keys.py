"""Keys over HTTP: shown once, scoped, capped, bound to owner and workspace, dead at once (D-11 … D-14)."""

import json
from typing import Any

import httpx
import pytest

from cmdop_wire.ids import parse_key
from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, Role, Scope
from tests.world import Api, World

AGEING, ROWS = "tests.ageing:", "tests.server.rows:"
DECISIONS = "tests.server.decisions:"


def keys_of(world: World, tenant: str = "acme") -> str:
    """Return the path of a tenant's keys."""
    return f"/workspaces/{world.tenant(tenant).slug}/keys"


def create(api: Api, world: World, **fields: Any) -> httpx.Response:
    """Ask for a key in acme."""
    return api.post(keys_of(world), json={"kind": "personal", "name": "laptop"} | fields)


def code(response: httpx.Response) -> str:
    """Return the error code of an answer."""
    return str(response.json()["error"]["code"])


def event_names(world: World) -> list[str]:
    """Return the actions in acme's log, oldest first, but for sign-ins."""
    answer = world.as_("owner").get(f"/workspaces/{world.acme.slug}/events", params={"order": "asc", "limit": 200})
    return [event["action"] for event in answer.json()["items"] if not event["action"].startswith("sign_in.")]


def test_a_key_is_shown_once_and_works(world: World) -> None:
    api = world.as_("member")
    made = create(api, world)
    assert made.status_code == 201
    key = made.json()
    secret = key.pop("secret")
    assert parse_key(secret).prefix == key["prefix"]
    assert key["owner"] == {"id": world["member"].id, "email": world["member"].email} == key["created_by"]
    assert key["scopes"] == list(DEFAULT_KEY_SCOPES)
    assert (key["state"], key["expires_at"], key["revoked_at"]) == ("live", None, None)

    shown = api.get(f"{keys_of(world)}/{key['id']}").json()
    listed = api.get(keys_of(world)).json()["items"]
    assert shown == key
    assert listed == [key]
    assert secret not in json.dumps(api.get(f"/workspaces/{world.acme.slug}/events").json())
    assert event_names(world)[-1] == "key.created"

    me = world.api(secret).get("/me").json()
    assert me["credential"] | {"expires_at": None} == {
        "kind": "personal_key",
        "id": key["id"],
        "name": "laptop",
        "scopes": list(DEFAULT_KEY_SCOPES),
        "expires_at": None,
        "sign_in_id": None,
        "reach": None,
    }
    assert me["account"]["id"] == world["member"].id
    assert me["workspace"]["slug"] == world.acme.slug


def test_a_use_is_noted_with_its_address_once_a_minute(world: World) -> None:
    key = world.key("member", Scope.KEYS_READ)
    first, second = world.api(key["text"]), world.api(key["text"])
    noted = first.get(f"{keys_of(world)}/{key['id']}").json()
    assert noted["last_used_at"] is not None
    assert noted["last_used_address"].startswith("127.")
    assert second.get(f"{keys_of(world)}/{key['id']}").json() == noted


def test_a_workspace_key_belongs_to_nobody_and_outlives_its_maker(world: World) -> None:
    made = create(world.as_("admin"), world, kind="workspace", name="ci").json()
    assert made["owner"] is None
    assert made["created_by"]["id"] == world["admin"].id
    world.server.backstage(
        f"{DECISIONS}remove", by=world["owner"].id, account=world["admin"].id, workspace=world.acme.slug
    )
    me = world.api(made["secret"]).get("/me")
    assert me.status_code == 200
    assert me.json()["account"] is None
    assert me.json()["credential"]["kind"] == "workspace_key"


@pytest.mark.parametrize(
    ("who", "kind", "status"),
    [
        ("owner", "personal", 201),
        ("admin", "personal", 201),
        ("member", "personal", 201),
        ("guest", "personal", 403),
        ("owner", "workspace", 201),
        ("admin", "workspace", 201),
        ("member", "workspace", 403),
        ("outsider", "personal", 404),
        ("outsider", "workspace", 404),
        ("rival", "workspace", 404),
    ],
)
def test_who_may_create_which_key(world: World, who: str, kind: str, status: int) -> None:
    assert create(world.as_(who), world, kind=kind).status_code == status


def test_a_denial_names_the_right_and_is_recorded(world: World) -> None:
    refused = create(world.as_("guest"), world)
    assert code(refused) == "forbidden"
    assert refused.json()["error"]["details"] == {"action": "key.create_personal"}
    assert "key.create_personal" in refused.json()["error"]["message"]
    assert event_names(world)[-1] == "key.create_personal"


@pytest.mark.parametrize(
    "scopes", [["machines:reed"], ["*"], ["machines:*"], [""], ["machines:read", "root"], [" machines:read"]]
)
def test_unknown_scopes_and_wildcards_are_invalid(standing: World, scopes: list[str]) -> None:
    refused = create(standing.as_("owner"), standing, scopes=scopes)
    assert (refused.status_code, code(refused)) == (422, "invalid")
    assert refused.json()["error"]["details"]["field"] == "scopes"
    assert standing.as_("owner").get(keys_of(standing)).json()["items"] == []


def test_scopes_come_sorted_once_each_and_may_be_none_or_reserved(world: World) -> None:
    api = world.as_("owner")
    made = create(api, world, name="a", scopes=["agent:invoke", "audit:read", "audit:read", "machines:read"]).json()
    assert made["scopes"] == ["machines:read", "audit:read", "agent:invoke"]
    assert made["reserved_scopes"] == ["agent:invoke"]
    empty = create(api, world, name="b", scopes=[]).json()
    assert empty["scopes"] == []
    assert world.api(empty["secret"]).get(f"/workspaces/{world.acme.slug}").status_code == 403
    assert world.api(made["secret"]).get(f"/workspaces/{world.acme.slug}").status_code == 200


@pytest.mark.parametrize(("who", "status"), [("owner", 201), ("admin", 201), ("member", 403)])
def test_only_who_may_invite_issues_the_scope_to_invite(world: World, who: str, status: int) -> None:
    assert create(world.as_(who), world, scopes=["members:invite"]).status_code == status
    assert Scope.MEMBERS_INVITE not in DEFAULT_KEY_SCOPES


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb", "a\x00b", "a\u202eb", "a\ud800b", "\u200b"])
def test_a_name_is_short_and_printable(standing: World, name: str) -> None:
    body = json.dumps({"kind": "personal", "name": name})
    refused = standing.as_("owner").post(keys_of(standing), content=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, code(refused)) == (422, "invalid")


def test_a_live_name_is_taken_only_for_the_same_owner_and_kind(world: World) -> None:
    owner, member = world.as_("owner"), world.as_("member")
    first = create(owner, world).json()
    again = create(owner, world)
    assert (again.status_code, code(again)) == (409, "name_taken")
    assert create(member, world).status_code == 201
    assert create(owner, world, kind="workspace").status_code == 201
    assert owner.delete(f"{keys_of(world)}/{first['id']}").status_code == 200
    assert create(owner, world).status_code == 201


@pytest.mark.parametrize(
    ("expires_in", "status"), [(60, 201), (59, 422), (0, 422), (-1, 422), (10**12, 422), (60.5, 422), ("60", 422)]
)
def test_a_life_is_a_minute_at_least_and_ten_years_at_most(world: World, expires_in: Any, status: int) -> None:
    assert create(world.as_("owner"), world, expires_in=expires_in).status_code == status


def test_an_expired_key_is_dead_and_frees_its_place(world: World) -> None:
    api = world.as_("owner")
    key = create(api, world, expires_in=3600).json()
    bearer = world.api(key["secret"])
    assert bearer.get("/me").status_code == 200
    world.server.backstage(f"{AGEING}key_ends_in", key=key["id"], seconds=-1)
    assert bearer.get("/me").status_code == 401
    assert api.get(keys_of(world), params={"state": "expired"}).json()["items"][0]["id"] == key["id"]
    assert api.get(keys_of(world), params={"state": "live"}).json()["items"] == []
    assert create(api, world).status_code == 201


def test_ten_personal_keys_and_not_one_more(world: World) -> None:
    api = world.as_("member")
    made = [create(api, world, name=f"k{number}") for number in range(11)]
    assert [answer.status_code for answer in made] == [201] * 10 + [409]
    assert code(made[-1]) == "limit_reached"
    assert api.get(f"/workspaces/{world.acme.slug}/usage").json()["personal_keys"] == {"used": 10, "limit": 10}
    assert create(world.as_("owner"), world).status_code == 201  # a cap for each
    assert create(world.as_("owner"), world, kind="workspace").status_code == 201
    api.delete(f"{keys_of(world)}/{made[3].json()['id']}")
    assert create(api, world, name="again").status_code == 201


def test_a_revoked_key_is_dead_and_revoking_it_again_changes_nothing(world: World) -> None:
    api = world.as_("member")
    key = create(api, world).json()
    bearer = world.api(key["secret"])
    assert bearer.get("/me").status_code == 200
    revoked = api.delete(f"{keys_of(world)}/{key['id']}")
    assert revoked.status_code == 200
    assert revoked.json()["state"] == "revoked"
    assert bearer.get("/me").status_code == 401
    before = event_names(world)
    assert before[-1] == "key.revoked"
    assert api.delete(f"{keys_of(world)}/{key['id']}").json()["revoked_at"] == revoked.json()["revoked_at"]
    assert event_names(world) == before


def test_other_peoples_keys_are_unknown_to_a_member_and_open_to_an_admin(world: World) -> None:
    theirs = world.key("owner")["id"]
    path, random = f"{keys_of(world)}/{theirs}", f"{keys_of(world)}/key_{'0' * 20}"
    member, admin = world.as_("member"), world.as_("admin")
    for method in ("GET", "DELETE"):
        seen, unknown = member.request(method, path), member.request(method, random)
        assert seen.status_code == unknown.status_code == 404
        assert seen.json()["error"] | {"request_id": ""} == unknown.json()["error"] | {"request_id": ""}
    assert admin.get(path).status_code == 200
    assert admin.delete(path).status_code == 200


def test_a_key_of_another_tenant_is_an_unknown_id(world: World) -> None:
    foreign = world.key("rival")["id"]
    owner = world.as_("owner")
    assert owner.get(f"{keys_of(world)}/{foreign}").status_code == 404
    assert owner.delete(f"{keys_of(world)}/{foreign}").status_code == 404
    assert world.as_("rival").get(f"{keys_of(world, 'globex')}/{foreign}").json()["state"] == "live"


def test_what_each_role_lists(world: World) -> None:
    own = {who: world.key(who)["id"] for who in ("owner", "admin", "member")}
    shared = world.key("owner", shared=True)["id"]

    def listed(who: str, **query: Any) -> set[str]:
        return {key["id"] for key in world.as_(who).get(keys_of(world), params=query).json()["items"]}

    assert listed("member") == {own["member"]}
    assert listed("admin") == {own["admin"], shared}
    assert listed("admin", all=True) == {*own.values(), shared}
    assert world.as_("member").get(keys_of(world), params={"all": True}).status_code == 403
    assert world.as_("guest").get(keys_of(world)).status_code == 403
    assert world.as_("outsider").get(keys_of(world)).status_code == 404


def test_what_keys_list_with_the_scope_to_read_keys(world: World) -> None:
    shared = world.key("owner", Scope.KEYS_READ, shared=True)
    personal = world.key("member", Scope.KEYS_READ)
    other = world.key("admin")
    path = keys_of(world)
    everything = {shared["id"], personal["id"], other["id"]}
    assert {key["id"] for key in world.api(shared["text"]).get(path).json()["items"]} == everything
    assert [key["id"] for key in world.api(personal["text"]).get(path).json()["items"]] == [personal["id"]]
    assert world.api(other["text"]).get(path).status_code == 403
    assert world.api(personal["text"]).delete(f"{path}/{personal['id']}").status_code == 403
    assert world.api(shared["text"]).post(path, json={"kind": "workspace", "name": "x"}).status_code == 403


def test_unused_keys_are_found_by_their_last_use(world: World) -> None:
    old, new = world.key("owner"), world.key("owner")
    world.server.backstage(f"{AGEING}key_unused_since", key=old["id"], days=91)
    listed = world.as_("owner").get(keys_of(world), params={"unused_days": 90}).json()["items"]
    assert [key["id"] for key in listed] == [old["id"]]
    assert new["id"] != old["id"]


def test_a_role_bounds_a_personal_key_at_the_very_next_call(world: World) -> None:
    key = world.key("admin", Scope.MEMBERS_READ, Scope.KEYS_READ)
    bearer, owner = world.api(key["text"]), world.as_("owner")
    member = f"/workspaces/{world.acme.slug}/members/{world['admin'].id}"
    assert bearer.get(keys_of(world)).status_code == 200
    assert owner.patch(member, json={"role": Role.GUEST}).status_code == 200
    assert bearer.get(keys_of(world)).status_code == 403
    assert bearer.get(f"/workspaces/{world.acme.slug}/members").status_code == 200
    assert owner.patch(member, json={"role": Role.ADMIN}).status_code == 200
    assert bearer.get(keys_of(world)).status_code == 200


def test_removal_kills_the_members_keys_for_ever_and_nobody_elses(world: World) -> None:
    gone, shared, other = world.key("member"), world.key("admin", shared=True), world.key("admin")
    in_globex = world.key("visitor", workspace="globex")
    owner = world.as_("owner")
    for who in ("member", "visitor"):
        assert owner.delete(f"/workspaces/{world.acme.slug}/members/{world[who].id}").status_code == 204
    assert world.api(gone["text"]).get("/me").status_code == 401
    for alive in (shared, other, in_globex):
        assert world.api(alive["text"]).get("/me").status_code == 200
    world.server.backstage(
        f"{DECISIONS}add",
        by=world["owner"].id,
        account=world["member"].id,
        workspace=world.acme.slug,
        role="member",
    )
    assert world.api(gone["text"]).get("/me").status_code == 401


def test_a_key_of_an_inactive_account_is_dead(world: World) -> None:
    key = world.key("member")
    assert world.api(key["text"]).get("/me").status_code == 200
    world.server.backstage(f"{ROWS}deactivate", account=world["member"].id)
    assert world.api(key["text"]).get("/me").status_code == 401


def test_a_key_keeps_working_after_its_workspace_is_renamed(world: World) -> None:
    key = world.key("owner")
    renamed = f"{world.acme.slug}-new"
    assert world.as_("owner").patch(f"/workspaces/{world.acme.slug}", json={"slug": renamed}).status_code == 200
    assert world.api(key["text"]).get("/me").json()["workspace"]["slug"] == renamed


def test_pages_of_keys_are_complete_and_their_cursors_bound(world: World) -> None:
    ids = {world.key("owner")["id"] for _ in range(5)}
    owner, found, cursor = world.as_("owner"), [], None
    while True:
        page = owner.get(keys_of(world), params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [key["id"] for key in page["items"]]
        cursor = page["next"] or cursor
        if page["next"] is None:
            break
    assert len(found) == 5
    assert set(found) == ids
    for params in ({"state": "live"}, {"all": True}):
        assert owner.get(keys_of(world), params=params | {"cursor": cursor}).status_code == 400
    assert world.as_("admin").get(keys_of(world), params={"cursor": cursor}).status_code == 400
    assert world.as_("rival").get(keys_of(world, "globex"), params={"cursor": cursor}).status_code == 400
    assert owner.get(keys_of(world), params={"cursor": f"{cursor}x"}).status_code == 400
    assert owner.get(keys_of(world), params={"cursor": cursor, "limit": 200}).status_code == 200
