"""The vocabulary: each word once, ranks and aliases as ruled."""

import enum
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_wire import vocab
from cmdop_wire.vocab import Action, ErrorCode, Exit, Role, parse_role

WORDS = [
    member
    for _, member in inspect.getmembers(vocab, inspect.isclass)
    if issubclass(member, enum.Enum) and member.__module__ == vocab.__name__
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.__name__)
def test_each_word_stands_once_and_every_list_says_what_it_is(words: type[enum.Enum]) -> None:
    assert len(words.__members__) == len({member.value for member in words})
    assert words.__doc__
    assert words.__doc__.strip().endswith(".")


def test_ranks_fall_from_owner_to_guest() -> None:
    assert [role.rank for role in (Role.OWNER, Role.ADMIN, Role.MEMBER, Role.GUEST)] == [3, 2, 1, 0]


@pytest.mark.parametrize("word", ["owner", "admin", "member", "guest"])
def test_a_role_is_read_in_any_case(word: str) -> None:
    assert [parse_role(word), parse_role(f" {word.upper()}\n"), parse_role(word.title())] == [Role(word)] * 3


@given(st.text())
def test_an_unknown_role_is_refused_with_the_choices(text: str) -> None:
    if text.strip().lower() in {*Role, *vocab.ROLE_ALIASES}:
        return
    with pytest.raises(ValueError, match="owner, admin, member, guest"):
        parse_role(text)


def test_aliases_are_as_ruled() -> None:
    assert vocab.ROLE_ALIASES == {"viewer": Role.GUEST, "reader": Role.GUEST, "contributor": Role.MEMBER}
    for alias, role in vocab.ROLE_ALIASES.items():
        assert parse_role(f"{alias.title()} ") is role


def test_reserved_scopes_are_no_defaults() -> None:
    assert not vocab.RESERVED_SCOPES & set(vocab.DEFAULT_KEY_SCOPES)
    assert vocab.Scope.MEMBERS_INVITE not in vocab.DEFAULT_KEY_SCOPES


def test_exit_statuses_are_as_documented() -> None:
    assert {status.name: status.value for status in Exit} == {
        "DONE": 0, "BUG": 1, "USAGE": 2, "NOT_FOUND": 3, "NO_CREDENTIAL": 4, "FORBIDDEN": 5, "CONFLICT": 6, "GUARD": 7,
        "PARTIAL": 8, "UNREACHABLE": 69, "TEMPORARY": 75, "LOCAL_STATE": 78, "TIME_OUT": 124, "INTERRUPTED": 130,
        "TERMINATED": 143, "REMOTE": 255,
    }  # fmt: skip


def test_actions_name_a_noun_and_a_verb_and_codes_are_snake_case() -> None:
    assert all(
        action.value.count(".") == 1 and action.value == action.name.lower().replace("_", ".", 1) for action in Action
    )
    assert all(code.value == code.name.lower() for code in ErrorCode)
