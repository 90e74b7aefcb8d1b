"""The API's edges: one error shape for everything, strict input, bound cursors, request ids, limits."""

import json
import sqlite3
from typing import Any

import httpx
import pytest

from cmdop_server.api.statuses import HTTP_STATUS
from cmdop_wire.ids import checksum, make_key, make_token
from cmdop_wire.vocab import AccountAction, Action, ErrorCode, Scope
from tests.inside import Inside
from tests.processes import Server
from tests.world import World, make_world


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is the error envelope with this status, and return what it says."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint", "details", "request_id"}
    assert body["error"]["request_id"] == response.headers["X-Request-Id"]
    assert HTTP_STATUS[ErrorCode(body["error"]["code"])] == status
    assert response.headers["Cache-Control"] == "private, no-store"
    return dict(body["error"])


def test_every_code_has_a_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorCode)


def test_unknown_addresses_and_methods(world: World) -> None:
    api = world.as_("owner")
    for path in ("/nowhere", "/me/", "/workspaces/a%2Fb", "/workspaces/a/b/c", "//me", "/workspaces/%00", "/ME"):
        error(api.get(path), 404)
    refused = api.put("/me", json={})
    assert error(refused, 405)["code"] == "method_not_allowed"
    assert refused.headers["Allow"] == "GET"
    assert api.request("TRACE", "/workspaces").status_code == 405
    assert api.post("/me", headers={"X-HTTP-Method-Override": "GET"}).status_code == 405
    assert api.get("/me").status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"kind": "personal", "name": NaN}',
        b'{"kind": "personal", "name": "x", "expires_in": Infinity}',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"expires_in": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_json_is_malformed(standing: World, content: bytes) -> None:
    path, headers = f"/workspaces/{standing.acme.slug}/keys", {"Content-Type": "application/json"}
    assert error(standing.as_("owner").post(path, content=content, headers=headers), 400)["code"] == "malformed"


@pytest.mark.parametrize("body", [[], "x", 3, None, {}, {"kind": "personal"}, {"name": "x"}, {"kind": 1, "name": "x"}])
def test_json_of_another_shape_is_invalid(standing: World, body: Any) -> None:
    answer = standing.as_("owner").post(f"/workspaces/{standing.acme.slug}/keys", json=body)
    assert error(answer, 422)["details"]["fields"]


def test_fields_are_named_and_their_values_never_repeated(world: World) -> None:
    secret = make_key("acme").text
    body = {"kind": secret, "name": 5, "expires_in": secret, secret: secret, "scopes": [secret, 3]}
    answer = world.as_("owner").post(f"/workspaces/{world.acme.slug}/keys", json=body)
    fields = {field["field"] for field in error(answer, 422)["details"]["fields"]}
    assert {"kind", "name", "expires_in", "scopes.1"} <= fields
    assert secret not in answer.text
    unknown = world.as_("owner").post(
        f"/workspaces/{world.acme.slug}/keys", json={"kind": "personal", "name": "x", "scopes": [secret]}
    )
    error(unknown, 422)
    assert secret not in unknown.text


@pytest.mark.parametrize(
    "field", ["id", "workspace_id", "owner", "owner_id", "created_by", "state", "secret_hash", "seq"]
)
def test_nothing_can_be_mass_assigned(world: World, field: str) -> None:
    api, path = world.as_("owner"), f"/workspaces/{world.acme.slug}"
    for method, place, body in (
        ("POST", f"{path}/keys", {"kind": "personal", "name": "x"}),
        ("PATCH", path, {"name": "Acme"}),
        ("PATCH", f"{path}/members/{world['guest'].id}", {"role": "member"}),
        ("PATCH", f"{path}/onboarding", {"gate_mode": "strict"}),
        ("POST", "/workspaces", {"name": "x"}),
        ("POST", "/auth/device", {"client": "x"}),
        ("POST", "/auth/revoke", {"token": "x"}),
    ):
        (named,) = error(api.request(method, place, json=body | {field: "x"}), 422)["details"]["fields"]
        assert named["field"] == field
    assert api.get(path).json()["name"] == "Acme"
    assert api.patch(path, json={"name": "Acme!"}).status_code == 200


