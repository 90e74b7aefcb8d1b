"""The networked ``workspace`` verbs: listing, making, changing, and the people inside, for scripts and for people."""

import json
import shlex
from pathlib import Path
from typing import Any

from cmdop_cli.local import Local
from cmdop_cli.state import Membership, Place
from cmdop_wire.ids import make_id
from cmdop_wire.vocab import Exit
from tests.cli.places import write
from tests.cli.signed import plant, sign_in, token_files, unique
from tests.terminal import Cmdop
from tests.world import World

WORKSPACE_FIELDS = {
    "id", "slug", "name", "kind", "state", "plan", "description", "timezone", "locale", "role", "members", "machines",
    "created_at", "authorized_actions",
}  # fmt: skip


def fixed(text: str, world: World) -> str:
    """Return output with this world's tag replaced, so that whole tables can be compared."""
    return text.replace(world.acme.slug.removeprefix("acme-"), "########")


def events(world: World, who: str = "owner") -> list[str]:
    """Return the actions in acme's audit log, newest first; signing in to read them is not counted."""
    found = world.as_(who, "acme").get(f"/workspaces/{world.acme.slug}/events").json()["items"]
    return [each["action"] for each in found if not each["action"].startswith("sign_in.")]


# -- which workspaces there are --------------------------------------------------------------------------------------


def test_list_as_a_table_in_a_pipe_and_as_json(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    shown = cmdop("workspace", "list", "-o", "table").ok()
    assert fixed(shown.out, world) == (
        "   SLUG                       NAME      ROLE   MACHINES\n"
        "*  acme-########              Acme      guest         0\n"
        "   globex-########            Globex    owner         0\n"
        "   visitor-########-personal  Personal  owner         0\n"
    )
    piped = cmdop.here("workspace", "list").ok()
    assert fixed(piped.out, world).splitlines()[0] == "acme-########\tAcme\tguest\t0\ttrue"
    found = cmdop.here("workspace", "list", "--json").ok().json
    assert found["schema"] == "cmdop.workspace.v1"
    assert [each["active"] for each in found["items"]] == [True, False, False]
    assert all(set(each) == {*WORKSPACE_FIELDS, "active"} for each in found["items"])
    assert cmdop.here("workspace", "list", "-q", "--limit", "2").ok().out.split() == [
        world.acme.slug,
        world.globex.slug,
    ]
    assert (
        cmdop.here("workspace", "list", "--fields", "slug,role").ok().out.splitlines()[1]
        == f"{world.globex.slug}\towner"
    )


def test_list_merges_what_narrow_sign_ins_see(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "visitor", "acme")
    assert cmdop.here("workspace", "list", "-q").ok().out.split() == [world.acme.slug]
    plant(cmdop, world, "visitor", "globex")
    assert cmdop.here("workspace", "list", "-q").ok().out.split() == [world.acme.slug, world.globex.slug]


def test_list_goes_on_when_one_sign_in_has_ended(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "visitor", "acme")
    ended = plant(cmdop, world, "visitor", "globex")
    world.api().post("/auth/revoke", json={"token": ended.refresh_token.reveal(), "all": True})
    listed = cmdop.here("workspace", "list", "-q").ok()
    assert listed.out.split() == [world.acme.slug]
    assert listed.err == f"warning: the sign-in for workspace {world.globex.slug} has ended\n"


def test_list_goes_on_when_one_is_no_longer_a_member_of_the_active_one(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "globex")
    cmdop.here("workspace", "show", "-w", world.acme.slug).ok()  # the later pair of the same sign-in is asked first
    assert len(token_files(cmdop)) > 1
    world.as_("owner").delete(f"/workspaces/{world.acme.slug}/members/{world['visitor'].id}").raise_for_status()
    left = cmdop.here("workspace", "list").ok()  # to which whoever is removed is led
    assert world.globex.slug in left.out
    assert world.acme.slug not in left.out
    assert left.err == ""


def test_list_with_a_key_is_the_keys_workspace_alone(cmdop: Cmdop, world: World) -> None:
    key = world.key("visitor", workspace="globex")["text"]
    listed = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url)("workspace", "list", "-q").ok()
    assert listed.out == f"{world.globex.slug}\n"


