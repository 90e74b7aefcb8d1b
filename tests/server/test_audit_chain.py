"""The chain as mathematics: canonical form, hash, head, and every kind of tampering found. No database."""

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmdop_server.audit import chain

SEED = bytes(range(32))
PUBLIC_KEY = chain.public_key_of(SEED)
WORKSPACE = "ws_0123456789abcdefghjk"
DOCUMENT = Path(__file__).parents[2] / "docs/reference/audit-chain.md"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-chain.LARGEST_INTEGER, chain.LARGEST_INTEGER) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


words = st.text(max_size=10)
loose_entries = st.builds(
    chain.Entry,
    id=words,
    workspace_id=st.just(WORKSPACE),
    seq=st.just(0),
    at=moments,
    actor_kind=words,
    actor_id=words,
    actor_label=words,
    credential_id=st.none() | words,
    action=words,
    result=words,
    reason=words,
    target_type=words,
    target_id=words,
    target_label=words,
    changes=st.dictionaries(st.text(max_size=6), json_values, max_size=2),
    request_id=words,
    address=words,
    previous=st.just(""),
)
few = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])


def chained(loose: list[chain.Entry]) -> list[chain.Entry]:
    """Return the events numbered, with ``previous`` and ``hash`` filled in, as the server does."""
    done: list[chain.Entry] = []
    for seq, entry in enumerate(loose, 1):
        linked = replace(entry, seq=seq, previous=done[-1].hash if done else chain.GENESIS)
        done.append(replace(linked, hash=chain.hash_of(linked)))
    return done


def signed(log: list[chain.Entry], seed: bytes = SEED) -> chain.Head:
    """Return the head of a log."""
    last = log[-1]
    return chain.sign(seed, workspace_id=last.workspace_id, seq=last.seq, digest=last.hash, signed_at=last.at)


logs = st.lists(loose_entries, min_size=3, max_size=4).map(chained)


@given(json_values)
def test_canonical_form_is_json_and_its_own_fixed_point(value: Any) -> None:
    text = chain.canonical(value)
    assert json.loads(text) == value
    assert chain.canonical(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=6), json_values, min_size=2, max_size=6), st.randoms())
def test_canonical_form_does_not_depend_on_the_order_of_members(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    assert chain.canonical({name: value[name] for name in names}) == chain.canonical(value)


def test_members_are_sorted_as_rfc_8785_says() -> None:
    # The example of RFC 8785 §3.2.3: by UTF-16 code units the emoji stands before U+FB33.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    found = json.loads(chain.canonical(dict.fromkeys(names, 0)))
    assert list(found) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_only_quotes_backslashes_and_controls_are_escaped() -> None:
    text = '\x00\x1f"\\/\x7f\u2028é\b\t\n\f\r'
    assert chain.canonical(text) == '"\\u0000\\u001f\\"\\\\/\x7f\u2028é\\b\\t\\n\\f\\r"'.encode()


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), "\ud800", {1: "x"}, b"x", {"a": [{"b": 0.5}]}])
def test_what_other_implementations_would_write_differently_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        chain.canonical(value)


