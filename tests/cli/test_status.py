"""``status``, ``whoami``, ``auth status``, ``auth token``: what is in force and why, where it lives, when it ends."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.signed import answers, plant, sign_in, token_files
from tests.processes import Server
from tests.terminal import Cmdop
from tests.world import World, make_world


def test_everything_in_force_with_its_reason(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    shown = cmdop("status", "-o", "table").ok()
    home = "~/cmdop"
    rows = {line[:12].strip(): " ".join(line[12:].split()) for line in shown.out.splitlines()[1:]}
    assert rows == {
        "server": f"{world.server.url} profile default; it answers",
        "mode": "prod the current one",
        "profile": "default the current one",
        "account": f"{world['visitor'].email} -",
        "workspace": f"{world.acme.slug} (guest) the active workspace",
        "credential": "sign-in for all workspaces -",
        "kept in": f"file below {home}",
        "ends": "in 30 days -",
    }
    found = cmdop.here("status", "--json").ok().json
    assert found["schema"] == "cmdop.status.v1"
    assert found["server"] == {"origin": world.server.url, "source": "profile default", "reachable": True}
    assert found["workspace"]["source"] == "active"
    assert (found["workspace"]["id"], found["workspace"]["role"]) == (world.acme.id, "guest")
    assert (found["credential"]["reach"], found["credential"]["kept_in"]) == ("all", "file")
    assert Path(found["credential"]["path"]).exists()
    assert found["problem"] is None
    assert cmdop.here("status", "-q").out == f"{world.acme.slug}\n"


@pytest.mark.parametrize(
    ("arguments", "environ", "source"),
    [
        (["-w", "{globex}"], {}, "flag"),
        ([], {"CMDOP_WORKSPACE": "{globex}"}, "environment"),
    ],
)
def test_the_reason_follows_the_source(
    cmdop: Cmdop, world: World, arguments: list[str], environ: dict[str, str], source: str
) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    filled = [each.format(globex=world.globex.slug) for each in arguments]
    there = cmdop.with_(**{name: value.format(globex=world.globex.slug) for name, value in environ.items()})
    found = there.here("status", *filled, "--json").ok().json["workspace"]
    assert (found["id"], found["role"], found["source"]) == (world.globex.id, "owner", source)


def test_a_key_is_named_by_where_it_was_given(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner", "machines:read", name="ci", shared=True)
    there = cmdop.with_(CMDOP_API_KEY=key["text"], CMDOP_SERVER_URL=world.server.url)
    found = there.here("status", "--json").ok().json
    credential = found["credential"]
    assert (credential["kind"], credential["name"], credential["kept_in"]) == ("workspace_key", "ci", "CMDOP_API_KEY")
    assert (credential["prefix"], credential["scopes"]) == (key["prefix"], ["machines:read"])
    assert (found["account"], found["workspace"]["source"]) == (None, "key")
    assert key["text"] not in json.dumps(found)


def test_a_refused_key_is_to_blame_and_not_said_to_last_for_ever(cmdop: Cmdop, world: World) -> None:
    key = world.key("owner")
    world.server.backstage("tests.casting:expire_key", key=key["id"])
    here = cmdop.with_(CMDOP_API_KEY=key["text"], CMDOP_SERVER_URL=world.server.url)
    ran = here.here("status")
    assert ran.code == 4
    assert "ends\t\t\n" in ran.out
    assert "the key in CMDOP_API_KEY: revoked, expired" in ran.err
    assert ran.err.endswith("fix: cmdop --no-api-key status\n")


def test_signed_in_nowhere_is_exit_4_with_the_way_in(cmdop: Cmdop) -> None:
    for arguments in ([], ["--offline"]):
        found = cmdop.here("status", "--json", *arguments)
        assert found.code == 4
        assert found.json["credential"] is None
        assert found.json["problem"]["hint"] == "cmdop login"


def test_offline_asks_nothing(cmdop: Cmdop, new_server: Callable[..., Server]) -> None:
    world = make_world(new_server())
    sign_in(cmdop, world, "owner", "acme")
    world.server.stop()
    found = cmdop.here("status", "--offline", "--json").ok().json
    assert (found["server"]["reachable"], found["workspace"]["slug"]) == (None, world.acme.slug)
    away = cmdop.with_(CMDOP_RETRIES="0").here("status", "--json")
    assert away.code == 69
    assert (away.json["server"]["reachable"], away.json["workspace"]["slug"]) == (False, world.acme.slug)


def test_an_ended_sign_in_is_said_to_have_ended(cmdop: Cmdop, world: World) -> None:
    pair = plant(cmdop, world, "owner", "acme")
    world.api().post("/auth/revoke", json={"token": pair.refresh_token.reveal(), "all": True})
    found = cmdop.here("status", "--json")
    assert (found.code, found.json["server"]["reachable"]) == (4, True)
    assert found.json["problem"]["hint"] == f"cmdop login --workspace {world.acme.slug}"


def test_whoami_is_the_servers_word(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    shown = cmdop.here("whoami", "-o", "table").ok()
    assert {line.split("  ")[0]: line.split("  ")[-1].strip() for line in shown.out.splitlines()} == {
        "you are": world["visitor"].email,
        "by": "sign-in",
        "may enter": "all your workspaces",
        "workspace": world.acme.slug,
        "role": "guest",
        "server": world.server.url,
    }
    key = world.key("owner", name="ci", shared=True)["text"]
    told = cmdop.with_(CMDOP_API_KEY=key).here("whoami", "--json").ok()
    assert (told.json["who"], told.json["account"], told.json["credential"]["name"]) == ("ci", None, "ci")


def test_whoami_never_answers_for_another_workspace_than_the_named_one(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    assert cmdop.here("whoami", "-w", world.globex.slug, "--json").ok().json["workspace"]["role"] == "owner"
    assert cmdop.here("whoami", "-w", "no-such-workspace").code == 3
    key = world.key("visitor", workspace="globex")["text"]
    assert cmdop.with_(CMDOP_API_KEY=key).here("whoami", "-w", world.acme.slug).code == 2


def test_where_every_credential_lives_and_when_it_ends(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    cmdop.here("workspace", "show", "-w", world.globex.slug).ok()
    sign_in(cmdop, world, "owner", "acme", "--dev")
    found = cmdop.here("auth", "status", "--json").ok().json
    assert found["schema"] == "cmdop.credential.v1"
    rows = {(each["mode"], each["workspace"]["slug"]): each for each in found["items"]}
    assert set(rows) == {("prod", world.acme.slug), ("prod", world.globex.slug), ("dev", world.acme.slug)}
    assert [key for key, each in rows.items() if each["in_force"]] == [("prod", world.acme.slug)]
    month = datetime.now(UTC) + timedelta(days=30)
    for each in rows.values():
        assert each["store"] == "file"
        assert stat.S_IMODE(Path(each["path"]).stat().st_mode) == 0o600
        assert abs(datetime.fromisoformat(each["expires_at"]) - month) < timedelta(minutes=5)
    shown = cmdop.here("auth", "status", "-o", "table").ok().out
    assert shown.splitlines()[0].split() == ["WORKSPACE", "MODE", "SERVER", "ACCOUNT", "KEPT", "IN", "ENDS"]
    assert "cmdat_" not in json.dumps(found)


def test_a_key_in_the_environment_stands_among_them(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    key = world.key("owner")
    found = cmdop.with_(CMDOP_API_KEY=key["text"]).here("auth", "status", "--json").ok().json["items"]
    assert [(each["kind"], each["store"], each["in_force"]) for each in found] == [
        ("key", "CMDOP_API_KEY", True),
        ("sign_in", "file", False),
    ]


def test_a_broken_token_file_is_told_and_the_others_are_listed(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    cmdop.here("workspace", "show", "-w", world.globex.slug).ok()
    broken, *_ = (path for path in token_files(cmdop) if world.globex.id in path)
    Path(cmdop.environ["CMDOP_CONFIG_DIR"], broken).write_bytes(b"{\0")
    listed = cmdop.here("auth", "status")
    assert listed.code == 78
    assert listed.out.startswith(f"{world.acme.slug}\t")
    assert f"{broken} cannot be read" in listed.err


def test_the_token_goes_to_other_tools_through_a_pipe_only(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    token = cmdop("auth", "token").ok().out
    assert token.startswith("cmdat_")
    assert answers(world.api(token.strip())) == 200
    told = cmdop.here("auth", "token", "--json").ok().json
    assert (told["secret"], told["kind"], told["workspace"]["slug"]) == (token.strip(), "sign_in", world.acme.slug)
    screen = cmdop.on_terminal("auth", "token")
    try:
        assert screen.end() == 7
        assert "cmdat_" not in screen.text
        assert "fix: cmdop auth token --reveal" in screen.text
    finally:
        screen.close()
    shown = cmdop.on_terminal("auth", "token", "--reveal")
    try:
        assert shown.end() == 0
        assert shown.text == token.strip()
    finally:
        shown.close()


def test_the_token_is_fresh_and_the_key_is_itself(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    (path,) = token_files(cmdop)
    file = Path(cmdop.environ["CMDOP_CONFIG_DIR"], path)
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"expires_at": 0}))
    token = cmdop.here("auth", "token").ok().out.strip()
    assert token != document["access_token"]
    assert answers(world.api(token)) == 200
    key = world.key("owner")["text"]
    assert cmdop.with_(CMDOP_API_KEY=key).here("auth", "token").ok().out == f"{key}\n"


def test_the_server_part_says_how_to_get_it_and_passes_words_untouched(cmdop: Cmdop) -> None:
    helped = cmdop("server", "user", "create", "--help").ok()
    assert "--workspace" in helped.out
    assert cmdop("server", "no-such-verb").code == 2
    said_before = cmdop("--json", "server", "no-such-verb")
    assert (said_before.code, said_before.out, said_before.error["code"]) == (2, "", "usage")
