"""``audit list`` and ``audit head``: the right events in the right range, and text from others kept harmless."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.signed import sign_in, unique
from tests.terminal import Cmdop
from tests.world import World

EVENT_FIELDS = {
    "id", "seq", "at", "actor", "credential_id", "action", "result", "reason", "target", "changes", "request_id",
    "address", "previous", "hash",
}  # fmt: skip


@pytest.fixture
def seen(cmdop: Cmdop, world: World) -> Cmdop:
    """The command line of acme's owner."""
    return sign_in(cmdop, world, "owner", "acme")


def test_list_as_a_table_and_as_json(seen: Cmdop, world: World) -> None:
    world.key("owner", name="ci-cd", shared=True)
    shown = seen("audit", "list", "--days", "30", "-o", "table", "--action", "key.created").ok()
    heading, row = shown.out.splitlines()
    assert heading.split() == ["TIME", "ACTOR", "ACTION", "TARGET"]
    assert row.split()[2:] == [world["owner"].email, "key.created", "ci-cd"]
    assert world.as_("guest").patch(f"/workspaces/{world.acme.slug}", json={"name": "Ours"}).status_code == 403
    shown = seen(
        "audit", "list", "--days", "30", "-o", "table"
    ).ok()  # what was refused makes the results worth a column
    assert shown.out.splitlines()[0].split() == ["TIME", "ACTOR", "ACTION", "TARGET", "RESULT"]
    assert shown.out.splitlines()[1].endswith("denied")
    found = seen.here("audit", "list", "--days", "30", "--json").ok().json
    assert found["schema"] == "cmdop.event.v1"
    assert all(set(each) == EVENT_FIELDS for each in found["items"])
    sequence = [each["seq"] for each in found["items"]]
    assert sequence == list(range(len(sequence), 0, -1))  # newest first, no gap
    assert found["until"] is None
    piped = seen.here("audit", "list", "--limit", "1").ok().out.split("\t")
    assert piped[0].endswith("Z")  # UTC in a pipe


def test_days_are_of_24_hours_up_to_now(seen: Cmdop, world: World) -> None:
    before = datetime.now(UTC)
    since = datetime.fromisoformat(seen.here("audit", "list", "--days", "30", "--json").ok().json["since"])
    assert before <= since + timedelta(days=30) <= datetime.now(UTC)


def test_a_date_is_local_and_the_answer_is_utc(seen: Cmdop) -> None:
    for zone, hours in (("UTC", "00:00"), ("America/St_Johns", "03:30"), ("Asia/Kolkata", "18:30")):
        words = ["audit", "list", "--since", "2026-03-01", "--until", "2026-03-07", "--json"]
        ran = seen(*words, environ={"TZ": zone}).ok()
        assert ran.json["since"].endswith(f"T{hours}:00Z")
        assert ran.json["items"] == []


def test_ranges_are_half_open_and_filters_narrow(seen: Cmdop, world: World) -> None:
    world.key("owner", name="a")
    world.key("owner", name="b")
    first, second = (
        each["at"]
        for each in reversed(seen.here("audit", "list", "--action", "key.created", "--json").ok().json["items"])
    )
    names = ["audit", "list", "--action", "key.*", "--fields", "target.label"]
    assert seen.here(*names, "--since", first, "--until", second).ok().out == "a\n"
    assert seen.here(*names, "--since", second).ok().out == "b\n"
    assert seen.here(*names, "--actor", world["owner"].email.upper()).ok().out == "b\na\n"
    assert seen.here(*names, "--actor", world["owner"].id, "--target", "b").ok().out == "b\n"
    assert seen.here(*names, "--actor", world["admin"].email).ok().out == ""
    assert seen.here("audit", "list", "--since", "1h", "--action", "key.created", "-q").ok().out.count("evt_") == 2


