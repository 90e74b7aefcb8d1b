"""``auth create-key | list-keys | show-key | revoke-key``: made once, shown once, ended for good."""

import re

from cmdop_wire.ids import make_key, parse_key
from tests.cli.lossy import lossy
from tests.cli.signed import answers, sign_in
from tests.terminal import Cmdop
from tests.world import World

KEY_FIELDS = {
    "id", "kind", "name", "prefix", "scopes", "reserved_scopes", "owner", "created_by", "created_at", "expires_at",
    "last_used_at", "last_used_address", "revoked_at", "state", "authorized_actions",
}  # fmt: skip


def states(world: World, who: str = "owner") -> dict[str, str]:
    """Return name → state of all keys of acme."""
    found = world.as_(who, "acme").get(f"/workspaces/{world.acme.slug}/keys", params={"all": True}).json()["items"]
    return {each["name"]: each["state"] for each in found}


# -- making ----------------------------------------------------------------------------------------------------------


def test_in_a_pipe_only_the_secret_is_on_stdout(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "member", "acme")
    made = cmdop("auth", "create-key", "--name", "my-laptop").ok()
    key = parse_key(made.out.removesuffix("\n"))
    assert key.slug == world.acme.slug
    first, second = made.err.splitlines()
    where = f"workspace {world.acme.slug} (from the active workspace)"
    assert first == f"a personal key for {where}"
    assert second == f"created personal key my-laptop ({key.prefix}…)"
    assert key.text not in made.err
    assert answers(world.api(key.text)) == 200
    assert cmdop.here("auth", "create-key", "--name", "quiet", "-q").ok().out.startswith("cmd_")


