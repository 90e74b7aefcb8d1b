"""Sign-in over HTTP: device grant, token pairs, rotation, exchange, and every way they end (D-16, D-17)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from cmdop_wire.ids import checksum, make_token, make_user_code
from cmdop_wire.vocab import GRANT_DEVICE_CODE, GRANT_REFRESH, GRANT_SIGN_IN_TOKEN
from tests.world import PASSWORD, Api, World

AGEING, ROWS = "tests.ageing:", "tests.server.rows:"
DECISIONS = "tests.server.decisions:"


def code(response: httpx.Response) -> str:
    """Return the error code of an answer, ``"ok"`` for a success."""
    return "ok" if response.is_success else str(response.json()["error"]["code"])


def start(api: Api, **fields: str) -> dict[str, Any]:
    """Start a device grant."""
    answer = api.post("/auth/device", json={"client": "cmdop on laptop"} | fields)
    assert answer.status_code == 200
    return dict(answer.json())


def poll(api: Api, device: dict[str, Any], **fields: str) -> httpx.Response:
    """Poll once for the pair of a device grant."""
    fields = {"grant_type": GRANT_DEVICE_CODE, "device_code": device["device_code"]} | fields
    return api.post("/auth/token", json=fields)


def approve(world: World, who: str, device: dict[str, Any], workspace: str, reach: str = "workspace") -> Any:
    """Approve a device grant as somebody at the cabinet; ``None`` or the refusal."""
    return world.server.backstage(
        f"{DECISIONS}approve",
        account=world[who].id,
        user_code=device["user_code"],
        workspace=workspace,
        reach=reach,
    )


def refresh(api: Api, token: str, **fields: str) -> httpx.Response:
    """Present a refresh token."""
    return api.post("/auth/token", json={"grant_type": GRANT_REFRESH, "refresh_token": token} | fields)


def lives(world: World, access_token: str) -> bool:
    """Tell whether an access token is accepted."""
    status = world.api(access_token).get("/me").status_code
    assert status in (200, 401)
    return status == 200


def remove(world: World, who: str) -> None:
    """Remove somebody from acme."""
    world.server.backstage(f"{DECISIONS}remove", by=world["owner"].id, account=world[who].id, workspace=world.acme.slug)


# --- device grant -------------------------------------------------------------------------------------------------


def test_a_device_signs_in_once_approved_and_only_once(world: World) -> None:
    api = world.api()
    device = start(api, workspace=world.acme.slug)
    assert device["verification_uri"] == f"{world.server.url}/device"
    assert device["verification_uri_complete"].endswith(f"user_code={device['user_code']}")
    assert (device["expires_in"], device["interval"]) == (600, 5)
    assert code(poll(api, device)) == "authorization_pending"
    seen = world.server.backstage(f"{DECISIONS}look", account=world["guest"].id, user_code=device["user_code"].lower())
    assert seen["client"] == "cmdop on laptop"
    assert seen["address"].startswith("127.")
    assert seen["workspace_hint"] == world.acme.slug

    assert approve(world, "member", device, world.acme.slug) is None
    answer = poll(api, device)
    assert answer.status_code == 200
    pair = answer.json()
    assert pair["token_type"] == "Bearer"
    assert pair["expires_in"] in (3599, 3600)
    assert pair["refresh_expires_in"] in (30 * 86400 - 1, 30 * 86400)
    assert pair["scope"] == "workspace"
    assert pair["account"]["id"] == world["member"].id
    assert pair["workspace"] == {
        "id": world.acme.id,
        "slug": world.acme.slug,
        "name": world.acme.name,
        "kind": "team",
        "role": "member",
    }
    assert pair["default_workspace"] is None  # it cannot be entered with this sign-in
    assert lives(world, pair["access_token"])
    assert code(poll(api, device)) == "invalid_grant"
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_a_sign_in_for_all_is_told_its_default_workspace(world: World) -> None:
    api, device = world.api(), start(world.api())
    approve(world, "member", device, world.acme.slug, "all")
    assert poll(api, device).json()["default_workspace"]["slug"] == world["member"].personal


def test_polling_too_fast_slows_down_more_each_time(world: World) -> None:
    api, device = world.api(), start(world.api())

    def ago(seconds: float) -> None:
        world.server.backstage(f"{AGEING}device_polled_ago", device_code=device["device_code"], seconds=seconds)

    assert code(poll(api, device)) == "authorization_pending"
    for gap in (10, 15, 20):
        answer = poll(api, device)
        assert code(answer) == "slow_down"
        assert answer.json()["error"]["details"]["interval"] == gap
    ago(19)
    assert code(poll(api, device)) == "slow_down"
    ago(25.1)
    assert code(poll(api, device)) == "authorization_pending"
    approve(world, "member", device, world.acme.slug)
    assert code(poll(api, device)) == "ok"  # RFC 8628 §3.5: slow_down is said while the approval is pending


def test_denied_expired_unknown_and_foreign_codes(world: World) -> None:
    api = world.api()
    denied, expired, bound = (start(api) for _ in range(3))
    world.server.backstage(f"{DECISIONS}deny", account=world["guest"].id, user_code=denied["user_code"])
    assert code(poll(api, denied)) == "access_denied"
    approve(world, "member", expired, world.acme.slug)
    world.server.backstage(f"{AGEING}device_ends_in", device_code=expired["device_code"], seconds=-1)
    assert code(poll(api, expired)) == "expired_token"
    assert code(poll(api, {"device_code": make_token("device")})) == "invalid_grant"
    assert code(poll(api, {"device_code": make_token("refresh")})) == "invalid_grant"
    assert code(poll(api, {"device_code": "nonsense"})) == "invalid_grant"
    approve(world, "member", bound, world.acme.slug)
    assert code(poll(api, bound, client="another client")) == "invalid_grant"
    assert code(poll(api, bound, client="cmdop on laptop")) == "ok"


def test_twenty_redemptions_of_one_code_give_one_pair(world: World) -> None:
    device = start(world.api())
    approve(world, "member", device, world.acme.slug)
    apis = [world.api() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(lambda api: code(poll(api, device)), apis))
    assert codes == ["invalid_grant"] * 19 + ["ok"]
    assert world.server.backstage(f"{ROWS}live_families", account=world["member"].id, workspace=world.acme.id) == 1


@pytest.mark.parametrize(("removed", "expected"), [(True, "access_denied"), (False, "ok")])
def test_an_approver_who_was_removed_lets_nobody_in(world: World, removed: bool, expected: str) -> None:
    api, device = world.api(), start(world.api())
    approve(world, "member", device, world.acme.slug)
    remove(world, "member" if removed else "guest")
    assert code(poll(api, device)) == expected


def test_nobody_approves_for_a_workspace_they_are_not_in(world: World) -> None:
    device = start(world.api())
    assert approve(world, "outsider", device, world.acme.slug)["code"] == "not_found"
    assert code(poll(world.api(), device)) == "authorization_pending"
    assert approve(world, "guest", device, world.acme.slug) is None


def test_wrong_and_expired_user_codes_look_the_same_and_guessing_must_wait(world: World) -> None:
    live, expired = start(world.api()), start(world.api())
    world.server.backstage(f"{AGEING}device_ends_in", device_code=expired["device_code"], seconds=-1)

    def look(who: str, user_code: str) -> dict[str, Any]:
        return dict(world.server.backstage(f"{DECISIONS}look", account=world[who].id, user_code=user_code))

    assert look("member", expired["user_code"]) == look("member", make_user_code()) == look("member", "x")
    assert look("member", live["user_code"])["client"] == "cmdop on laptop"  # three wrong ones are forgiven
    for _ in range(2):
        look("member", make_user_code())
    refused = look("member", live["user_code"])
    assert refused["code"] == "rate_limited"
    assert 0 < refused["retry_after"] <= 600
    assert look("admin", live["user_code"])["client"] == "cmdop on laptop"


def test_a_client_must_have_a_name_that_can_be_shown(world: World) -> None:
    for client in ("", "  ", "x" * 121, "a\x00b", "a\u202eb"):
        assert world.api().post("/auth/device", json={"client": client}).status_code == 422
    assert world.api().post("/auth/device", json={"client": "ok", "workspace": "No Slug"}).status_code == 422


def test_unknown_grants_and_missing_fields(world: World) -> None:
    api = world.api()
    assert code(api.post("/auth/token", json={"grant_type": "password"})) == "unsupported_grant_type"
    for grant in (GRANT_DEVICE_CODE, GRANT_REFRESH, GRANT_SIGN_IN_TOKEN):
        assert code(api.post("/auth/token", json={"grant_type": grant})) == "invalid"


# --- rotation -----------------------------------------------------------------------------------------------------


def test_a_refresh_rotates_and_the_old_access_token_lives_on(world: World) -> None:
    api, first = world.api(), world.sign_in("member")
    second = refresh(api, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (second["family_id"], second["sign_in_id"]) == (first["family_id"], first["sign_in_id"])
    assert lives(world, first["access_token"])
    assert lives(world, second["access_token"])
    assert refresh(api, second["refresh_token"]).status_code == 200


def test_ten_refreshes_at_once_are_one_rotation(world: World) -> None:
    first = world.sign_in("member")
    apis = [world.api() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda api: refresh(api, first["refresh_token"]), apis))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert all(lives(world, answer.json()["access_token"]) for answer in answers)
    assert world.server.backstage(f"{ROWS}refresh_tokens", family=first["family_id"]) == 1


def test_a_lost_answer_can_be_asked_for_again_until_its_token_was_used(world: World) -> None:
    api, first = world.api(), world.sign_in("member")
    lost = refresh(api, first["refresh_token"]).json()
    world.server.backstage(f"{AGEING}rotated_ago", token=first["refresh_token"], seconds=86_400)
    again = refresh(api, first["refresh_token"]).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert lives(world, again["access_token"])


def test_within_a_minute_a_replaced_token_leads_to_the_newest(world: World) -> None:
    api, first = world.api(), world.sign_in("member")
    second = refresh(api, first["refresh_token"]).json()
    third = refresh(api, second["refresh_token"]).json()
    late = refresh(api, first["refresh_token"]).json()
    assert late["refresh_token"] == third["refresh_token"]
    assert world.server.backstage(f"{ROWS}refresh_tokens", family=first["family_id"]) == 1


def test_reuse_after_the_grace_ends_that_family_only(world: World) -> None:
    api, first = world.api(), world.sign_in("visitor", "acme", reach="all")
    elsewhere = refresh(api, first["refresh_token"], workspace=world.globex.slug).json()
    second = refresh(api, first["refresh_token"]).json()
    third = refresh(api, second["refresh_token"]).json()
    world.server.backstage(f"{AGEING}rotated_ago", token=first["refresh_token"], seconds=61)
    assert code(refresh(api, first["refresh_token"])) == "invalid_grant"
    assert code(refresh(api, third["refresh_token"])) == "invalid_grant"
    assert not lives(world, third["access_token"])
    assert lives(world, elsewhere["access_token"])
    assert refresh(api, elsewhere["refresh_token"]).status_code == 200
    events = world.as_("owner").get(f"/workspaces/{world.acme.slug}/events", params={"action": "sign_in.ended"}).json()
    assert [event["changes"] for event in events["items"]] == [{"cause": "reuse", "families": [first["family_id"]]}]


def test_nothing_outlives_the_sign_in(world: World) -> None:
    api, pair = world.api(), world.sign_in("member")
    world.server.backstage(f"{AGEING}sign_in_ends_in", sign_in=pair["sign_in_id"], seconds=600)
    fresh = refresh(api, pair["refresh_token"]).json()
    assert fresh["expires_in"] <= 600
    assert fresh["refresh_expires_in"] <= 600
    world.server.backstage(f"{AGEING}sign_in_ends_in", sign_in=pair["sign_in_id"], seconds=-1)
    assert not lives(world, fresh["access_token"])
    assert code(refresh(api, fresh["refresh_token"])) == "invalid_grant"


def test_an_expired_access_token_is_refused_and_its_refresh_token_helps(world: World) -> None:
    pair = world.sign_in("member")
    world.server.backstage(f"{AGEING}token_ends_in", token=pair["access_token"], seconds=-1)
    assert not lives(world, pair["access_token"])
    assert lives(world, refresh(world.api(), pair["refresh_token"]).json()["access_token"])


def test_tokens_are_good_for_their_own_purpose_only(world: World) -> None:
    pair = world.sign_in("member")
    assert world.api(pair["refresh_token"]).get("/me").status_code == 401
    assert code(refresh(world.api(), pair["access_token"])) == "invalid_grant"
    mistyped = pair["refresh_token"][:-7] + "0"
    for text in (make_token("refresh"), "cmdrt_x", "", mistyped + checksum(mistyped), world.key("member")["text"]):
        assert code(refresh(world.api(), text)) in ("invalid_grant", "invalid")


# --- exchange -----------------------------------------------------------------------------------------------------


def test_a_sign_in_for_all_enters_another_workspace_and_the_source_stays(world: World) -> None:
    api, source = world.api(), world.sign_in("visitor", "acme", reach="all")
    entered = refresh(api, source["refresh_token"], workspace=world.globex.slug)
    assert entered.status_code == 200
    pair = entered.json()
    assert pair["workspace"]["slug"] == world.globex.slug
    assert pair["workspace"]["role"] == "owner"
    assert pair["sign_in_id"] == source["sign_in_id"]
    assert pair["family_id"] != source["family_id"]
    assert lives(world, source["access_token"])
    assert refresh(api, source["refresh_token"]).json()["family_id"] == source["family_id"]
    globex = world.api(pair["access_token"])
    assert globex.get(f"/workspaces/{world.globex.slug}").status_code == 200
    assert globex.get(f"/workspaces/{world.acme.slug}").status_code == 404
    (event,) = (
        world.as_("rival")
        .get(
            f"/workspaces/{world.globex.slug}/events",
            params={"action": "sign_in.entered", "actor": world["visitor"].id},
        )
        .json()["items"]
    )
    assert world.acme.id not in str(event)
    assert source["family_id"] not in str(event)


def test_naming_its_own_workspace_is_an_ordinary_refresh(world: World) -> None:
    api, pair = world.api(), world.sign_in("visitor", "acme")
    by_slug = refresh(api, pair["refresh_token"], workspace=world.acme.slug).json()
    by_id = refresh(api, by_slug["refresh_token"], workspace=world.acme.id).json()
    assert by_id["family_id"] == pair["family_id"]


def test_a_sign_in_for_one_workspace_is_not_exchanged(world: World) -> None:
    api, pair = world.api(), world.sign_in("visitor", "acme")
    for ref in (world.globex.slug, world.globex.id, "no-such-workspace", "ws_" + "0" * 20):
        refused = refresh(api, pair["refresh_token"], workspace=ref)
        assert (refused.status_code, code(refused)) == (403, "forbidden")
    assert refused.json()["error"]["hint"].startswith("cmdop login")
    assert lives(world, pair["access_token"])


def test_an_exchange_asks_for_membership_now(world: World) -> None:
    api, pair = world.api(), world.sign_in("visitor", "globex", reach="all")
    assert refresh(api, pair["refresh_token"], workspace=world.acme.slug).status_code == 200
    remove(world, "visitor")
    gone = refresh(api, pair["refresh_token"], workspace=world.acme.slug)
    unknown = refresh(api, pair["refresh_token"], workspace="no-such-workspace")
    assert gone.status_code == unknown.status_code == 404
    assert gone.json()["error"] | {"request_id": ""} == unknown.json()["error"] | {"request_id": ""}


def test_what_each_reach_can_see(world: World) -> None:
    narrow, wide = world.as_("visitor", "acme"), world.as_("visitor", "acme", "all")

    def slugs(api: Api, path: str) -> set[str]:
        return {workspace["slug"] for workspace in api.get(path).json()["items"]}

    everywhere = {world.acme.slug, world.globex.slug, world["visitor"].personal}
    for path in ("/workspaces", "/me/workspaces"):
        assert slugs(narrow, path) == {world.acme.slug}
        assert slugs(wide, path) == everywhere
    assert narrow.get("/me").json()["default_workspace"] is None
    assert wide.get("/me").json()["default_workspace"]["slug"] == world["visitor"].personal
    for api in (narrow, wide):
        assert api.get(f"/workspaces/{world.globex.slug}").status_code == 404
    assert len(narrow.get("/me/sessions").json()["items"]) == 1
    assert len(wide.get("/me/sessions").json()["items"]) == 2


# --- one-time tokens ----------------------------------------------------------------------------------------------


def test_a_one_time_token_signs_in_everywhere_once(world: World) -> None:
    api, text = world.api(), world.one_time_token("member")

    def redeem(**fields: str) -> httpx.Response:
        return api.post("/auth/token", json={"grant_type": GRANT_SIGN_IN_TOKEN, "token": text} | fields)

    assert redeem(workspace=world.globex.slug).status_code == 404  # and the token is not lost by it
    pair = redeem(client="cmdop on server").json()
    assert pair["workspace"]["slug"] == world["member"].personal
    assert pair["scope"] == "all"
    assert code(redeem()) == "invalid_grant"
    entered = refresh(api, pair["refresh_token"], workspace=world.acme.slug).json()
    assert entered["workspace"]["role"] == "member"
    (session,) = world.api(entered["access_token"]).get("/me/sessions").json()["items"]
    assert session["client"] == "cmdop on server"
    assert session["workspaces"] == sorted([world.acme.slug, world["member"].personal])


def test_a_one_time_token_for_two_workspaces_at_once_signs_in_to_one(world: World) -> None:
    # No lock of a workspace makes these wait for each other; the token alone does.
    for _ in range(5):
        body = {"grant_type": GRANT_SIGN_IN_TOKEN, "token": world.one_time_token("visitor")}
        places = [world.acme.slug, world.globex.slug, world["visitor"].personal] * 3
        bodies = [body | {"workspace": place} for place in places]
        apis = [world.api() for _ in places]
        with ThreadPoolExecutor(len(places)) as pool:
            answers = list(pool.map(lambda api, asked: api.post("/auth/token", json=asked), apis, bodies))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 8


def test_an_expired_one_time_token_is_none(world: World) -> None:
    text = world.one_time_token("member")
    world.server.backstage(f"{AGEING}one_time_token_ends_in", token=text, seconds=-1)
    body = {"grant_type": GRANT_SIGN_IN_TOKEN, "token": text, "workspace": world.acme.slug}
    assert code(world.api().post("/auth/token", json=body)) == "invalid_grant"
    body["token"] = world.one_time_token("member")
    assert world.api().post("/auth/token", json=body).json()["workspace"]["slug"] == world.acme.slug


# --- endings ------------------------------------------------------------------------------------------------------


def test_revoking_a_token_ends_its_family_and_all_ends_the_sign_in(world: World) -> None:
    api, acme = world.api(), world.sign_in("visitor", "acme", reach="all")
    globex = refresh(api, acme["refresh_token"], workspace=world.globex.slug).json()
    home = refresh(api, acme["refresh_token"], workspace=world["visitor"].personal).json()
    assert api.post("/auth/revoke", json={"token": globex["refresh_token"]}).json() == {"revoked": True}
    assert not lives(world, globex["access_token"])
    assert lives(world, acme["access_token"])
    assert lives(world, home["access_token"])
    assert api.post("/auth/revoke", json={"token": acme["access_token"], "all": True}).status_code == 200
    assert not lives(world, acme["access_token"])
    assert not lives(world, home["access_token"])
    assert code(refresh(api, home["refresh_token"])) == "invalid_grant"
    for text in (globex["refresh_token"], make_token("access"), "nonsense"):
        assert api.post("/auth/revoke", json={"token": text}).json() == {"revoked": True}


def test_a_sign_in_is_ended_from_another_one_of_the_same_person(world: World) -> None:
    here, there = world.sign_in("member", reach="all"), world.sign_in("member", reach="all")
    api = world.api(here["access_token"])
    sessions = {session["id"]: session["current"] for session in api.get("/me/sessions").json()["items"]}
    assert sessions == {here["sign_in_id"]: True, there["sign_in_id"]: False}
    path = f"/me/sessions/{there['sign_in_id']}"
    assert world.as_("admin").delete(path).status_code == 404
    assert world.api(world.key("member")["text"]).delete(path).status_code == 403
    assert lives(world, there["access_token"])
    assert api.delete(path).status_code == 204
    assert not lives(world, there["access_token"])
    assert api.delete(path).status_code == 404
    assert [family["id"] for family in api.get("/me/tokens").json()["items"]] == [here["family_id"]]


def test_keys_learn_nothing_of_sign_ins(world: World) -> None:
    key = world.api(world.key("member")["text"])
    world.sign_in("member")
    assert key.get("/me/sessions").status_code == key.get("/me/tokens").status_code == 403
    assert world.as_("member").get("/me/tokens").status_code == 200


def test_removal_ends_what_was_signed_in_there_for_ever_and_nothing_else(world: World) -> None:
    api, acme = world.api(), world.sign_in("visitor", "acme", reach="all")
    globex = refresh(api, acme["refresh_token"], workspace=world.globex.slug).json()
    assert world.as_("owner").delete(f"/workspaces/{world.acme.slug}/members/{world['visitor'].id}").status_code == 204
    assert not lives(world, acme["access_token"])
    assert code(refresh(api, acme["refresh_token"])) == "invalid_grant"
    assert lives(world, globex["access_token"])
    world.server.backstage(
        f"{DECISIONS}add",
        by=world["owner"].id,
        account=world["visitor"].id,
        workspace=world.acme.slug,
        role="guest",
    )
    assert not lives(world, acme["access_token"])
    assert code(refresh(api, acme["refresh_token"])) == "invalid_grant"
    assert refresh(api, globex["refresh_token"], workspace=world.acme.slug).status_code == 200


def test_a_new_password_ends_the_other_sign_ins_and_their_pending_grants(world: World) -> None:
    kept, ended = world.sign_in("member"), world.sign_in("member", reach="all")
    other, key = world.sign_in("admin"), world.key("member")
    pending, one_time = start(world.api()), world.one_time_token("member")
    approve(world, "member", pending, world.acme.slug)
    world.server.backstage(
        f"{DECISIONS}new_password", account=world["member"].id, password=PASSWORD + "!", keep=kept["sign_in_id"]
    )
    assert not lives(world, ended["access_token"])
    assert code(refresh(world.api(), ended["refresh_token"])) == "invalid_grant"
    assert lives(world, kept["access_token"])
    assert lives(world, other["access_token"])
    assert lives(world, key["text"])
    assert code(poll(world.api(), pending)) == "access_denied"
    body = {"grant_type": GRANT_SIGN_IN_TOKEN, "token": one_time}
    assert code(world.api().post("/auth/token", json=body)) == "invalid_grant"


def test_an_inactive_account_is_signed_in_nowhere(world: World) -> None:
    pair = world.sign_in("member")
    assert lives(world, pair["access_token"])
    world.server.backstage(f"{ROWS}deactivate", account=world["member"].id)
    assert not lives(world, pair["access_token"])
    assert code(refresh(world.api(), pair["refresh_token"])) == "invalid_grant"