def test_the_body_must_be_json_by_its_type_and_small(world: World) -> None:
    api, path = world.as_("owner"), f"/workspaces/{world.acme.slug}/keys"
    body = json.dumps({"kind": "personal", "name": "x"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        error(api.post(path, content=body, headers={"Content-Type": kind}), 415)
    large = json.dumps({"kind": "personal", "name": "x" * 300_000})
    json_type = {"Content-Type": "application/json"}
    error(api.post(path, content=large, headers=json_type), 413)
    error(api.post(path, content=iter([large.encode()]), headers=json_type), 413)  # chunked: no length declared
    assert api.post(path, content=body, headers={"Content-Type": "application/json; charset=utf-8"}).status_code == 201


# --- credentials --------------------------------------------------------------------------------------------------


def test_only_the_bearer_header_counts(world: World) -> None:
    key = world.key("owner")["text"]
    anonymous = world.api()
    for options in (
        {"params": {"access_token": key, "api_key": key, "token": key, "authorization": f"Bearer {key}"}},
        {"headers": {"Cookie": f"Authorization={key}; sessionid={key}; cmdop_session={key}"}},
        {"headers": {"X-API-Key": key, "X-Authorization": f"Bearer {key}", "Proxy-Authorization": f"Bearer {key}"}},
        {"auth": (key, "")},
        {"auth": ("", key)},
        {"headers": {"Authorization": key}},
        {"headers": {"Authorization": f"Token {key}"}},
        {"headers": {"Authorization": f"Bearer  {key}"}},
        {"headers": {"Authorization": f"Bearer {key} {key}"}},
        {"headers": {"Authorization": f'Bearer "{key}"'}},
        {},
    ):
        answer = anonymous.get("/me", **options)  # type: ignore[arg-type]
        assert error(answer, 401)["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert key not in answer.text
    assert anonymous.get("/me", headers={"Authorization": f"bearer {key}"}).status_code == 200


def _wrong_credentials(slug: str) -> tuple[list[str], list[str]]:
    """Return texts that are no credentials by their look, and texts that only the database can tell are none."""
    key, token = make_key(slug).text, make_token("access")
    mistyped = key[:-1] + ("0" if key[-1] != "0" else "1")
    forged = f"cmd_{slug}_{'A' * 30}"
    look_wrong = [
        "", "x", "cmd_", "cmd__x", mistyped, token[:-1], token.upper(), make_token("refresh"), make_token("device"),
        f"{forged}000000", key.replace("cmd_", "cmd-"), f"cmd_UPPER_{key.rpartition('_')[2]}", "é" * 40,
    ]  # fmt: skip
    return look_wrong, [key, token, forged + checksum(forged)]


def test_malformed_and_unknown_credentials_get_the_same_answer(world: World) -> None:
    look_wrong, unknown = _wrong_credentials(world.acme.slug)
    answers = []
    for text in look_wrong + unknown:
        headers = {"Authorization": f"Bearer {text}".strip().encode()}
        answers.append(error(world.api().get("/me", headers=headers), 401) | {"request_id": ""})
    assert all(answer == answers[-1] for answer in answers)


def test_a_malformed_credential_costs_no_query_and_any_other_just_one(
    inside: Inside, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from cmdop_server.access.errors import Unauthenticated
    from cmdop_server.credentials.authenticate import actor_from_bearer
    from tests import casting

    made = casting.cast("count", None)
    account, workspace = made["people"]["member"]["id"], made["tenants"]["acme"]["slug"]
    key = casting.make_key(account, workspace, "personal", "k", None)["text"]
    token = casting.sign_in(account, workspace, "workspace")["access_token"]
    look_wrong, unknown = _wrong_credentials(workspace)

    def queries(text: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            try:
                actor_from_bearer(text, address="192.0.2.1", request_id="r")
            except Unauthenticated:
                assert text not in (key, token)
        return len(captured)

    assert {text: queries(text) for text in look_wrong} == dict.fromkeys(look_wrong, 0)
    assert {text: queries(text) for text in [*unknown, key, token]} == dict.fromkeys([*unknown, key, token], 1)


# --- ids, queries, cursors ----------------------------------------------------------------------------------------


def test_a_stranger_and_a_random_id_get_the_same_answer(world: World) -> None:
    api = world.as_("outsider")
    for rest in ("", "/members", "/keys", "/usage", "/onboarding", "/events", "/events/head"):
        theirs, random, by_id = (
            error(api.get(f"/workspaces/{ref}{rest}"), 404) | {"request_id": ""}
            for ref in (world.acme.slug, "no-such-workspace", world.acme.id)
        )
        assert theirs == random == by_id
        assert world.as_("owner").get(f"/workspaces/{world.acme.slug}{rest}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"limit": "-1"}, {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"}, {"since": "0001-01-01T00:00:00+14:00"}, {"order": "sideways"},
        {"actor": "a\x00b"}, {"action": "a\x00b"}, {"target": "a\x00b"}, {"actor": "x" * 400},
    ],
)  # fmt: skip
def test_queries_that_make_no_sense_are_invalid(standing: World, query: dict[str, str]) -> None:
    path = f"/workspaces/{standing.acme.slug}/events"
    error(standing.as_("owner").get(path, params=query), 422)
    assert standing.as_("owner").get(path, params={"unknown": "ignored"}).status_code == 200


def test_pages_of_events_and_members_are_whole_and_their_cursors_bound(world: World) -> None:
    api = world.as_("owner")
    for noun, query in (("events", {"order": "asc"}), ("members", {})):
        path, found, cursor = f"/workspaces/{world.acme.slug}/{noun}", [], None
        while True:
            page = api.get(path, params={**query, "limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            found += page["items"]
            if page["next"] is None:
                break
            cursor = page["next"]
        whole = api.get(path, params={**query, "limit": 200}).json()
        assert found == whole["items"]
        assert whole["next"] is None
        foreign = f"/workspaces/{world.globex.slug}/{noun}"
        for place, who, extra in (
            (foreign, "rival", query),
            (path, "owner", {**query, "email": "x@example.org", "action": "key.*"}),
            (f"/workspaces/{world.acme.slug}/keys", "owner", {}),
            ("/workspaces", "owner", {}),
        ):
            refused = world.as_(who).get(place, params={**extra, "cursor": cursor})
            assert error(refused, 400)["code"] == "malformed"
        for edited in (f"{cursor}A", str(cursor)[:-1], "", "AAAA", f"A{cursor}"):
            assert api.get(path, params={**query, "cursor": edited}).status_code == 400


def test_a_request_id_is_taken_over_only_if_it_is_plain(world: World) -> None:
    api = world.api()
    for offered, accepted in (
        ("abcdefgh", True), ("a" * 64, True), ("a-b_c.d-e", True), ("short", False), ("a" * 65, False),
        ("has space in it", False), ("<script>alert", False),
    ):  # fmt: skip
        given = api.get("/version", headers={"X-Request-Id": offered}).headers["X-Request-Id"]
        assert (given == offered) is accepted
        assert 8 <= len(given) <= 64


# --- documents, limits, faults ------------------------------------------------------------------------------------


def test_the_openapi_document_declares_action_and_scope_of_every_operation(world: World) -> None:
    document = world.api().get("/openapi.json").json()
    assert document["servers"] == [{"url": "/"}]
    known = {str(action) for action in (*Action, *AccountAction)}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["x-cmdop-action"] in known, (method, path)
            assert operation["x-cmdop-scope"] in {None, *Scope}, (method, path)
            public = operation["x-cmdop-action"] == AccountAction.PUBLIC
            assert ("security" not in operation) is public, (method, path)
            refused = operation["responses"]["422"]["content"]["application/json"]["schema"]
            assert refused == {"$ref": "#/components/schemas/ErrorEnvelope"}
    assert document == world.api().get("/openapi.json").json()


def test_too_many_requests_must_wait_by_credential_account_and_address(new_server: Any) -> None:
    server: Server = new_server(CMDOP_RATE_LIMITS="credential=3/minute,account=5/minute,address=40/minute")
    world = make_world(server)
    first, second = world.key("owner")["text"], world.key("owner")["text"]
    api = world.api(first)
    assert [api.get("/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = api.get("/me")
    assert error(refused, 429)["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    other = world.api(second)  # another address, another key, the same account
    assert [other.get("/me").status_code for _ in range(3)] == [200, 200, 429]
    assert world.api(world.key("admin")["text"]).get("/me").status_code == 200
    anonymous = world.api()
    forwarded = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(41)]
    assert [anonymous.get("/version", headers=each).status_code for each in forwarded] == [200] * 40 + [429]
    world.close()


def test_a_longer_list_costs_no_more_queries(inside: Inside, db: None) -> None:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from tests import casting

    made = casting.cast("list", None)
    owner, client = made["people"]["owner"]["id"], Client()
    pair = casting.sign_in(owner, "acme-list", "all")
    paths = [f"/workspaces/acme-list/{noun}" for noun in ("keys", "members", "events")]
    paths += ["/workspaces", "/me", "/me/sessions", "/me/tokens", "/me/workspaces"]

    def costs() -> dict[str, int]:
        found = {}
        for path in paths:
            with CaptureQueriesContext(connection) as captured:
                answer = client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {pair['access_token']}"})
            assert answer.status_code == 200, answer.content
            found[path] = len(captured)
        return found

    client.get("/api/v1/me", headers={"Authorization": f"Bearer {pair['access_token']}"})  # notes its use
    before = costs()
    for number in range(5):
        casting.make_key(owner, "acme-list", "workspace", f"k{number}", None)
        casting.create_workspace(casting.person(owner), name=f"More {number}")
        casting.sign_in(owner, f"more-{number}", "all")
    assert costs() == before
    assert max(before.values()) <= 5, before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_a_busy_database_is_a_503_that_may_be_tried_again_and_reads_go_on(inside: Inside, committed_db: None) -> None:
    from django.db import connection
    from django.test import Client

    from tests import casting

    made = casting.cast("busy", None)
    key = casting.make_key(made["people"]["owner"]["id"], "acme-busy", "personal", "k", ["keys:read"])["text"]
    pair = casting.sign_in(made["people"]["owner"]["id"], "acme-busy", "workspace")
    path, client = "/api/v1/workspaces/acme-busy/keys", Client()
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout=50")
    writer = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    def ask(method: str, headers: dict[str, str], **options: Any) -> Any:
        return getattr(client, method)(path, headers=headers, content_type="application/json", **options)

    read = ask("get", {"Authorization": f"Bearer {key}"})  # noting its use gives way
    assert read.status_code == 200
    assert read.json()["items"][0]["last_used_at"] is None
    refused = ask("post", bearer, data={"kind": "personal", "name": "x"})
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"
    assert "another change is not done yet" in refused.json()["error"]["message"]
    assert int(refused.headers["Retry-After"]) >= 1
    writer.execute("ROLLBACK")
    writer.close()
    assert ask("post", bearer, data={"kind": "personal", "name": "x"}).status_code == 201
    assert ask("get", {"Authorization": f"Bearer {key}"}).json()["items"][-1]["last_used_at"] is not None
    connection.close()


def test_a_bug_is_a_500_without_a_trace(inside: Inside, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.test import Client

    from cmdop_server.api.routers import version

    def broken() -> str:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(version, "server_version", broken)
    answer = Client(raise_request_exception=False).get("/api/v1/version")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert b"secret of the house" not in answer.content
    assert b"Traceback" not in answer.content
    monkeypatch.undo()
    assert Client().get("/api/v1/version").status_code == 200
