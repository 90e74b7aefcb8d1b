"""Ids, slugs and the text of secrets, as properties."""

import re
import string
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cmdop_wire import ids

KINDS = st.sampled_from(sorted(ids.ID_PREFIXES))
TOKEN_KINDS = st.sampled_from(sorted(ids.TOKEN_PREFIXES))
SLUGS = st.from_regex(ids.SLUG, fullmatch=True)
# What people type and paste, lone surrogates included: a door must answer, not raise something else.
ANYTHING = st.text(st.characters(), max_size=120)
KEY_CHARACTERS = st.sampled_from(ids.BASE62 + "-_")


@given(KINDS, KINDS)
def test_an_id_is_known_by_its_own_kind_only(kind: str, other: str) -> None:
    made = ids.make_id(kind)
    assert ids.is_id(made, kind)
    assert ids.is_id(made, other) == (kind == other)
    assert re.fullmatch(rf"{ids.ID_PREFIXES[kind]}_[{ids.ID_ALPHABET}]{{20}}", made)


def test_kinds_of_ids_differ_in_their_prefix_and_no_id_looks_like_a_slug() -> None:
    assert len(set(ids.ID_PREFIXES.values())) == len(ids.ID_PREFIXES)
    assert not any(ids.is_slug(ids.make_id(kind)) for kind in ids.ID_PREFIXES)


def test_alphabets_hold_each_character_once_and_no_look_alikes_where_people_read() -> None:
    for alphabet in (ids.BASE62, ids.ID_ALPHABET, ids.USER_CODE_ALPHABET):
        assert len(set(alphabet)) == len(alphabet)
        assert alphabet.isascii()
        assert alphabet.isalnum()
    assert not set("ilou") & set(ids.ID_ALPHABET)  # Crockford's base 32
    assert not set("AEIOU0123456789Y") & set(ids.USER_CODE_ALPHABET)


def test_secrets_hold_the_promised_randomness() -> None:
    assert 62**ids.SECRET_LENGTH >= 2**178
    assert 62**ids.CHECKSUM_LENGTH >= 2**32
    assert len(ids.ID_ALPHABET) ** ids.ID_LENGTH >= 2**100
    assert len({ids.make_key("acme").text for _ in range(200)}) == 200
    assert set("".join(ids.make_key("acme").text[-36:-6] for _ in range(400))) == set(ids.BASE62)


@given(ANYTHING, KINDS)
def test_every_text_is_or_is_not_an_id_a_slug_a_token(text: str, kind: str) -> None:
    assert ids.is_id(text, kind) in (True, False)
    assert ids.is_slug(text) in (True, False)
    assert ids.token_kind(text) is None


@given(ANYTHING)
@example("cmd_é_" + "A" * 36)
@example("cmd__" + "A" * 36)
def test_a_text_that_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        ids.parse_key(text)
    assert type(refused.value) is ValueError
    assert len(text) < 8 or text not in str(refused.value)


@given(ANYTHING, TOKEN_KINDS)
@example("é", "access")
def test_a_foreign_head_makes_no_token(head: str, kind: str) -> None:
    tail = ids.make_token(kind).partition("_")[2]
    assume(head not in ids.TOKEN_PREFIXES.values())
    assert ids.token_kind(f"{head}_{tail}") is None


@given(SLUGS)
def test_a_key_parses_to_what_it_was_made_of(slug: str) -> None:
    made = ids.make_key(slug)
    assert ids.parse_key(made.text) == made
    assert made.slug == slug
    assert made.text.startswith(made.prefix)
    assert made.prefix == f"cmd_{slug}_{made.text[-36:-32]}"
    assert made.text[-32:] not in repr(made)


@given(ANYTHING)
def test_a_key_is_made_for_slugs_only(text: str) -> None:
    assume(not ids.is_slug(text))
    with pytest.raises(ValueError, match="not a slug"):
        ids.make_key(text)


@given(SLUGS, st.data())
def test_a_changed_character_of_a_key_is_noticed(slug: str, data: st.DataObject) -> None:
    text = ids.make_key(slug).text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(KEY_CHARACTERS)
    assume(other != text[place])
    with pytest.raises(ValueError):
        ids.parse_key(text[:place] + other + text[place + 1 :])


@given(SLUGS, st.data())
def test_two_characters_of_a_key_that_changed_places_are_noticed(slug: str, data: st.DataObject) -> None:
    text = ids.make_key(slug).text
    place = data.draw(st.integers(0, len(text) - 2))
    assume(text[place] != text[place + 1])
    with pytest.raises(ValueError):
        ids.parse_key(text[:place] + text[place + 1] + text[place] + text[place + 2 :])