def test_a_range_that_cannot_be_meant_is_refused_and_never_widened(seen: Cmdop) -> None:
    for arguments in (
        ["--days", "0"],
        ["--days", "-1"],
        ["--days", "thirty"],
        ["--days", "1.5"],
        ["--days", "99999999999999999999"],
        ["--since", "yesterday"],
        ["--since", ""],
        ["--until", "2026-02-30"],
        ["--since", "2026"],
        ["--since", "99999999w"],
        ["--days", "3", "--since", "2026-03-01"],
        ["--since", "2026-03-02", "--until", "2026-03-01T00:00Z"],
    ):
        refused = seen.here("audit", "list", *arguments, "--json")
        assert (refused.code, refused.out, refused.error["exit_code"]) == (2, "", 2)


def test_pages_are_followed_up_to_the_limit(seen: Cmdop, world: World) -> None:
    world.server.backstage("tests.cli.busy:keep_busy", account=world["owner"].id, workspace=world.acme.id, times=215)
    some = seen.here("audit", "list", "--limit", "210", "--json").ok().json
    assert [each["seq"] for each in some["items"]] == list(
        range(some["items"][0]["seq"], some["items"][0]["seq"] - 210, -1)
    )
    assert some["next"] is not None
    everything = seen.here("audit", "list", "--json").ok().json
    assert everything["items"][-1]["seq"] == 1
    assert everything["next"] is None
    shown = seen.here("audit", "list", "-o", "table").ok()
    assert len(shown.out.splitlines()) == 1 + 50
    assert shown.err == "there is more: add --limit 100\n"


def test_refusals_are_events_too(seen: Cmdop, world: World) -> None:
    world.as_("guest").post(f"/workspaces/{world.acme.slug}/keys", json={"kind": "personal", "name": "k"})
    denied = next(
        each for each in seen.here("audit", "list", "--json").ok().json["items"] if each["result"] == "denied"
    )
    assert (denied["action"], denied["actor"]["label"]) == ("key.create_personal", world["guest"].email)


def test_text_from_others_stays_text(seen: Cmdop, world: World) -> None:
    hostile = "\u202eevil [red]\u200b名"
    made = world.as_("owner").post("/workspaces", json={"name": "X", "slug": unique("hostile")}).json()
    api = world.as_("owner", made["slug"])
    api.patch(f"/workspaces/{made['slug']}", json={"description": hostile})
    api.post(f"/workspaces/{made['slug']}/keys", json={"kind": "personal", "name": "[bold]a\\x1b[2J"})
    for form in ("table", "tsv"):
        text = seen.here("audit", "list", "-w", made["slug"], "-o", form).ok().out
        assert all(character in "\n\t" or character.isprintable() for character in text)
        assert "[bold]a" in text
    screen = seen.on_terminal("audit", "list", "-w", made["slug"], width=80)
    try:
        assert screen.end() == 0
        assert b"\x1b[2J" not in screen.written
        assert all(len(line) <= 80 for line in screen.text.splitlines())
    finally:
        screen.close()


def test_head_is_what_the_last_event_hashes_to(seen: Cmdop, world: World) -> None:
    head = seen.here("audit", "head", "--json").ok().json
    last = seen.here("audit", "list", "--limit", "1", "--json").ok().json["items"][0]
    assert head["schema"] == "cmdop.audit_head.v1"
    assert (head["workspace_id"], head["seq"], head["hash"]) == (world.acme.id, last["seq"], last["hash"])
    assert all(head[name] for name in ("signature", "key_id", "public_key", "signed_at"))
    assert seen.here("audit", "head", "-q").ok().out == f"{last['hash']}\n"
    shown = seen.here("audit", "head", "-o", "table").ok().out
    assert [line.split("  ")[0] for line in shown.splitlines()] == (
        ["workspace", "events", "hash", "signature", "signed with", "public key", "signed"]
    )


def test_a_key_may_read_the_trail_with_its_scope_only(cmdop: Cmdop, world: World) -> None:
    there = cmdop.with_(CMDOP_SERVER_URL=world.server.url)
    reader = there.with_(CMDOP_API_KEY=world.key("owner", "audit:read", shared=True)["text"])
    assert reader.here("audit", "list", "--json").ok().json["items"]
    other = there.with_(CMDOP_API_KEY=world.key("owner", "machines:read", shared=True)["text"])
    refused = other.here("audit", "list", "--json")
    assert (refused.code, refused.error["code"]) == (5, "forbidden")
    assert "audit:read" in refused.error["message"]