def test_json_has_the_secret_and_the_key(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    made = cmdop.here(
        "auth", "create-key", "--name", "k", "--scope", "machines:read,members:read", "--scope", "agent:invoke",
        "--expires", "90d", "--json",
    ).ok().json  # fmt: skip
    assert set(made) == {*KEY_FIELDS, "schema", "secret"}
    assert made["schema"] == "cmdop.key.v1"
    assert made["scopes"] == ["machines:read", "members:read", "agent:invoke"]
    assert made["reserved_scopes"] == ["agent:invoke"]
    assert parse_key(made["secret"]).prefix == made["prefix"]
    assert made["expires_at"] is not None


def test_on_a_terminal_the_secret_is_boxed_once(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    screen = cmdop.on_terminal("auth", "create-key", "--name", "boxed", width=80)
    try:
        assert screen.end() == 0
        lines = screen.text.splitlines()
        boxed = next(line for line in lines if line.startswith("│ cmd_"))
        key = parse_key(boxed.strip("│ "))
        assert "shown once: it cannot be read again" in lines
        assert screen.text.count(key.text) == 1
        assert all(len(line) <= 80 for line in lines)
    finally:
        screen.close()


def test_a_bare_workspace_means_a_workspace_key(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "admin", "acme")
    for arguments in (["--workspace", "--name", "a"], ["--name", "b", "--workspace"], ["--shared", "--name", "c"]):
        made = cmdop.here("auth", "create-key", *arguments, "--json").ok()
        assert (made.json["kind"], made.json["owner"]) == ("workspace", None)
        assert made.err.startswith(f"a workspace key for workspace {world.acme.slug} ")


def test_a_named_workspace_is_where_the_key_is_made(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    made = cmdop.here("auth", "create-key", "--name", "k", f"--workspace={world.globex.slug}", "--json").ok()
    assert made.json["prefix"].startswith(f"cmd_{world.globex.slug}_")
    assert made.json["kind"] == "personal"


def test_planning_a_key_makes_none(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    planned = cmdop.here("auth", "create-key", "--name", "k", "--dry-run", "--json").ok().json
    assert set(planned) == {*KEY_FIELDS, "schema", "secret", "planned"}
    assert (planned["planned"], planned["secret"], planned["name"]) == (True, None, "k")
    assert states(world) == {}


def test_what_makes_no_key_is_refused(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    for arguments in (
        ["--name", "k", "--scope", "everything"],
        ["--name", "k", "--scope", "*"],
        ["--name", "k", "--expires", "soon"],
        ["--name", "k", "--expires", "90"],
        [],
        ["--name", ""],
    ):
        refused = cmdop.here("auth", "create-key", *arguments)
        assert (refused.code, refused.out) == (2, "")
    assert states(world) == {}


def test_a_name_is_taken_while_its_key_lives(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "member", "acme")
    cmdop.here("auth", "create-key", "--name", "k").ok()
    refused = cmdop.here("auth", "create-key", "--name", "k", "--json")
    assert (refused.code, refused.error["code"]) == (6, "name_taken")
    cmdop.here("auth", "revoke-key", "k", "--yes").ok()
    cmdop.here("auth", "create-key", "--name", "k").ok()


def test_the_eleventh_personal_key_is_a_limit(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "member", "acme")
    for number in range(10):
        world.key("member", name=f"k{number}")
    refused = cmdop.here("auth", "create-key", "--name", "one-more", "--json")
    assert (refused.code, refused.error["code"], refused.out) == (6, "limit_reached", "")


def test_a_guest_is_told_which_right_is_missing(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "guest", "acme")
    refused = cmdop.here("auth", "create-key", "--name", "k")
    assert refused.code == 5
    assert "key.create_personal" in refused.err
    assert f"why: workspace {world.acme.slug} (from the active workspace" in refused.err


def test_a_key_whose_answer_was_lost_is_revoked_and_made_again(cmdop: Cmdop, world: World) -> None:
    lost: list[str] = []

    def loses(method: str, path: str) -> bool:
        if method == "POST" and path.endswith("/keys") and not lost:
            lost.append(path)
            return True
        return False

    with lossy(world.server.url, loses) as url:
        token = world.one_time_token("owner")
        cmdop.here("login", "--server", url, "--token", "-", "-w", world.acme.slug, stdin=token).ok()
        made = cmdop.here("auth", "create-key", "--name", "ci").ok()
    assert lost
    assert "the first answer was lost" in made.err
    assert answers(world.api(made.out.strip())) == 200
    found = world.as_("owner").get(f"/workspaces/{world.acme.slug}/keys", params={"all": True}).json()["items"]
    assert sorted(each["state"] for each in found) == ["live", "revoked"]


# -- looking ---------------------------------------------------------------------------------------------------------


def test_list_shows_what_a_key_begins_with_and_never_more(cmdop: Cmdop, world: World) -> None:
    mine, shared = world.key("owner", name="my-laptop"), world.key("owner", name="ci-cd", shared=True)
    sign_in(cmdop, world, "owner", "acme")
    shown = cmdop.here(f"--workspace={world.acme.slug}", "auth", "list-keys", "-o", "table").ok()
    assert [line.split() for line in shown.out.splitlines()] == [
        ["NAME", "KIND", "KEY", "CREATED", "USED", "EXPIRES", "SCOPES"],
        ["ci-cd", "workspace", shared["prefix"], "now", "never", "never", "default"],
        ["my-laptop", "personal", mine["prefix"], "now", "never", "never", "default"],
    ]
    every_form = "".join(
        cmdop.here("auth", "list-keys", f"--workspace={world.acme.slug}", "-o", form).ok().out
        for form in ("tsv", "json", "ndjson", "quiet")
    )
    assert re.search(r"cmd_[a-z0-9-]+_[0-9A-Za-z]{5}", every_form) is None
    found = cmdop.here("auth", "list-keys", "--json").ok().json
    assert found["schema"] == "cmdop.key.v1"
    assert all(set(each) == KEY_FIELDS for each in found["items"])


def test_others_keys_are_listed_for_who_may_see_them(cmdop: Cmdop, world: World) -> None:
    world.key("member", name="theirs")
    sign_in(cmdop, world, "admin", "acme")
    assert cmdop.here("auth", "list-keys").ok().out == ""
    listed = cmdop.here("auth", "list-keys", "--all").ok().out
    assert listed.split("\t")[:3] == ["theirs", "personal", world["member"].email]
    world.key("owner", name="everybodys", shared=True)
    shown = cmdop.on_terminal("auth", "list-keys", "--all")
    assert shown.end() == 0
    rows = [line.split() for line in shown.text.splitlines()]
    assert ["everybodys", "the", "workspace"] in [row[:3] for row in rows]
    assert ["theirs", world["member"].email] in [row[:2] for row in rows]  # neither of them cut
    refused = sign_in(cmdop.with_(CMDOP_CONFIG_DIR=f"{cmdop.environ['CMDOP_CONFIG_DIR']}-2"), world, "member", "acme")
    assert refused.here("auth", "list-keys", "--all").code == 5


def test_an_empty_list_is_a_success_with_a_way_on(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    empty = cmdop.here("auth", "list-keys", "--json").ok()
    assert empty.json == {"schema": "cmdop.key.v1", "stale": [], "items": [], "next": None}
    shown = cmdop.here("auth", "list-keys", "-o", "table").ok()
    assert "make one with: cmdop auth create-key --name NAME" in shown.err


def test_states_and_unused_narrow_the_list(cmdop: Cmdop, world: World) -> None:
    world.key("owner", name="alive")
    world.server.backstage("tests.casting:expire_key", key=world.key("owner", name="over")["id"])
    sign_in(cmdop, world, "owner", "acme")
    world.key("owner", name="ended")
    cmdop.here("auth", "revoke-key", "ended", "--yes").ok()
    for state, names in (("live", ["alive"]), ("expired", ["over"]), ("revoked", ["ended"])):
        listed = cmdop.here("auth", "list-keys", "--state", state, "--fields", "name").ok()
        assert listed.out.split() == names
    assert len(cmdop.here("auth", "list-keys", "--state", "all").ok().out.splitlines()) == 3
    assert cmdop.here("auth", "list-keys", "--unused", "90d").ok().out == ""
    assert cmdop.here("auth", "list-keys", "--unused", "a while").code == 2
    assert cmdop.here("auth", "list-keys", "--state", "dead").code == 2


def test_a_key_forgotten_for_ninety_days_is_pointed_out(cmdop: Cmdop, world: World) -> None:
    old = world.key("owner", name="old-ci")
    world.key("owner", name="fresh")
    world.server.backstage("tests.ageing:key_unused_since", key=old["id"], days=91)
    sign_in(cmdop, world, "owner", "acme")
    listed = cmdop.here("auth", "list-keys", "-o", "table").ok()
    assert listed.err == "not used for 90 days and without an end: old-ci\n"
    assert cmdop.here("auth", "list-keys", "--json").json["stale"] == [old["id"]]
    assert cmdop.here("auth", "list-keys", "--unused", "90d", "--fields", "name").out == "old-ci\n"


def test_show_by_id_and_by_name(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner", name="my-laptop")
    sign_in(cmdop, world, "owner", "acme")
    by_id = cmdop.here("auth", "show-key", key["id"], "--json").ok().json
    assert by_id == cmdop.here("auth", "show-key", "my-laptop", "--json").ok().json
    assert set(by_id) == {*KEY_FIELDS, "schema"}
    for unknown in ("my-lap", "key_" + "0" * 20):
        assert cmdop.here("auth", "show-key", unknown).code == 3


def test_one_name_for_two_keys_lists_the_candidates(cmdop: Cmdop, world: World) -> None:
    ids = {world.key("owner", name="ci", shared=shared)["id"] for shared in (True, False)}
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("auth", "revoke-key", "ci", "--yes")
    assert refused.code == 2
    assert all(each in refused.err for each in ids)
    assert states(world) == {"ci": "live"}


# -- ending ----------------------------------------------------------------------------------------------------------


def test_revoking_needs_a_yes_and_then_is_immediate(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner", name="my-laptop")
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("auth", "revoke-key", "my-laptop")
    assert refused.code == 7
    assert "fix: cmdop auth revoke-key my-laptop --yes" in refused.err
    planned = cmdop.here("auth", "revoke-key", "my-laptop", "--dry-run", "--json").ok()
    assert (planned.json["planned"], answers(world.api(key["text"]))) == (True, 200)
    done = cmdop.here("auth", "revoke-key", "my-laptop", "--yes", "--json").ok()
    assert (done.json["id"], done.json["state"]) == (key["id"], "revoked")
    assert answers(world.api(key["text"])) == 401
    again = cmdop.here("auth", "revoke-key", key["id"], "--yes").ok()
    assert again.err == "key my-laptop is already revoked\n"


def test_the_question_names_key_workspace_and_what_ends(cmdop: Cmdop, world: World) -> None:
    key = world.key("member", name="their-laptop")
    sign_in(cmdop, world, "admin", "acme")
    screen = cmdop.on_terminal("auth", "revoke-key", "their-laptop")
    try:
        shown = screen.until("[y/N]")
        assert f"workspace {world.acme.slug} (from the active workspace" in shown
        assert f"revoke the personal key their-laptop of {world['member'].email}" in shown
        assert "it was never used" in shown
        screen.type("y\r")
        assert screen.end() == 0
    finally:
        screen.close()
    assert answers(world.api(key["text"])) == 401


def test_a_whole_key_is_read_from_stdin_and_never_from_the_line(cmdop: Cmdop, world: World) -> None:
    key = world.key("member", name="leaked")
    sign_in(cmdop, world, "admin", "acme")
    refused = cmdop.here("auth", "revoke-key", key["text"], "--yes")
    assert refused.code == 2
    assert key["text"] not in refused.err
    done = cmdop("auth", "revoke-key", "-", "--yes", stdin=key["text"] + "\n").ok()
    assert done.err == f"revoked key leaked ({key['prefix']}…)\n"
    assert answers(world.api(key["text"])) == 401
    gone = cmdop.here("auth", "revoke-key", "-", "--yes", stdin=key["text"])
    assert gone.code == 3


def test_a_whole_key_of_another_workspace_or_of_nobody_is_refused(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    elsewhere = world.key("visitor", workspace="globex")
    refused = cmdop.here("auth", "revoke-key", "-", "--yes", stdin=elsewhere["text"])
    assert refused.code == 2
    assert f"fix: cmdop --workspace {world.globex.slug} auth revoke-key -" in refused.err
    assert answers(world.api(elsewhere["text"])) == 200
    forged = make_key(world.acme.slug).text
    assert cmdop.here("auth", "revoke-key", "-", "--yes", stdin=forged).code == 3
    assert cmdop.here("auth", "revoke-key", "-", "--yes", stdin=forged[:-1] + "!").code == 4
    assert cmdop.here("auth", "revoke-key", "-", "--yes", stdin="").code == 4