def test_show_names_the_workspace_of_a_flag(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    shown = cmdop.here("workspace", "show", f"--workspace={world.globex.slug}", "--json").ok().json
    assert set(shown) == {*WORKSPACE_FIELDS, "schema"}
    assert (shown["id"], shown["role"]) == (world.globex.id, "owner")


# -- making and changing ---------------------------------------------------------------------------------------------


def test_create_use_and_act_as_the_documents_print_it(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    slug = unique("my-workspace")
    created = cmdop("workspace", "create", "My Workspace", "--slug", slug, "--json").ok()
    assert (created.json["slug"], created.json["role"], created.json["kind"]) == (slug, "owner", "team")
    assert created.err == (
        f"created workspace My Workspace ({slug}); you are its owner\nto act in it: cmdop workspace use {slug}\n"
    )
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"  # creating is not choosing
    assert cmdop.with_(CMDOP_SERVER_URL=world.server.url).here("workspace", "use", slug).ok()
    assert cmdop.here("workspace", "members", "-q", "--fields", "role").ok().out == "owner\n"
    assert cmdop.here("workspace", "switch", world.acme.slug).ok()


def test_a_new_workspace_is_known_here_without_the_server(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    slug = unique("known")
    cmdop.here("workspace", "create", "Known", "--slug", slug).ok()
    profiles = Path(cmdop.environ["CMDOP_CONFIG_DIR"], "profiles.toml")
    profiles.write_text(profiles.read_text().replace(world.server.url, "http://127.0.0.1:9"))
    assert cmdop.here("workspace", "use", slug).ok().out == f"{slug}\n"


def test_a_narrow_sign_in_is_told_how_to_enter_what_it_made(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme")
    slug = unique("narrow")
    created = cmdop.here("workspace", "create", "Narrow", "--slug", slug).ok()
    assert created.err.splitlines()[1] == (
        f"your sign-in is for one workspace only; to enter: cmdop login --workspace {slug}"
    )


def test_a_taken_slug_comes_with_a_command_that_works(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("workspace", "create", "It's Acme", "--slug", world.acme.slug, "--json")
    assert (refused.code, refused.error["code"]) == (6, "slug_taken")
    _, *again = shlex.split(refused.error["hint"])
    assert cmdop.here(*again, "-q").ok().out.startswith(world.acme.slug)


def test_if_not_exists_finds_ones_own_and_nobody_elses(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    again = cmdop.here("workspace", "create", "Acme", "--slug", world.acme.slug, "--if-not-exists", "--json").ok()
    assert again.json["id"] == world.acme.id
    others = cmdop.here("workspace", "create", "Globex", "--slug", world.globex.slug, "--if-not-exists")
    assert others.code == 6


def test_planning_a_workspace_makes_none(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    slug = unique("planned")
    planned = cmdop.here("workspace", "create", "Planned", "--slug", slug, "--dry-run", "--json").ok().json
    assert set(planned) == {*WORKSPACE_FIELDS, "schema", "planned"}
    assert (planned["planned"], planned["slug"], planned["id"]) == (True, slug, None)
    assert slug not in cmdop.here("workspace", "list", "-q").ok().out
    taken = cmdop.here("workspace", "create", "Acme", "--slug", world.acme.slug, "--dry-run")
    assert taken.code == 6


def test_what_cannot_be_a_workspace_is_refused_here(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    for arguments, says in (
        (["Acme", "--slug", "Not_A_Slug"], "cannot be a slug"),
        (["Acme", "--slug", "api"], "reserved"),
        (["!!!"], "choose one"),
        ([""], "needs a name"),
        (["Acme", "--plan", "free"], "--plan is one of"),
    ):
        refused = cmdop.here("workspace", "create", *arguments)
        assert refused.code == 2
        assert says in refused.err


def test_keys_make_no_workspaces(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner")["text"]
    refused = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url).here("workspace", "create", "Keyed")
    assert refused.code == 5


def test_a_renamed_slug_is_followed_everywhere_here(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    slug = unique("renamed")
    before = token_files(cmdop)
    changed = cmdop.here("workspace", "update", "--slug", slug, "--name", "Renamed", "--json").ok()
    assert (changed.json["id"], changed.json["slug"]) == (world.acme.id, slug)
    assert cmdop.here("workspace", "current").ok().out == f"{slug}\n"
    assert cmdop.here("workspace", "members", "-w", slug).ok()
    assert token_files(cmdop).keys() == before.keys()
    assert "workspace.updated" in events_of(world, slug)


def events_of(world: World, slug: str) -> list[str]:
    """Return the actions in the audit log of acme under its present slug."""
    return [each["action"] for each in world.as_("owner", slug).get(f"/workspaces/{slug}/events").json()["items"]]


def test_settings_are_shown_and_set_together(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    changed = cmdop.here(
        "workspace", "settings", "set", "timezone=Europe/Berlin", "auto_tags=env=prod,role=web",
        "name_pattern=${hostname}-${short_id}", "gate-mode=strict", "--json",
    ).ok()  # fmt: skip
    assert changed.json["timezone"] == "Europe/Berlin"
    assert changed.json["auto_tags"] == {"env": "prod", "role": "web"}
    assert changed.json["gate_mode"] == "strict"
    assert cmdop.here("workspace", "settings", "--json").ok().json == changed.json
    rules = '[{"kind":"deny","operation":"execute_command","match":"rm -rf /"}]'
    cmdop.here("workspace", "settings", "set", f"gate_rules={rules}").ok()
    shown = cmdop.here("workspace", "settings", "show", "--json").ok().json
    assert shown["gate_rules"] == json.loads(rules)


def test_tags_of_new_machines_are_written_as_all_tags_are(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    for given in ("auto_tags=env:prod,role:web", "auto_tags=env=prod,role:web"):  # the latter is how it was at first
        cmdop.here("workspace", "settings", "set", given).ok()
        shown = cmdop.here("workspace", "settings", "show", "-q", "--fields", "auto_tags").ok().out
        assert shown == "env:prod,role:web\n"
        cmdop.here("workspace", "settings", "set", "auto_tags=").ok()


def test_planning_settings_changes_nothing(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    before = cmdop.here("workspace", "settings", "--json").ok().json
    planned = cmdop.here("workspace", "settings", "set", "name=Other", "--dry-run", "--json").ok().json
    assert planned == before | {"name": "Other", "planned": True}
    assert cmdop.here("workspace", "settings", "--json").ok().json == before


def test_settings_that_are_none_are_refused(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    before = cmdop.here("workspace", "settings", "--json").ok().json
    for words in (
        ["set"], ["set", "name"], ["set", "colour=red"], ["set", "gate_mode=loose"], ["set", "gate_rules={}"],
        ["set", "auto_tags=env"], ["set", "name=a", "name=b"], ["forget", "name"],
    ):  # fmt: skip
        assert cmdop.here("workspace", "settings", *words).code == 2, words
    assert cmdop.here("workspace", "settings", "--json").ok().json == before


def test_guards_hold_for_settings_too(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    locked = cmdop.with_(CMDOP_READONLY="1")
    assert locked.here("workspace", "settings").ok()
    assert locked.here("workspace", "settings", "set", "name=X").code == 7
    assert locked.here("workspace", "update", "--name", "X").code == 7


def test_a_change_in_the_accounts_default_says_so(cmdop: Cmdop, world: World) -> None:
    cmdop.here("login", "--server", world.server.url, "--token", "-", stdin=world.one_time_token("outsider")).ok()
    cmdop.here("workspace", "create", "Other", "--slug", unique("other")).ok()
    cmdop.here("logout").ok()  # of the only workspace that was active
    cmdop.here("login", "--server", world.server.url, "--token", "-", stdin=world.one_time_token("outsider")).ok()
    state = Path(cmdop.environ["CMDOP_CONFIG_DIR"], "state.json")
    document = json.loads(state.read_text())
    del document["active"]
    state.write_text(json.dumps(document))
    changed = cmdop.here("workspace", "update", "--description", "mine").ok()
    assert changed.err.startswith(f"acting in {world['outsider'].personal}, the default of {world['outsider'].email}")


# -- the people inside -----------------------------------------------------------------------------------------------


def test_members_as_a_table_and_as_json(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "admin", "acme")
    shown = cmdop.here("workspace", "members", "-o", "table", "--fields", "you,email,name,role").ok()
    assert fixed(shown.out, world) == (
        "   EMAIL                         NAME     ROLE\n"
        "   owner-########@example.org    Owner    owner\n"
        "*  admin-########@example.org    Admin    admin\n"
        "   member-########@example.org   Member   member\n"
        "   guest-########@example.org    Guest    guest\n"
        "   visitor-########@example.org  Visitor  guest\n"
    )
    found = cmdop.here("workspace", "members", "--json").ok().json
    assert found["schema"] == "cmdop.member.v1"
    assert [each["you"] for each in found["items"]] == [False, True, False, False, False]
    assert len(cmdop.here("workspace", "members", "-q", "--limit", "2").ok().out.split()) == 2


def test_set_role_names_a_person_exactly(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    person = world["member"]
    changed = cmdop.here("workspace", "set-role", person.email, "viewer", "--json").ok()
    assert (changed.json["id"], changed.json["role"]) == (person.id, "guest")
    assert f"{person.email} is guest now, was member, in workspace {world.acme.slug} (from " in changed.err
    assert events(world)[0] == "member.role_changed"
    again = cmdop.here("workspace", "set-role", person.email.upper(), "guest").ok()
    assert "already is guest" in again.err
    assert events(world).count("member.role_changed") == 1
    assert cmdop.here("workspace", "set-role", person.id, "member", "--json").ok().json["role"] == "member"


def test_nothing_like_a_person_is_taken_for_one(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    for ref, code in (("member", 2), ("usr_", 2), ("nobody@example.org", 3), ("usr_" + "0" * 20, 3)):
        refused = cmdop.here("workspace", "set-role", ref, "guest")
        assert refused.code == code
        assert "fix: cmdop workspace members" in refused.err


def test_roles_are_spelled_or_refused(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("workspace", "set-role", world["member"].email, "boss")
    assert refused.code == 2
    assert "owner, admin, member, guest" in refused.err


def test_making_an_owner_is_asked_about(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    refused = cmdop.here("workspace", "set-role", world["admin"].email, "owner", "--json")
    assert (refused.code, refused.error["code"]) == (7, "confirmation_required")
    assert refused.error["hint"].endswith("--yes")
    cmdop.here("workspace", "set-role", world["admin"].email, "owner", "--yes").ok()


def test_the_last_owner_stays_one(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    for arguments in (["set-role", world["owner"].email, "admin"], ["leave", "--yes"]):
        refused = cmdop.here("workspace", *arguments, "--json")
        assert (refused.code, refused.error["code"]) == (6, "last_owner")


def test_a_member_is_told_which_right_is_missing(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "member", "acme")
    refused = cmdop.here("workspace", "remove", world["guest"].email, "--yes", "--json")
    assert refused.code == 5
    assert refused.error["workspace"]["slug"] == world.acme.slug
    assert "member.remove" in refused.error["message"]


def test_remove_asks_on_a_terminal_and_shows_what_it_ends(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "admin", "acme")
    screen = cmdop.on_terminal("workspace", "remove", world["member"].email)
    try:
        shown = screen.until("[y/N]")
        assert f"workspace {world.acme.slug} (from the active workspace" in shown
        assert f"remove {world['member'].email} (member) from the workspace?" in shown
        assert "never revived" in shown
        screen.type("n\r")
        assert screen.end() == 7
    finally:
        screen.close()
    assert "member.removed" not in events(world)


def test_remove_without_a_terminal_needs_a_yes(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "admin", "acme")
    person = world["member"]
    refused = cmdop.here("workspace", "remove", person.email)
    assert (refused.code, refused.out) == (7, "")
    assert f"fix: cmdop workspace remove {person.email} --yes" in refused.err
    planned = cmdop.here("workspace", "remove", person.email, "--dry-run", "--json").ok()
    assert (planned.json["id"], planned.json["planned"]) == (person.id, True)
    done = cmdop.here("workspace", "remove", person.email, "--yes", "-q").ok()
    assert done.out == f"{person.id}\n"
    assert person.email not in cmdop.here("workspace", "members", "-q", "--fields", "email").ok().out


def test_who_was_removed_learns_it_and_is_still_signed_in_elsewhere(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    cmdop.here("workspace", "members", "-w", world.globex.slug).ok()
    world.as_("owner").delete(f"/workspaces/{world.acme.slug}/members/{world['visitor'].id}")
    refused = cmdop.here("workspace", "members", "--json")
    assert refused.code in (3, 4)
    assert refused.error["workspace"]["slug"] == world.acme.slug
    cmdop.here("workspace", "members", "-w", world.globex.slug).ok()
    listed = cmdop.here("workspace", "list", "-q").ok().out.split()
    assert listed == [world.globex.slug, world["visitor"].personal]


def test_leave_forgets_the_workspace_here(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    left = cmdop("workspace", "leave", "--yes", "--json").ok()
    assert left.json["slug"] == world.acme.slug
    assert token_files(cmdop) == {}
    assert events(world)[0] == "member.left"
    refused = cmdop.here("workspace", "use", world.acme.slug)
    assert refused.code in (3, 4)


# -- text from others ------------------------------------------------------------------------------------------------

HOSTILE = [
    "[bold red]x[/]", "<script>alert(1)</script>", "$(touch pwned)", "`id`", "; rm -rf /", "a" * 60, "名前" * 10, "﷽",
    "e\u0301" * 10, "--help", "-rf", "%s%n{0}", "../../etc/passwd", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
]  # fmt: skip


def accepted(cmdop: Cmdop, names: list[str]) -> list[tuple[str, str]]:
    """Create a workspace for each name that the server takes; return the slugs with their names."""
    made = []
    for name in names:
        ran = cmdop.here("workspace", "create", "--slug", unique("hostile"), "-q", "--", name)
        if ran.code == 0:
            made.append((ran.out.strip(), name))
    return made


def test_hostile_names_stay_text_in_every_form(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "outsider")
    made = accepted(cmdop, HOSTILE)
    assert len(made) > len(HOSTILE) // 2
    shown: dict[str, Any] = {
        form: cmdop.here("workspace", "list", "-o", form).ok() for form in ("table", "tsv", "json")
    }
    by_slug = {each["slug"]: each["name"] for each in shown["json"].json["items"]}
    assert {slug: by_slug[slug] for slug, _ in made} == dict(made)
    for form in ("table", "tsv"):
        text = shown[form].out
        assert all(character in "\n\t" or character.isprintable() for character in text)
        assert len(text.splitlines()) == len(by_slug) + (form == "table")
    screen = cmdop.on_terminal("workspace", "list", width=80)
    try:
        assert screen.end() == 0
        assert b"\x1b]" not in screen.written
    finally:
        screen.close()


def test_thousands_of_workspaces_never_make_the_state_unreadable(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    local = Local(cmdop.environ)
    (identity,) = local.state().identities
    many = [Membership(Place(make_id("workspace"), f"w{number}"), "名" * 100, "owner") for number in range(12_000)]
    local.change_state(lambda draft: draft.remember(identity, many, at="2026-03-01T00:00:00Z"))
    assert cmdop.here("workspace", "use", "w0").ok()
    assert cmdop.here("workspace", "list", "-q").ok().out.split() == [world.acme.slug, world["owner"].personal]


def test_settings_that_cannot_be_read_are_one_error_and_no_noise(
    cmdop: Cmdop, world: World, isolated: dict[str, str]
) -> None:
    sign_in(cmdop, world, "owner", "acme")
    write(isolated, b"= 1", "config.toml")
    ran = cmdop.here("workspace", "list")
    assert (ran.code, ran.out) == (Exit.LOCAL_STATE, "")
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == ["error", "fix"]
