"""The SDK against a real control plane: every resource once, and the promises that need both ends."""

import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cmdop_sdk.auth import MemoryTokenSource, Secret, TokenPair
from cmdop_sdk.blocking import run_blocking
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import (
    AuthenticationError,
    CMDOPError,
    Conflict,
    GrantError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
)
from cmdop_sdk.models import Discovery, Version
from cmdop_sdk.resources.base import new_action
from cmdop_sdk.resources.sign_in import SignedIn
from cmdop_sdk.store import Store
from cmdop_wire.ids import make_key
from tests.inside import Inside
from tests.processes import Server
from tests.sdk.pairs import place_of
from tests.sdk.test_refresh import CHILD
from tests.world import World

Call = Callable[[AsyncCMDOPClient], Awaitable[Any]]


def signed_in(world: World, who: str, workspace: str | None = None) -> SignedIn:
    """Sign in with the operator's one-time token, as ``cmdop login --token -`` does."""
    token = Secret(world.one_time_token(who))
    ref = world.ref(who, workspace)
    client = AsyncCMDOPClient.anonymous(world.server.url)
    return run_blocking(client, lambda client: client.sign_in.with_token(token, workspace=ref, client="test"))


def as_person(signed: SignedIn, call: Call) -> Any:
    """Run ``call`` with a fresh sign-in."""
    source = MemoryTokenSource(signed.pair)
    return run_blocking(AsyncCMDOPClient.with_source(source, signed.pair.origin, signed.pair.workspace_id), call)


def with_key(world: World, text: str, call: Call, **options: Any) -> Any:
    """Run ``call`` with a key."""
    return run_blocking(AsyncCMDOPClient.remote(api_key=text, server=world.server.url, **options), call)


def stale(pair: TokenPair) -> TokenPair:
    """Return ``pair`` with an access token that the server never knew."""
    from dataclasses import replace

    from cmdop_wire.ids import make_token

    return replace(pair, access_token=Secret(make_token("access")))


def test_a_walk_through_every_resource(world: World) -> None:
    async def walk(client: AsyncCMDOPClient) -> None:
        me = await client.me.show()
        assert me.account is not None
        assert (me.account.id, me.workspace.id, me.workspace.role) == (world["owner"].id, world.acme.id, "owner")
        assert me.default_workspace is not None
        assert me.default_workspace.slug == world["owner"].personal
        assert (await client.sign_in.info()).reach == "all"
        assert {each.slug for each in await client.me.workspaces().all()} == {world.acme.slug, world["owner"].personal}
        assert [each.current for each in await client.me.sessions().all()].count(True) == 1
        assert world.acme.id in {each.workspace.id for each in await client.me.tokens().all()}

        changed = await client.workspace.update(description="ours", timezone="Asia/Kathmandu")
        assert (changed.description, changed.timezone) == ("ours", "Asia/Kathmandu")
        assert await client.workspace.show() == changed
        onboarding = await client.workspace.update_onboarding(auto_tags={"env": "test"}, gate_mode="strict")
        assert (onboarding.auto_tags, onboarding.gate_mode) == ({"env": "test"}, "strict")
        assert await client.workspace.onboarding() == onboarding
        assert (await client.workspace.usage()).members.used == 5
        assert (await client.workspace.slug_preview(name="A & B")).slug == "a-b"
        taken = await client.workspace.slug_preview(slug=world.acme.slug)
        assert (taken.available, bool(taken.suggestion)) == (False, True)

        (guest,) = await client.members.list(email=world["guest"].email).all()
        assert (await client.members.set_role(guest.id, "member")).role == "member"
        await client.members.remove(guest.id)
        assert guest.id not in {each.id for each in await client.members.list().all()}

        made = await client.keys.create("ci", kind="workspace", scopes=["audit:read"], expires_in=3600)
        assert made.secret is not None
        assert made.secret.reveal().startswith(made.prefix)
        assert (made.kind, made.scopes, made.replayed) == ("workspace", ["audit:read"], False)
        assert (await client.keys.show(made.id)).state == "live"
        assert made.id in {each.id for each in await client.keys.list(all=True).all()}
        assert (await client.keys.revoke(made.id)).state == "revoked"
        assert made.id in {each.id for each in await client.keys.list(all=True, state="revoked").all()}

        events = await client.audit.list(action="key.revoked", since=datetime.now(UTC) - timedelta(hours=1)).all()
        assert [event.target.id for event in events] == [made.id]
        whole = await client.audit.list(order="asc").all()
        assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
        head = await client.audit.head()
        assert (head.seq, head.hash) == (whole[-1].seq, whole[-1].hash)

    as_person(signed_in(world, "owner"), walk)


