"""The token store: where pairs are, that a file belongs where it lies, and that hostile content is an error, kept."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_sdk import documents
from cmdop_sdk.auth import TokenPair
from cmdop_sdk.errors import LocalStateError
from cmdop_sdk.store import Store, config_dir
from cmdop_sdk.token_files import account_hash, from_document
from cmdop_wire.ids import make_id
from tests.sdk.pairs import pair, place_of

OTHER = "http://127.0.0.1:9999"


@pytest.fixture
def store() -> Store:
    """The store of the isolated home."""
    return Store()


@pytest.fixture
def tokens() -> TokenPair:
    """One pair."""
    return pair()


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Change the document in ``path`` in place, as a careless person would; return its bytes."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CMDOP_CONFIG_DIR": "/some/where", "HOME": "/home/ana"}, "/some/where"),
        ({"HOME": "/home/ana"}, "/home/ana/.config/cmdop"),
        ({"HOME": "/home/ana", "XDG_CONFIG_HOME": "/xdg"}, "/xdg/cmdop"),
        ({"HOME": "/home/ana", "XDG_CONFIG_HOME": "relative"}, "/home/ana/.config/cmdop"),
    ],
)
def test_where_local_state_is(environ: dict[str, str], expected: str) -> None:
    assert config_dir(environ) == Path(expected)


@pytest.mark.parametrize("chosen", ["", "relative/dir", ".", "a\0b"])
def test_a_config_dir_that_depends_on_where_one_stands_is_refused(chosen: str) -> None:
    with pytest.raises(LocalStateError, match="no absolute path"):
        config_dir({"CMDOP_CONFIG_DIR": chosen, "HOME": "/home/ana"})


def test_a_pair_comes_back_as_it_was_saved(store: Store, tokens: TokenPair) -> None:
    stored = store.save(tokens, "file")
    assert store.pair(**place_of(tokens)) == tokens
    assert store.token(**place_of(tokens)) == stored
    folder = account_hash(tokens.origin, tokens.account_id)
    assert stored.path == store.root / "accounts" / folder / tokens.workspace_id / "token_prod.json"
    assert "cmdat" not in repr(stored)


def test_three_workspaces_and_two_modes_are_kept_apart(store: Store) -> None:
    pairs = [
        pair(workspace_id=make_id("workspace"), workspace_slug=f"ws-{number}", mode=mode)
        for number in range(3)
        for mode in ("prod", "dev")
    ]
    for each in pairs:
        store.save(each, "file")
    assert [store.pair(**place_of(each)) for each in pairs] == pairs
    store.forget(store.save(pairs[0], "file"))
    assert [store.pair(**place_of(each)) for each in pairs] == [None, *pairs[1:]]
    assert len(list(store.tokens())) == 5


def test_the_same_account_id_at_two_servers_is_two_accounts(store: Store, tokens: TokenPair) -> None:
    store.save(tokens, "file")
    assert store.pair(**{**place_of(tokens), "origin": OTHER}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(origin=OTHER),
        lambda document: document.update(mode="dev"),
        lambda document: document["account"].update(id=make_id("account")),
        lambda document: document["workspace"].update(id=make_id("workspace")),
        lambda document: document["workspace"].update(id="../../elsewhere"),
    ],
)
def test_a_file_whose_content_belongs_elsewhere_is_refused_and_kept(
    store: Store, tokens: TokenPair, change: Callable[[dict[str, Any]], object]
) -> None:
    path = store.save(tokens, "file").path
    content = edited(path, change)
    for read in (store.token, store.pair):
        with pytest.raises(LocalStateError, match="does not belong here") as caught:
            read(**place_of(tokens))
        assert caught.value.path == str(path)
    assert [str(each) for each in store.tokens()] == [caught.value.message]
    assert path.read_bytes() == content


def test_a_copied_file_is_refused_where_it_was_copied_to(store: Store, tokens: TokenPair) -> None:
    other = pair(workspace_id=make_id("workspace"), mode="dev")
    source, target = store.save(tokens, "file").path, store.save(other, "file").path
    target.write_bytes(source.read_bytes())
    with pytest.raises(LocalStateError, match="does not belong here"):
        store.pair(**place_of(other))
    assert store.pair(**place_of(tokens)) == tokens


@pytest.mark.parametrize(
    ("account_id", "workspace_id", "mode"),
    [("../x", "ws_00000000000000000001", "prod"), ("usr_00000000000000000001", "..", "prod")]
    + [("usr_00000000000000000001", "ws_00000000000000000001", mode) for mode in ("../prod", "", "PROD", "staging")],
)
def test_an_id_never_leads_out_of_the_directory(store: Store, account_id: str, workspace_id: str, mode: str) -> None:
    with pytest.raises(LocalStateError):
        store.token_file(origin=OTHER, account_id=account_id, workspace_id=workspace_id, mode=mode)


HOSTILE = {
    "empty": b"",
    "blank": b" \n",
    "NUL": b"\0" * 100,
    "truncated": b'{"schema": 1, "origin": "http',
    "not UTF-8": b'{"schema": "\xff"}',
    "BOM": b'\xef\xbb\xbf{"schema": 1}',
    "UTF-16": '{"schema": 1}'.encode("utf-16"),
    "list": b"[1]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "10 MB": b'{"a": "' + b"x" * (10 << 20) + b'"}',
    "huge number": b'{"schema": ' + b"9" * 10_000 + b"}",
    "constant": b'{"schema": NaN}',
    "twice": b'{"schema": 1, "schema": 2}',
    "schema text": b'{"schema": "1"}',
    "schema true": b'{"schema": true}',
    "schema zero": b'{"schema": 0}',
    "no fields": b"{}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_is_an_error_that_names_the_file_and_keeps_it(
    store: Store, tokens: TokenPair, content: bytes
) -> None:
    path = store.save(tokens, "file").path
    neighbour = pair(mode="dev")
    store.save(neighbour, "file")
    path.write_bytes(content)
    for act in (
        lambda: store.pair(**place_of(tokens)),
        lambda: store.token(**place_of(tokens)),
    ):
        with pytest.raises(LocalStateError) as caught:
            act()
        assert (caught.value.path, caught.value.code) == (str(path), "local_state")
        assert str(path) in caught.value.message
        assert len(caught.value.message) < 500
    assert path.read_bytes() == content
    assert store.pair(**place_of(neighbour)) == neighbour
    assert [type(each).__name__ for each in store.tokens()] == ["StoredToken", "LocalStateError"]


@pytest.mark.parametrize("content", [b"", b"[", b"\0", b"{}", b"x" * (2 << 20)])
def test_a_new_sign_in_replaces_a_broken_file(store: Store, tokens: TokenPair, content: bytes) -> None:
    path = store.save(tokens, "file").path
    path.write_bytes(content)
    store.save(tokens, "file")
    assert store.pair(**place_of(tokens)) == tokens
    assert path.with_name("token_prod.json.broken").read_bytes() == content


@given(st.binary(max_size=300) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda leaf: st.lists(leaf) | st.dictionaries(st.text(), leaf)).map(lambda value: json.dumps(value).encode()))  # fmt: skip  # noqa: E501
def test_no_bytes_are_more_than_a_local_state_error(content: bytes) -> None:
    path = Path("/nowhere/token_prod.json")
    for parse in (documents.parse_json, documents.parse_toml):
        with suppress(LocalStateError):
            from_document(path, parse(path, content))


@pytest.mark.parametrize(
    "field", ["origin", "mode", "account", "workspace", "sign_in_id", "family_id", "reach", "store", "expires_at"]
)
@pytest.mark.parametrize("value", [None, 3, [], {}, True, ""])
def test_a_field_of_the_wrong_kind_is_an_error(store: Store, tokens: TokenPair, field: str, value: object) -> None:
    path = store.save(tokens, "file").path
    if field == "expires_at" and value == 3 and value is not True:
        value = "3"
    edited(path, lambda document: document.update({field: value}))
    with pytest.raises(LocalStateError):
        store.pair(**place_of(tokens))


def test_a_newer_schema_is_read_and_never_rewritten(store: Store, tokens: TokenPair) -> None:
    path = store.save(tokens, "file").path
    content = edited(path, lambda document: document.update(schema=2, invented={"later": [1]}))
    assert store.pair(**place_of(tokens)) == tokens
    with pytest.raises(LocalStateError, match="written by a newer cmdop") as caught:
        store.save(tokens, "file")
    assert caught.value.hint
    assert path.read_bytes() == content


def test_a_secret_is_in_no_other_file_than_its_own(store: Store, tokens: TokenPair) -> None:
    store.save(tokens, "file")
    secret = tokens.access_token.reveal().encode()
    holders = [path.name for path in store.root.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holders == ["token_prod.json"]


@pytest.mark.parametrize("torn", [False, True])
def test_killed_while_saving_leaves_the_old_or_the_new_pair(tmp_path: Path, tokens: TokenPair, torn: bool) -> None:
    from tests.sdk.test_files import killed_at

    newer = pair()
    found = []
    for step in range(1, 100):
        store = Store(tmp_path / str(step))
        store.save(tokens, "file")
        lived = killed_at(step, lambda store=store: store.save(newer, "file"), torn=torn)  # type: ignore[misc]
        found.append(store.pair(**place_of(tokens)))
        if lived:
            break
    assert lived
    assert found[0] == tokens
    assert found[-1] == newer
    assert all(each in (tokens, newer) for each in found)


def test_fifty_processes_saving_at_once_leave_whole_files(store: Store) -> None:
    pairs = [pair(workspace_id=make_id("workspace"), workspace_slug=f"ws-{number}") for number in range(5)]
    quiet = pair(workspace_id=make_id("workspace"), mode="dev")
    untouched = store.save(quiet, "file").path.read_bytes()
    children = []
    for number in range(50):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(4):
                    store.save(pairs[number % 5], "file")
                    for each in store.tokens():
                        assert not isinstance(each, LocalStateError), each
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 50
    assert [store.pair(**place_of(each)) for each in pairs] == pairs
    assert store.token_file(**place_of(quiet)).read() == untouched
    assert list(store.root.rglob("*.tmp")) == []
