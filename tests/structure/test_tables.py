"""Tables that interpret the vocabulary cover all of it, each exactly once."""

import itertools
from typing import Any

from cmdop_cli.failures import EXIT, Code
from cmdop_sdk.errors import error_from
from cmdop_server.access.policy import ROLE_ACTIONS, SCOPE_ACTIONS, WORKSPACE_KEY_CEILING
from cmdop_server.api.statuses import HTTP_STATUS
from cmdop_wire.vocab import RESERVED_SCOPES, Action, ErrorCode, Exit, Role, Scope


def test_every_code_has_an_http_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorCode)
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


def test_every_code_has_an_exit_status_and_the_two_vocabularies_do_not_overlap() -> None:
    assert set(EXIT) >= {*ErrorCode, *Code}
    assert not {str(code) for code in Code} & {str(code) for code in ErrorCode}
    assert Exit.DONE not in EXIT.values()


def test_every_code_becomes_an_error_of_the_sdk() -> None:
    for code in ErrorCode:
        body: dict[str, Any] = {
            "error": {"code": code, "message": "no", "hint": "", "details": {}, "request_id": "req_1"}
        }
        error = error_from(HTTP_STATUS[code], body)
        assert (error.code, error.http_status, error.request_id) == (code, HTTP_STATUS[code], "req_1")
        assert type(error).__name__ != "CMDOPError", f"{code} has no class of its own family"


def test_roles_contain_each_other_from_guest_to_owner() -> None:
    assert set(ROLE_ACTIONS) == set(Role)
    ranked = [ROLE_ACTIONS[role] for role in sorted(Role, key=lambda role: role.rank)]
    assert all(lower < upper for lower, upper in itertools.pairwise(ranked))
    assert ROLE_ACTIONS[Role.OWNER] == set(Action)


def test_every_scope_opens_something_that_a_workspace_key_may_do() -> None:
    assert set(SCOPE_ACTIONS) == set(Scope)
    for scope, actions in SCOPE_ACTIONS.items():
        assert bool(actions) == (scope not in RESERVED_SCOPES)
        assert actions <= WORKSPACE_KEY_CEILING


def test_no_scope_lets_a_key_mint_promote_or_configure() -> None:
    opened = frozenset[Action]().union(*SCOPE_ACTIONS.values())
    closed = {
        Action.KEY_CREATE_PERSONAL, Action.KEY_CREATE_WORKSPACE, Action.KEY_REVOKE_OWN, Action.KEY_REVOKE_ANY,
        Action.MEMBER_UPDATE_ROLE, Action.MEMBER_REMOVE, Action.SETTINGS_EDIT, Action.POLICY_EDIT, Action.MACHINE_MOVE,
        Action.SESSION_TERMINATE_ANY, Action.WORKSPACE_DELETE, Action.OWNERSHIP_TRANSFER,
    }  # fmt: skip
    assert not opened & closed