def test_what_the_server_tells_everybody(world: World) -> None:
    async def ask(client: AsyncCMDOPClient) -> tuple[Discovery, Version]:
        return await client.discovery(), await client.version()

    found, version = run_blocking(AsyncCMDOPClient.anonymous(world.server.url), ask)
    assert (found.issuer, found.api) == (world.server.url, f"{world.server.url}/api/v1")
    assert (found.device_uri, found.modes) == (f"{world.server.url}/device", ["prod", "dev"])
    assert (found.version, found.limits["page_items"]) == (version.version, 200)
    assert found.relay == world.server.url  # one process: the relay is where the API is
    # The key that a head must be signed with, learned apart from the head (audit-chain.md).
    head = as_person(signed_in(world, "owner"), lambda client: client.audit.head())
    assert found.audit_public_key == head.public_key


def test_a_lost_create_is_replayed_without_its_secret(world: World) -> None:
    act = new_action()

    async def twice(client: AsyncCMDOPClient) -> None:
        first = await client.keys.create("laptop", idempotency_key=act)
        again = await client.keys.create("laptop", idempotency_key=act)
        assert first.secret is not None
        assert (again.id, again.secret, again.replayed) == (first.id, None, True)
        with pytest.raises(InvalidRequest) as caught:
            await client.keys.create("desktop", idempotency_key=act)
        assert caught.value.code == "idempotency_mismatch"

    as_person(signed_in(world, "member"), twice)


def test_a_workspace_is_created_once_and_a_taken_slug_has_a_suggestion(world: World) -> None:
    slug = f"made-{world.acme.slug}"[:40]

    async def act(client: AsyncCMDOPClient) -> None:
        made = await client.workspace.create("Made here", slug=slug)
        assert (made.slug, made.role, made.kind) == (slug, "owner", "team")
        with pytest.raises(Conflict) as caught:
            await client.workspace.create("Made again", slug=slug)
        assert caught.value.code == "slug_taken"
        assert caught.value.details["suggestion"] != slug

    as_person(signed_in(world, "outsider"), act)


def test_refusals_are_the_classes_that_the_tree_promises(world: World) -> None:
    guest = signed_in(world, "guest")
    with pytest.raises(PermissionDenied):
        as_person(guest, lambda client: client.keys.create("mine"))
    with pytest.raises(NotFound):
        as_person(signed_in(world, "member"), lambda client: client.keys.show("key_00000000000000000001"))
    with pytest.raises(AuthenticationError) as caught:
        with_key(world, make_key(world.acme.slug).text, lambda client: client.me.show())
    assert caught.value.code == "unauthenticated"
    assert caught.value.request_id
    with pytest.raises(InvalidRequest) as invalid:
        as_person(signed_in(world, "owner"), lambda client: client.members.set_role(world["guest"].id, "emperor"))
    assert invalid.value.http_status in (400, 422)
    owner = signed_in(world, "owner")
    with pytest.raises(Conflict) as last:
        as_person(owner, lambda client: client.workspace.leave())
    assert last.value.code == "last_owner"


def test_a_key_works_after_its_workspace_was_renamed(world: World) -> None:
    key = world.key("owner", "members:read", "machines:read")["text"]
    slug = f"new-{world.acme.slug}"[:50]
    as_person(signed_in(world, "owner"), lambda client: client.workspace.update(slug=slug))

    async def act(client: AsyncCMDOPClient) -> tuple[str, str | None]:
        await client.members.list().all()
        return (await client.workspace.show()).slug, client.workspace_ref

    assert with_key(world, key, act) == (slug, world.acme.id)


def test_a_key_leads_to_no_other_workspace(world: World) -> None:
    key = world.key("visitor", "machines:read", workspace="globex")["text"]
    for ref in (world.acme.id, world.acme.slug):
        with pytest.raises(NotFound):
            with_key(world, key, lambda client: client.workspace.show(), workspace=ref)


def test_a_sign_in_for_all_enters_other_workspaces_and_keeps_the_first(world: World) -> None:
    here = signed_in(world, "visitor", "acme")

    async def act(client: AsyncCMDOPClient) -> SignedIn:
        there = await client.sign_in.exchange(here.pair, world.globex.slug)
        assert (await client.me.show()).workspace.id == world.acme.id
        with pytest.raises(NotFound):
            await client.sign_in.exchange(here.pair, world["owner"].personal)
        return there

    there = as_person(here, act)
    assert (there.pair.sign_in_id, there.workspace.role) == (here.pair.sign_in_id, "owner")
    assert there.pair.family_id != here.pair.family_id
    assert as_person(there, lambda client: client.me.show()).workspace.id == world.globex.id


