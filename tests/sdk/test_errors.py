"""One class per family of codes, and every code of the vocabulary in one."""

from typing import Any

import pytest

from cmdop_sdk import errors
from cmdop_sdk.errors import BY_CODE, CMDOPError, GrantError, LocalCode, RateLimited, ServiceUnavailable, error_from
from cmdop_wire.vocab import ErrorCode

# Reviewed by hand: what a caller catches for each code.
FAMILIES = {
    "AuthenticationError": "unauthenticated",
    "GrantError": "authorization_pending slow_down access_denied expired_token invalid_grant unsupported_grant_type",
    "PermissionDenied": "forbidden",
    "NotFound": "not_found",
    "Gone": "gone",
    "GateDenied": "gate_denied approval_unavailable",
    "Conflict": "conflict slug_taken name_taken last_owner personal_workspace hostname_taken duplicate_credential",
    "SessionConflict": "session_conflict",
    "AgentOffline": "agent_offline",
    "LimitReached": "limit_reached",
    "InvalidRequest": "malformed invalid method_not_allowed too_large unsupported_media_type idempotency_mismatch",
    "RateLimited": "rate_limited",
    "ServiceUnavailable": "unavailable internal",
}


def envelope(code: str, **more: Any) -> dict[str, Any]:
    """Return an error body."""
    return {"error": {"code": code, "message": "it did not work", "hint": "cmdop status", **more}}


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_its_class(code: ErrorCode) -> None:
    raised = error_from(400, envelope(code, request_id="req_1", details={"field": "name"}), "req_header")
    family = next(name for name, codes in FAMILIES.items() if code in codes.split())
    assert type(raised) is getattr(errors, family)
    assert (raised.code, raised.message, raised.hint) == (code, "it did not work", "cmdop status")
    assert (raised.request_id, raised.http_status, raised.details) == ("req_1", 400, {"field": "name"})


def test_the_reviewed_families_and_the_vocabulary_are_the_same_codes() -> None:
    assert sorted(code for codes in FAMILIES.values() for code in codes.split()) == sorted(ErrorCode)
    assert set(BY_CODE) == set(ErrorCode)


def test_local_codes_are_none_of_the_server_s() -> None:
    assert set(LocalCode).isdisjoint(ErrorCode)


def test_every_class_stands_in_the_tree_with_its_codes() -> None:
    tree = errors.__doc__ or ""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, CMDOPError)]
    assert [each.__name__ for each in classes if each.__name__ not in tree] == []
    assert [code for code in (*ErrorCode, *LocalCode) if code not in tree] == []


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (401, "AuthenticationError"),
        (403, "PermissionDenied"),
        (404, "NotFound"),
        (409, "Conflict"),
        (410, "Gone"),
        (429, "RateLimited"),
        (500, "ServiceUnavailable"),
        (507, "ServiceUnavailable"),
        (422, "InvalidRequest"),
    ],
)
def test_a_code_of_next_year_falls_into_the_family_of_its_status(status: int, family: str) -> None:
    raised = error_from(status, envelope("quantum_entangled"), None)
    assert (type(raised).__name__, raised.code) == (family, "quantum_entangled")


@pytest.mark.parametrize(
    "body", [None, [], "", 3, {}, {"error": "no"}, {"error": {}}, {"error": {"code": 3}}, {"error": {"code": None}}]
)
def test_a_body_that_is_no_envelope_is_never_a_verdict_about_our_objects(body: object) -> None:
    assert type(error_from(404, body, "req_1")) is errors.UnexpectedAnswer
    assert type(error_from(503, body, "req_1")) is ServiceUnavailable
    assert error_from(404, body, "req_1").request_id == "req_1"


def test_wrong_kinds_inside_the_envelope_do_not_break_it() -> None:
    raised = error_from(
        409, {"error": {"code": "conflict", "message": 3, "hint": [], "details": 7, "request_id": {}}}, "req_h"
    )
    assert (raised.message, raised.hint, raised.details, raised.request_id) == (
        "the server answered 409",
        "",
        {},
        "req_h",
    )


def test_what_may_pass_by_itself_is_transient() -> None:
    transient = {code for code in ErrorCode if error_from(400, envelope(code), None).transient}
    assert transient == {
        "rate_limited", "unavailable", "internal", "agent_offline", "authorization_pending", "slow_down",
    }  # fmt: skip


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    raised = error_from(429, envelope("rate_limited"), None, retry_after=3.0)
    assert isinstance(raised, RateLimited)
    assert raised.details == {"retry_after": 3.0}


def test_a_pending_grant_is_waited_for_and_a_denied_one_is_not() -> None:
    assert GrantError("…", code=ErrorCode.AUTHORIZATION_PENDING).transient
    assert not GrantError("…", code=ErrorCode.ACCESS_DENIED).transient
