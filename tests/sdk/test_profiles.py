"""Reading what the command line saved, and acting with it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cmdop_cli.local import Local
from cmdop_cli.profiles import Server
from cmdop_cli.state import Membership, Place
from cmdop_cli.state_draft import Draft
from cmdop_sdk.auth import TokenPair
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.documents import to_json
from cmdop_sdk.errors import AuthenticationError, CMDOPError, LocalStateError, NotFound
from cmdop_sdk.profiles import saved_sign_in
from cmdop_sdk.store import Store
from cmdop_sdk.token_files import account_hash
from tests.sdk.loopback import WORKSPACE, loopback
from tests.sdk.pairs import OTHER_WORKSPACE, Rotation, pair

PIN = "sha256:" + "ab" * 32
ACME = {"id": WORKSPACE["id"], "slug": "acme"}
GLOBEX = {"id": OTHER_WORKSPACE["id"], "slug": "globex"}


def state_of(tokens: TokenPair, *, active: dict[str, str] | None = None, none: bool = False) -> dict[str, Any]:
    """Return a state.json as the command line writes it: one identity, and what it chose."""
    draft = Draft({})
    key = account_hash(tokens.origin, tokens.account_id)
    home = Place(**ACME)
    draft.signed_in(
        "default",
        "prod",
        identity=key,
        origin=tokens.origin,
        account_id=tokens.account_id,
        email=tokens.account_email,
        workspace=home,
        default=home,
    )
    draft.remember(key, [Membership(home), Membership(Place(**GLOBEX))], at="2026-01-01T00:00:00Z")
    if none:
        draft.choose("default", "prod", None)
    elif active is not None:
        draft.choose("default", "prod", Place(**active))
    else:
        draft.deselect(key, home)
    return draft.document


def write(store: Store, name: str, content: bytes) -> Path:
    """Write one file of the command line's."""
    with store.file(name).locked() as file:
        file.write(content)
    return store.file(name).path


@pytest.fixture
def store() -> Store:
    """The store of the isolated home."""
    return Store()


def test_the_pin_is_the_profile_s(store: Store) -> None:
    tokens = pair()
    write(store, "state.json", to_json(state_of(tokens, active=GLOBEX)))
    assert saved_sign_in(store).ca_pin is None
    Local().profiles().save("default", "prod", Server(tokens.origin, PIN, tokens.account_id, tokens.account_email))
    saved = saved_sign_in(store)
    assert (saved.origin, saved.account_id, saved.ca_pin) == (tokens.origin, tokens.account_id, PIN)


@pytest.mark.parametrize(
    ("choice", "wanted", "expected"),
    [
        ({"active": GLOBEX}, None, GLOBEX["id"]),
        ({}, None, ACME["id"]),
        ({"active": ACME}, "globex", GLOBEX["id"]),
        ({"none": True}, "acme", ACME["id"]),
        ({"active": ACME}, "ws_00000000000000000042", "ws_00000000000000000042"),
        ({"none": True}, None, None),
        ({"active": ACME}, "initech", None),
    ],
    ids=["active", "default", "by-slug", "by-slug-though-none", "by-id", "none", "unknown"],
)
def test_the_workspace_is_the_named_one_else_the_active_one_else_the_default(
    store: Store, choice: dict[str, Any], wanted: str | None, expected: str | None
) -> None:
    write(store, "state.json", to_json(state_of(pair(), **choice)))
    if expected is not None:
        assert saved_sign_in(store, workspace=wanted).workspace_id == expected
    else:
        with pytest.raises(CMDOPError) as caught:
            saved_sign_in(store, workspace=wanted)
        assert caught.value.hint.startswith("cmdop workspace")
        assert isinstance(caught.value, NotFound) == (wanted is not None)


@pytest.mark.parametrize(("profile", "mode"), [("other", None), (None, "dev"), ("default", "dev")])
def test_where_nobody_signed_in_is_said(store: Store, profile: str | None, mode: str | None) -> None:
    write(store, "state.json", to_json(state_of(pair())))
    with pytest.raises(AuthenticationError, match="not signed in") as caught:
        saved_sign_in(store, profile, mode)
    assert (caught.value.code, caught.value.hint) == ("signed_out", "cmdop login")


def test_without_any_state_nobody_is_signed_in(store: Store) -> None:
    with pytest.raises(AuthenticationError, match=r"profile default, mode prod"):
        AsyncCMDOPClient.from_profile()
    assert not store.root.exists()


def test_a_profile_that_leads_elsewhere_lends_its_pin_to_nobody(store: Store) -> None:
    write(store, "state.json", to_json(state_of(pair(), active=ACME)))
    write(
        store,
        "profiles.toml",
        f'[profiles.default.servers.prod]\nurl = "https://other.example"\nca_pin = "{PIN}"\n'.encode(),
    )
    with pytest.raises(LocalStateError, match="another server than it is signed in to"):
        saved_sign_in(store)


@pytest.mark.parametrize("name", ["state.json", "profiles.toml"])
@pytest.mark.parametrize(
    "content", [b"[" * 5000, b"\0", b"\xff", b"profiles = 3", b'{"signed_in": 3}', b'{"profile": []}']
)
def test_broken_files_are_named_and_kept(store: Store, name: str, content: bytes) -> None:
    write(store, "state.json", to_json(state_of(pair(), active=ACME)))
    path = write(store, name, content)
    with pytest.raises(LocalStateError) as caught:
        saved_sign_in(store)
    assert caught.value.path == str(path)
    assert path.read_bytes() == content


def test_from_profile_acts_with_the_stored_sign_in_and_keeps_the_refreshed_one(store: Store) -> None:
    rotation = Rotation()
    with loopback(rotation) as server:
        tokens = pair(server.origin)
        rotation.start_with(tokens)
        store.save(tokens, "file")
        write(store, "state.json", to_json(state_of(tokens, active=ACME)))

        async def act() -> tuple[str | None, str]:
            async with AsyncCMDOPClient.from_profile() as client:
                return client.workspace_ref, (await client.me.show()).workspace.slug

        assert asyncio.run(act()) == (ACME["id"], "acme")
        assert asyncio.run(act()) == (ACME["id"], "acme")
    assert rotation.rotations == 1


def test_from_profile_without_a_pair_for_the_workspace_says_how_to_get_one(store: Store) -> None:
    write(store, "state.json", to_json(state_of(pair(), active=GLOBEX)))

    async def act() -> None:
        async with AsyncCMDOPClient.from_profile() as client:
            await client.me.show()

    with pytest.raises(AuthenticationError) as caught:
        asyncio.run(act())
    assert caught.value.code == "signed_out"
    assert caught.value.hint == f"cmdop login --workspace {GLOBEX['id']}"