@given(moments, st.integers(-14 * 60, 14 * 60))
def test_a_time_is_the_same_text_in_every_time_zone(moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    text = chain.timestamp(elsewhere)
    assert text == chain.timestamp(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert datetime.fromisoformat(text) == moment


@few
@given(logs)
def test_an_untouched_log_has_no_fault(log: list[chain.Entry]) -> None:
    assert chain.fault_in(log, signed(log), PUBLIC_KEY) is None


@few
@given(logs, st.data())
def test_every_edit_of_every_field_is_found(log: list[chain.Entry], data: st.DataObject) -> None:
    head, where = signed(log), data.draw(st.integers(0, len(log) - 1))
    name = data.draw(st.sampled_from([field.name for field in fields(chain.Entry)]))
    before = getattr(log[where], name)
    after: Any
    if name == "seq":
        after = before + 1
    elif name == "at":
        after = before + timedelta(microseconds=1)
    elif name == "changes":
        after = {**before, "x" * 7: True}
    else:
        after = (before or "") + "x"
    edited = [*log[:where], replace(log[where], **{name: after}), *log[where + 1 :]]
    assert chain.fault_in(edited, head, PUBLIC_KEY) is not None


@few
@given(logs, st.data())
def test_an_edit_with_its_hash_recomputed_is_found(log: list[chain.Entry], data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(log) - 1))
    forged = replace(log[where], action=log[where].action + "x")
    forged = replace(forged, hash=chain.hash_of(forged))
    assert chain.fault_in([*log[:where], forged, *log[where + 1 :]], signed(log), PUBLIC_KEY) is not None


@few
@given(logs, st.data())
def test_missing_repeated_and_reordered_events_are_found(log: list[chain.Entry], data: st.DataObject) -> None:
    head, where = signed(log), data.draw(st.integers(0, len(log) - 1))
    other = data.draw(st.integers(0, len(log) - 1).filter(lambda index: index != where))
    swapped = list(log)
    swapped[where], swapped[other] = swapped[other], swapped[where]
    removed = log[:where] + log[where + 1 :]
    for tampered in (removed, log[: where + 1] + log[where:], swapped, log[:where]):
        assert chain.fault_in(tampered, head, PUBLIC_KEY) is not None


@few
@given(logs)
def test_a_removed_event_is_found_after_renumbering_and_rehashing(log: list[chain.Entry]) -> None:
    kept = [log[0], *log[2:]]
    renumbered = chained(kept)
    assert chain.fault_in(renumbered, signed(log), PUBLIC_KEY) is not None


@few
@given(logs)
def test_a_log_recomputed_without_the_key_is_found(log: list[chain.Entry]) -> None:
    forged = chained([replace(entry, actor_label="nobody") for entry in log])
    with_own_key = signed(forged, seed=bytes(32))
    assert chain.fault_in(forged, with_own_key, PUBLIC_KEY) is not None
    old = signed(log)
    moved_head = replace(old, hash=forged[-1].hash)
    assert chain.fault_in(forged, moved_head, PUBLIC_KEY) is not None


@few
@given(logs)
def test_a_log_cannot_be_shown_as_another_workspace_s(log: list[chain.Entry]) -> None:
    other = "ws_1123456789abcdefghjk"
    assert chain.fault_in(log, replace(signed(log), workspace_id=other), PUBLIC_KEY) is not None
    moved = [replace(entry, workspace_id=other) for entry in log]
    own_head = chain.sign(SEED, workspace_id=other, seq=log[-1].seq, digest=log[-1].hash, signed_at=log[-1].at)
    assert chain.fault_in(moved, own_head, PUBLIC_KEY) is not None
    assert chain.fault_in(log, own_head, PUBLIC_KEY) is not None


@few
@given(logs, st.sampled_from(["seq", "hash", "signed_at", "key_id", "signature"]))
def test_every_edit_of_the_head_is_found(log: list[chain.Entry], name: str) -> None:
    head = signed(log)
    edits: dict[str, Any] = {
        "seq": head.seq + 1,
        "hash": chain.GENESIS,
        "signed_at": head.signed_at + timedelta(microseconds=1),
        "key_id": "0" * 16,
        "signature": head.signature[:-4] + "AAA=",
    }
    assert chain.fault_in(log, replace(head, **{name: edits[name]}), PUBLIC_KEY) is not None


def test_nothing_to_verify_is_a_fault() -> None:
    empty = chain.sign(SEED, workspace_id=WORKSPACE, seq=0, digest=chain.GENESIS, signed_at=datetime.now(UTC))
    assert chain.fault_in([], empty, PUBLIC_KEY) == "there is nothing to verify"


def _documented(fence: str) -> list[str]:
    return re.findall(rf"```{fence}\n(.*?)\n```", DOCUMENT.read_text("utf-8"), re.DOTALL)


def _entry(event: dict[str, Any]) -> chain.Entry:
    flat = {f"{group}_{name}": event[group][name] for group in ("actor", "target") for name in event[group]}
    plain = {name: value for name, value in event.items() if name not in ("actor", "target", "at")}
    return chain.Entry(at=datetime.fromisoformat(event["at"]), **plain, **flat)


def test_the_worked_example_of_the_document_is_what_we_compute() -> None:
    first, second, head = (json.loads(block) for block in _documented("json"))
    log = [_entry(first), _entry(second)]
    assert [chain.hash_of(entry) for entry in log] == [first["hash"], second["hash"]]
    assert chain.canonical(chain.document(log[0])).decode() == _documented("text")[0]
    assert {**chain.document(log[0]), "hash": log[0].hash} == first
    made = signed(log)
    assert made == chain.Head(**{**head, "signed_at": datetime.fromisoformat(head["signed_at"])})
    assert chain.fault_in(log, made, PUBLIC_KEY) is None
