"""The doors into a workspace: what they cost, and that a stranger's path is a random id's path."""

from typing import Any

import pytest

from tests.inside import Inside


@pytest.fixture
def cast(db: None) -> dict[str, Any]:
    """The cast, with one actor a person."""
    from tests import casting

    made = casting.cast("doors", password=None)
    return {**made, "actors": {who: casting.person(person["id"]) for who, person in made["people"].items()}}


def queries_of(work: Any) -> tuple[Any, list[str]]:
    """Return what ``work`` returned (or raised) and the text of its queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as asked:
        try:
            result = work()
        except Exception as refusal:
            result = refusal
    return result, [query["sql"] for query in asked.captured_queries]


@pytest.mark.parametrize("who", ["owner", "guest", "outsider", "former", "rival"])
def test_a_door_is_one_query_for_everybody(cast: dict[str, Any], who: str) -> None:
    from cmdop_server.workspaces.queries import workspace_for
    from cmdop_wire.vocab import Action

    for ref in (cast["tenants"]["acme"]["slug"], cast["tenants"]["acme"]["id"]):
        _, asked = queries_of(lambda ref=ref: workspace_for(cast["actors"][who], ref, Action.SETTINGS_EDIT))
        assert len(asked) == 1


def test_a_stranger_asks_and_learns_exactly_what_a_random_id_does(cast: dict[str, Any]) -> None:
    from cmdop_server.access.errors import NotFound
    from cmdop_server.workspaces.queries import workspace_for
    from cmdop_wire.ids import make_id
    from cmdop_wire.vocab import Action

    real, random = cast["tenants"]["acme"]["id"], make_id("workspace")
    refusals = []
    for ref in (real, random):
        refusal, asked = queries_of(lambda ref=ref: workspace_for(cast["actors"]["rival"], ref, Action.WORKSPACE_VIEW))
        assert isinstance(refusal, NotFound)
        refusals.append(
            (refusal.code, refusal.message, refusal.hint, refusal.details, [q.replace(ref, "") for q in asked])
        )
    assert refusals[0] == refusals[1]


def test_a_stranger_s_write_takes_no_lock_and_opens_no_transaction(cast: dict[str, Any]) -> None:
    from cmdop_server.access.errors import Forbidden, NotFound
    from cmdop_server.workspaces.services import update_workspace

    for who, kind in (("outsider", NotFound), ("guest", Forbidden)):
        refusal, asked = queries_of(
            lambda who=who: update_workspace(cast["actors"][who], cast["tenants"]["acme"]["slug"], name="Mine")
        )
        assert isinstance(refusal, kind)
        assert len(asked) == 1
        assert "FOR " not in asked[0]


def test_the_list_of_workspaces_is_one_query_with_counts(cast: dict[str, Any]) -> None:
    from cmdop_server.workspaces.queries import workspaces_of

    found, asked = queries_of(lambda: workspaces_of(cast["actors"]["visitor"]))
    assert len(asked) == 1
    assert [(seen.workspace.slug, seen.role, seen.members) for seen in found] == [
        (cast["tenants"]["acme"]["slug"], "guest", 5),
        (cast["tenants"]["globex"]["slug"], "owner", 2),
        (cast["people"]["visitor"]["personal"], "owner", 1),
    ]


def test_the_list_of_members_is_one_query_behind_the_door(cast: dict[str, Any]) -> None:
    from cmdop_server.workspaces.queries import members_for

    def listed() -> list[tuple[str, str]]:
        rows = members_for(cast["actors"]["guest"], cast["tenants"]["acme"]["slug"])
        return [(row.account.email, row.role) for row in rows]

    found, asked = queries_of(listed)
    assert len(asked) == 2
    assert [role for _, role in found] == ["owner", "admin", "member", "guest", "guest"]


@pytest.mark.parametrize("narrow", [True, False])
def test_a_sign_in_lists_what_it_reaches(cast: dict[str, Any], inside: Inside, narrow: bool) -> None:
    from dataclasses import replace

    from cmdop_server.workspaces.queries import workspaces_of
    from cmdop_wire.vocab import Reach

    acme = cast["tenants"]["acme"]
    reach = Reach.WORKSPACE if narrow else Reach.ALL
    actor = replace(cast["actors"]["visitor"], workspace_id=acme["id"], reach=reach)
    slugs = [seen.workspace.slug for seen in workspaces_of(actor)]
    everything = [acme["slug"], cast["tenants"]["globex"]["slug"], cast["people"]["visitor"]["personal"]]
    assert slugs == (everything[:1] if narrow else everything)


@pytest.mark.parametrize("ref", ["", "ACME", "acme\x00", "../acme", "ws_", "a" * 5000, "\ud800", "%", "ws_" + "O" * 20])
def test_what_is_neither_slug_nor_id_is_no_workspace(cast: dict[str, Any], ref: str) -> None:
    from cmdop_server.access.errors import NotFound
    from cmdop_server.workspaces.queries import workspace_for
    from cmdop_wire.vocab import Action

    with pytest.raises(NotFound):
        workspace_for(cast["actors"]["owner"], ref, Action.WORKSPACE_VIEW)
