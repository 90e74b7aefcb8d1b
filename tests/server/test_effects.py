"""Effects: the reviewed list of who reacts to what, and that a failing reaction undoes the change."""

from typing import NoReturn

import pytest

from cmdop_server.access import effects
from tests.inside import Inside

FENCE = "cmdop_server.relay.fence._after_commit.<locals>.cut_after_commit"  # closes streams after the commit (D-14)
# In the order in which they run. Somebody new here is a decision, not a detail.
REVIEWED = {
    "AccountCreated": ["cmdop_server.workspaces.personal.create_personal_workspace"],
    "PasswordChanged": ["cmdop_server.credentials.reactions.end_other_sign_ins"],
    "AccountChanged": ["cmdop_server.workspaces.personal.record_change"],
    "MemberRemoved": [
        "cmdop_server.credentials.reactions.end_what_the_member_held",
        "cmdop_server.machines.reactions.revoke_join_tokens",
        "cmdop_server.sessions.reactions.end_what_the_member_operated",
        FENCE,
    ],
    "RoleChanged": [FENCE],
    "CredentialRevoked": [FENCE],
    "MachineRemoved": ["cmdop_server.sessions.reactions.end_on_removed_machine", FENCE],
    "MachineMoved": ["cmdop_server.sessions.reactions.end_on_moved_machine", FENCE],
    "MachineCredentialChanged": ["cmdop_server.sessions.reactions.end_on_replaced_machine", FENCE],
    "SessionTerminated": [FENCE],
    "EventRecorded": [],
}


def test_every_effect_has_its_reviewed_handlers(inside: Inside) -> None:
    registered = effects.registered()
    assert {effect.__name__ for effect in effects.Effect.__subclasses__()} == set(REVIEWED)
    assert {name: registered.get(name, []) for name in REVIEWED} == REVIEWED


def test_registering_twice_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_handlers", {})
    effects.on(effects.RoleChanged, _fail)
    effects.on(effects.RoleChanged, _fail)
    assert effects.registered() == {"RoleChanged": [f"{__name__}._fail"]}


def test_a_failing_reaction_undoes_the_change_and_its_event(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmdop_server.audit.queries import head
    from cmdop_server.workspaces import queries, services
    from cmdop_wire.vocab import Action
    from tests import casting

    tenant = casting.cast("effects", password=None)
    slug, guest = tenant["tenants"]["acme"]["slug"], tenant["people"]["guest"]["id"]
    owner = casting.person(tenant["people"]["owner"]["id"])
    before = head(tenant["tenants"]["acme"]["id"])
    monkeypatch.setitem(effects._handlers, effects.RoleChanged, [_fail])
    with pytest.raises(RuntimeError, match="reaction"):
        services.set_role(owner, slug, guest, "admin")
    assert queries.workspace_for(casting.person(guest), slug, Action.WORKSPACE_VIEW).role == "guest"
    assert head(tenant["tenants"]["acme"]["id"]) == before
    monkeypatch.setitem(effects._handlers, effects.RoleChanged, [])
    services.set_role(owner, slug, guest, "admin")
    assert queries.workspace_for(casting.person(guest), slug, Action.WORKSPACE_VIEW).role == "admin"
    assert head(tenant["tenants"]["acme"]["id"]).seq == before.seq + 1


def _fail(effect: effects.Effect) -> NoReturn:
    raise RuntimeError(f"the reaction to {type(effect).__name__} failed")
