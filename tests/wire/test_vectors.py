"""docs/reference/vectors.json: recomputed with arithmetic of its own, then put to ``cmdop_wire.ids``."""

import binascii
import json
import re
from typing import Any

import pytest

from cmdop_wire import ids
from tests.processes import REPOSITORY

VECTORS: dict[str, Any] = json.loads((REPOSITORY / "docs/reference/vectors.json").read_text("utf-8"))
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def independent_checksum(text: str) -> str:
    """Return the checksum as the file's rule words it, without the reference implementation."""
    number = binascii.crc32(text.encode("ascii"))
    return "".join(DIGITS[number // 62**place % 62] for place in reversed(range(6)))


def test_checksums_are_crc_32_in_base_62() -> None:
    assert VECTORS["checksums"]["digits"] == DIGITS
    for vector in VECTORS["checksums"]["vectors"]:
        assert binascii.crc32(vector["text"].encode()) == vector["crc32"]
        assert independent_checksum(vector["text"]) == vector["checksum"] == ids.checksum(vector["text"])
    assert {"text": "123456789", "crc32": 0xCBF43926, "checksum": "3jZRME"} in VECTORS["checksums"]["vectors"]


@pytest.mark.parametrize("vector", VECTORS["keys"]["valid"], ids=lambda vector: vector["prefix"])
def test_a_valid_key_has_these_parts(vector: dict[str, str]) -> None:
    key = ids.parse_key(vector["text"])
    assert (key.slug, key.prefix) == (vector["slug"], vector["prefix"])
    assert vector["text"][-6:] == independent_checksum(vector["text"][:-6])


@pytest.mark.parametrize("vector", VECTORS["keys"]["invalid"], ids=lambda vector: vector["because"])
def test_an_invalid_key_is_refused(vector: dict[str, str]) -> None:
    if "although the checksum is right" in vector["because"]:
        assert vector["text"][-6:] == independent_checksum(vector["text"][:-6])
    with pytest.raises(ValueError):
        ids.parse_key(vector["text"])


def test_tokens_are_as_published() -> None:
    tokens = VECTORS["tokens"]
    assert tokens["prefixes"] == ids.TOKEN_PREFIXES
    assert {vector["kind"] for vector in tokens["valid"]} == set(ids.TOKEN_PREFIXES)
    for vector in tokens["valid"]:
        assert ids.token_kind(vector["text"]) == vector["kind"]
        assert vector["text"][-6:] == independent_checksum(vector["text"][:-6])
    for vector in tokens["invalid"]:
        assert ids.token_kind(vector["text"]) is None, vector["because"]


def test_public_ids_are_as_published() -> None:
    written = VECTORS["ids"]
    assert (written["alphabet"], written["length"]) == (ids.ID_ALPHABET, ids.ID_LENGTH)
    assert written["prefixes"] == ids.ID_PREFIXES
    assert set(written["valid"]) == set(ids.ID_PREFIXES)
    for kind, text in written["valid"].items():
        assert ids.is_id(text, kind)
    for vector in written["invalid"]:
        assert not ids.is_id(vector["text"], vector["kind"]), vector["because"]


def test_slugs_are_as_published() -> None:
    written = VECTORS["slugs"]
    grammar = re.compile(written["grammar"].removeprefix("^").removesuffix("$"))
    for text in written["valid"]:
        assert ids.is_slug(text)
        assert grammar.fullmatch(text)
    for text in written["invalid"]:
        assert not ids.is_slug(text)
        assert not grammar.fullmatch(text)
    assert set(written["reserved"]) <= ids.RESERVED_SLUGS


@pytest.mark.parametrize("vector", VECTORS["slugs"]["derived"], ids=lambda vector: vector["slug"] or "nothing")
def test_a_name_yields_this_slug(vector: dict[str, str]) -> None:
    assert ids.derive_slug(vector["name"]) == vector["slug"]


def test_suggestions_masks_and_user_codes() -> None:
    for vector in VECTORS["slugs"]["suggested"]:
        assert ids.suffixed_slug(vector["slug"], vector["number"]) == vector["suggestion"]
    for vector in VECTORS["masked"]:
        assert ids.mask(vector["text"]) == vector["shown"]
    assert VECTORS["user_codes"]["alphabet"] == ids.USER_CODE_ALPHABET
    for vector in VECTORS["user_codes"]["folded"]:
        assert ids.fold_user_code(vector["typed"]) == vector["code"]
