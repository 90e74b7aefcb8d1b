"""Secret stores: one behaviour, and every way in which a keyring disappoints."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import keyring
import pytest

from cmdop_sdk import secret_stores
from cmdop_sdk.auth import TokenPair
from cmdop_sdk.errors import AuthenticationError, LocalStateError
from cmdop_sdk.secret_stores import KeyringStore, choose_store, keyring_is_likely, secret_store
from cmdop_sdk.store import Store
from tests.sdk import keyrings
from tests.sdk.pairs import pair, place_of

BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}


@pytest.fixture
def backend() -> Iterator[Callable[[type], KeyringStore]]:
    """Choose this process's keyring; the one before comes back."""
    before = keyring.get_keyring()
    known = secret_stores._KEYRING

    def choose(kind: type) -> KeyringStore:
        keyring.set_keyring(kind())
        secret_stores._KEYRING = KeyringStore(wait=0.3)
        return secret_stores._KEYRING

    yield choose
    secret_stores._KEYRING = known
    keyrings.Honest.kept.clear()
    keyring.set_keyring(before)


Choose = Callable[[type], KeyringStore]


def test_an_honest_keyring_keeps_gives_back_and_forgets(backend: Choose) -> None:
    store = backend(keyrings.Honest)
    assert store.get("item") is None
    store.set("item", "text")
    assert store.get("item") == "text"
    store.set("item", "other")
    assert store.get("item") == "other"
    store.delete("item")
    store.delete("item")
    assert store.get("item") is None


def test_a_probe_leaves_nothing_behind(backend: Choose) -> None:
    backend(keyrings.Honest).probe()
    assert keyrings.Honest.kept == {}


@pytest.mark.parametrize("kind", [keyrings.Lying, keyrings.Null, keyrings.Fail, keyrings.Locked, keyrings.Hanging])
def test_every_other_keyring_is_found_out_by_the_probe(backend: Choose, kind: type) -> None:
    store = backend(kind)
    begun = time.monotonic()
    with pytest.raises(LocalStateError, match="the keyring cannot be used") as caught:
        store.probe()
    assert time.monotonic() - begun < 2
    assert (caught.value.code, caught.value.hint) == ("store_unreachable", "CMDOP_CREDENTIAL_STORE=file cmdop login")
    assert choose_store("auto", BUS)[0] == "file"
    with pytest.raises(LocalStateError):
        choose_store("keyring")


def test_a_stuck_keyring_is_waited_for_once(backend: Choose) -> None:
    store = backend(keyrings.Hanging)
    with pytest.raises(LocalStateError, match=r"did not answer within 0\.3 seconds"):
        store.get("item")
    begun = time.monotonic()
    with pytest.raises(LocalStateError, match="did not answer"):
        store.get("item")
    assert time.monotonic() - begun < 0.1


def test_a_stuck_keyring_does_not_keep_the_process_alive() -> None:
    code = "from cmdop_sdk.secret_stores import KeyringStore; KeyringStore(wait=1).get('item')"
    environ = {**os.environ, "PYTHON_KEYRING_BACKEND": "tests.sdk.keyrings.Hanging"}
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=25)
    assert time.monotonic() - begun < 20
    assert "did not answer within 1 seconds" in ended.stderr


@pytest.mark.parametrize("chosen", ["", "no.such.Backend", "json.JSONDecoder"])
def test_a_broken_choice_of_backend_is_one_clear_error(chosen: str) -> None:
    ask = "choose_store('auto', {'PYTHON_KEYRING_BACKEND': 'x'})[0]"
    code = f"from cmdop_sdk.secret_stores import choose_store; print({ask})"
    environ = {**os.environ, "PYTHON_KEYRING_BACKEND": chosen}
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=25)
    assert (ended.stdout, ended.returncode) == ("file\n", 0)


def test_auto_takes_a_keyring_that_works_and_says_why_it_does_not(backend: Choose) -> None:
    backend(keyrings.Honest)
    assert choose_store("auto", BUS) == ("keyring", "")
    assert choose_store("keyring", {}) == ("keyring", "")
    assert choose_store("file", BUS) == ("file", "")
    backend(keyrings.Null)
    assert choose_store("auto", BUS) == ("file", "the keyring cannot be used: tests.sdk.keyrings keeps nothing safely")


def test_env_keeps_nothing_and_says_so() -> None:
    with pytest.raises(LocalStateError, match="keeps nothing"):
        choose_store("env")


@pytest.mark.parametrize("kind", ["", "vault", "encrypted-file", "Keyring"])
def test_an_unknown_store_is_refused(kind: str) -> None:
    with pytest.raises(LocalStateError, match="unknown credential store"):
        choose_store(kind)
    with pytest.raises(LocalStateError, match="unknown credential store"):
        secret_store(kind)


def test_with_the_keyring_the_file_has_everything_but_the_secrets(backend: Choose) -> None:
    backend(keyrings.Honest)
    store, tokens = Store(), pair()
    stored = store.save(tokens, "keyring")
    document = json.loads(stored.path.read_bytes())
    assert document["store"] == "keyring"
    assert {"access_token", "refresh_token"}.isdisjoint(document)
    assert document["expires_at"] == tokens.expires_at
    assert tokens.access_token.reveal() not in stored.path.read_text()
    assert store.pair(**place_of(tokens)) == tokens
    (item,) = keyrings.Honest.kept
    assert item == ("cmdop", stored.item)
    assert len(keyrings.Honest.kept[item].encode("utf-16")) < 2560  # Windows takes no more
    assert store.forget(stored)
    assert keyrings.Honest.kept == {}
    assert store.pair(**place_of(tokens)) is None


def test_two_accounts_on_two_servers_have_two_items(backend: Choose) -> None:
    backend(keyrings.Honest)
    store = Store()
    here, there = pair(), pair("https://cmdop.example")
    store.save(here, "keyring")
    store.save(there, "keyring")
    assert [store.pair(**place_of(each)) for each in (here, there)] == [here, there]


def test_an_item_that_is_gone_says_how_to_sign_in(backend: Choose) -> None:
    backend(keyrings.Honest)
    store, tokens = Store(), pair()
    store.save(tokens, "keyring")
    keyrings.Honest.kept.clear()
    with pytest.raises(AuthenticationError) as caught:
        store.pair(**place_of(tokens))
    assert (caught.value.code, caught.value.hint) == ("signed_out", "cmdop login --workspace acme")
    assert store.token(**place_of(tokens)) is not None


def test_a_keyring_that_stops_working_never_becomes_a_file(backend: Choose) -> None:
    backend(keyrings.Honest)
    store, tokens = Store(), pair()
    path = store.save(tokens, "keyring").path
    before = path.read_bytes()
    backend(keyrings.Locked)
    newer: TokenPair = pair()
    with pytest.raises(LocalStateError) as caught:
        store.save(newer, "keyring")
    assert path.read_bytes() == before
    assert newer.access_token.reveal() not in f"{caught.value} {caught.value!r}"


def test_moving_to_the_file_store_empties_the_keyring(backend: Choose) -> None:
    backend(keyrings.Honest)
    store, tokens = Store(), pair()
    store.save(tokens, "keyring")
    store.save(tokens, "file")
    assert keyrings.Honest.kept == {}
    assert store.pair(**place_of(tokens)) == tokens


def test_a_session_without_a_bus_has_no_keyring(tmp_path: object) -> None:
    assert not keyring_is_likely({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert keyring_is_likely(BUS)
    assert keyring_is_likely({"PYTHON_KEYRING_BACKEND": "some.Backend"})
    assert choose_store("auto", {}) == ("file", "this session has no keyring")