def test_revoking_ends_the_family_and_all_ends_the_sign_in(world: World) -> None:
    here = signed_in(world, "visitor", "acme")
    there = as_person(here, lambda client: client.sign_in.exchange(here.pair, world.globex.slug))
    as_person(here, lambda client: client.sign_in.revoke(there.pair.refresh_token))
    with pytest.raises(AuthenticationError) as caught:
        as_person(there, lambda client: client.me.show())
    assert caught.value.code == "signed_out"
    as_person(here, lambda client: client.sign_in.revoke(here.pair.access_token, all=True))
    with pytest.raises(AuthenticationError):
        as_person(here, lambda client: client.me.show())


def test_the_device_grant_from_start_to_approval(world: World) -> None:
    approvals: list[str] = []

    async def act(client: AsyncCMDOPClient) -> SignedIn:
        device = await client.sign_in.start("sdk test", workspace=world.acme.slug)
        assert device.verification_uri == f"{client.origin}/device"
        assert device.user_code in (device.verification_uri_complete or "")
        with pytest.raises(GrantError) as early:
            await client.sign_in.redeem(device.device_code)
        assert early.value.code == "authorization_pending"
        approve = threading.Thread(target=lambda: approvals.append(_approve(world, device.user_code)))
        approve.start()
        signed = await client.sign_in.wait(device)
        approve.join()
        with pytest.raises(GrantError) as late:
            await client.sign_in.redeem(device.device_code)
        assert late.value.code == "invalid_grant"
        return signed

    signed = run_blocking(AsyncCMDOPClient.anonymous(world.server.url), act)
    assert (signed.pair.account_id, signed.pair.workspace_id) == (world["member"].id, world.acme.id)
    assert as_person(signed, lambda client: client.me.show()).credential.id == signed.pair.family_id


def _approve(world: World, user_code: str) -> str:
    done = world.server.backstage(
        "tests.sdk.approving:approve", account=world["member"].id, user_code=user_code, workspace=world.acme.slug
    )
    return str(done)


def test_ten_processes_refreshing_at_once_against_the_real_server(world: World) -> None:
    store = Store()
    tokens = stale(signed_in(world, "owner").pair)
    store.save(tokens, "file")
    command = [sys.executable, "-c", CHILD, tokens.origin, tokens.account_id, tokens.workspace_id]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        said, complaints = child.communicate(timeout=100)
        assert (said, complaints) == (f"{world['owner'].email}\n" * 3, "")
    fresh = store.pair(**place_of(tokens))
    assert fresh is not None
    assert fresh.refresh_token != tokens.refresh_token
    rotations = world.server.backstage("tests.sdk.approving:rotations", family=tokens.family_id)
    assert rotations == 1


def test_a_refresh_whose_answer_was_lost_gives_the_same_pair_again(world: World) -> None:
    signed = signed_in(world, "owner")

    async def act(client: AsyncCMDOPClient) -> None:
        first = await client.sign_in.refresh(signed.pair)
        again = await client.sign_in.refresh(signed.pair)
        assert first.refresh_token == again.refresh_token
        assert first.family_id == signed.pair.family_id

    run_blocking(AsyncCMDOPClient.anonymous(world.server.url), act)


def test_a_removed_member_is_signed_out_and_told_so(world: World) -> None:
    member, owner = signed_in(world, "member"), signed_in(world, "owner")
    as_person(owner, lambda client: client.members.remove(world["member"].id))
    with pytest.raises(AuthenticationError) as caught:
        as_person(member, lambda client: client.me.show())
    assert caught.value.hint == f"cmdop login --workspace {world.acme.slug}"


def test_the_pin_that_the_server_announces_is_believed(new_server: Callable[..., Server]) -> None:
    server = new_server(None, "--tls", "self-signed")
    announced = json.loads((Path(server.environ["CMDOP_DATA_DIR"]) / "running.json").read_bytes())["ca_pin"]
    client = AsyncCMDOPClient.anonymous(server.url, ca_pin=announced)
    assert run_blocking(client, lambda client: client.version()).name == "cmdop"
    with pytest.raises(CMDOPError) as caught:
        run_blocking(AsyncCMDOPClient.anonymous(server.url, retries=0), lambda client: client.version())
    assert caught.value.code == "untrusted_server"


@pytest.mark.usefixtures("committed_db")
def test_the_same_client_runs_against_the_application_in_this_process(inside: Inside) -> None:
    import httpx

    from cmdop_server.asgi import application
    from tests.casting import cast, make_key

    made = cast("inside", None)
    owner, acme = made["people"]["owner"], made["tenants"]["acme"]
    key = make_key(owner["id"], acme["slug"], "personal", "inside", ["members:read", "machines:read"])

    async def act(client: AsyncCMDOPClient) -> tuple[str, int]:
        return (await client.me.show()).workspace.id, len(await client.members.list().all())

    client = AsyncCMDOPClient.remote(api_key=key["text"], transport=httpx.ASGITransport(application))
    assert run_blocking(client, act) == (acme["id"], 5)