@given(SLUGS, st.data())
def test_a_lost_or_added_character_of_a_key_is_noticed(slug: str, data: st.DataObject) -> None:
    text = ids.make_key(slug).text
    place = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError):
        ids.parse_key(text[:place] + text[place + 1 :])
    with pytest.raises(ValueError):
        ids.parse_key(text[:place] + data.draw(KEY_CHARACTERS) + text[place:])


@given(SLUGS, st.sampled_from([" ", "\n", "\t", "\0", "\u200b", '"', "\r\n"]))
def test_blanks_around_a_key_are_not_part_of_it(slug: str, blank: str) -> None:
    text = ids.make_key(slug).text
    for dressed in (text + blank, blank + text):
        with pytest.raises(ValueError):
            ids.parse_key(dressed)


@given(TOKEN_KINDS, st.data())
def test_a_token_tells_its_kind_and_a_changed_one_tells_nothing(kind: str, data: st.DataObject) -> None:
    token = ids.make_token(kind)
    assert ids.token_kind(token) == kind
    with pytest.raises(ValueError):
        ids.parse_key(token)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(KEY_CHARACTERS)
    assume(other != token[place])
    assert ids.token_kind(token[:place] + other + token[place + 1 :]) is None


@given(ANYTHING)
@example("Ünïcode & Söhne GmbH")
@example("ℌello Ǽ")
@example("-" * 200 + "a" * 62 + "-b")
def test_a_name_yields_a_slug_or_nothing_and_a_slug_yields_itself(name: str) -> None:
    derived = ids.derive_slug(name)
    assert derived == "" or ids.is_slug(derived)
    assert ids.derive_slug(derived) == derived


@given(ANYTHING, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example("Ǽsir", "NFD")
@example("ℌello", "NFKC")
def test_a_slug_does_not_depend_on_how_a_name_is_encoded(name: str, form: str) -> None:
    assert ids.derive_slug(unicodedata.normalize(form, name)) == ids.derive_slug(name)  # type: ignore[arg-type]


@given(st.text(st.sampled_from(string.ascii_letters + string.digits), min_size=1, max_size=63))
def test_a_plain_name_is_its_slug_in_lower_case(name: str) -> None:
    assert ids.derive_slug(name) == name.lower()
    assert ids.derive_slug(f"  {name}!  ") == name.lower()


@given(SLUGS, st.integers(2, 10**6))
def test_a_suggestion_is_a_slug_that_shows_its_number(slug: str, number: int) -> None:
    suggested = ids.suffixed_slug(slug, number)
    assert ids.is_slug(suggested)
    assert suggested.endswith(f"-{number}")
    assert slug.startswith(suggested.removesuffix(f"-{number}"))


@given(ANYTHING)
def test_check_slug_returns_what_may_be_taken_and_explains_the_rest(text: str) -> None:
    if ids.is_slug(text) and text not in ids.RESERVED_SLUGS:
        assert ids.check_slug(text) == text
    else:
        with pytest.raises(ValueError):
            ids.check_slug(text)


def test_reserved_words_could_be_slugs_and_are_refused_as_such() -> None:
    for word in ids.RESERVED_SLUGS:
        assert ids.is_slug(word)
        with pytest.raises(ValueError, match="is a reserved word"):
            ids.check_slug(word)
    assert {"api", "login", "settings", "admin", "static", "relay", "health", "device", "invite", "new"} <= (
        ids.RESERVED_SLUGS
    )


@given(ANYTHING, ANYTHING, SLUGS, TOKEN_KINDS)
def test_mask_leaves_nothing_of_a_secret_but_its_visible_prefix(before: str, after: str, slug: str, kind: str) -> None:
    key, token = ids.make_key(slug), ids.make_token(kind)
    masked = ids.mask(f"{before}{key.text} {token}{after}")
    assert key.text[-32:-6] not in masked
    assert token[-32:-6] not in masked
    assert f"{key.prefix}…" in masked
    assert ids.mask(masked) == masked


@given(ANYTHING)
def test_mask_leaves_other_text_alone(text: str) -> None:
    assume("cmd" not in text)
    assert ids.mask(text) == text


@given(st.sampled_from(["", " ", "-", " - ", "\t"]), st.booleans())
def test_a_user_code_is_read_however_it_is_typed(between: str, in_small_letters: bool) -> None:
    code = ids.make_user_code()
    typed = between.join(code.replace("-", ""))
    assert ids.fold_user_code(typed.lower() if in_small_letters else typed) == code
    assert re.fullmatch(rf"[{ids.USER_CODE_ALPHABET}]{{4}}-[{ids.USER_CODE_ALPHABET}]{{4}}", code)


@given(ANYTHING)
def test_every_text_folds_to_one_canonical_user_code(text: str) -> None:
    folded = ids.fold_user_code(text)
    assert ids.fold_user_code(folded) == folded
