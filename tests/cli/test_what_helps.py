"""What people read when something goes wrong: what, why, and a line to paste. Through the real command line."""

import os
from pathlib import Path

import pytest

from cmdop_cli import unreached
from cmdop_cli.folding import folded
from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, RESERVED_SCOPES, Exit, Scope
from tests.agents import register
from tests.cli.signed import owner_of_two_machines, sign_in
from tests.terminal import Cmdop
from tests.world import World


@pytest.fixture
def owner(cmdop: Cmdop, world: World, tmp_path: Path) -> Cmdop:
    return owner_of_two_machines(cmdop, world, tmp_path)


# -- machines that are not reached ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../me", "a/b", "/"])
def test_what_reads_like_a_path_is_no_machine_s_name(owner: Cmdop, name: str) -> None:
    for line in (("show", name), ("rename", name, "new"), ("exec", name, "--", "true")):
        asked = owner.here("connect", *line)
        assert asked.code in (Exit.NOT_FOUND, Exit.REMOTE), line
        assert f"is called {name}" in asked.err
        assert "no such address" not in asked.err


MISSPELT = (
    ("connect exec wbe-1 -- rm wbe-1", Exit.REMOTE, "connect exec web-1 -- rm wbe-1"),
    ("connect exec --timeout 5s WBE-1 -- true", Exit.REMOTE, "connect exec --timeout 5s web-1 -- true"),
    ("connect show webb-1", Exit.NOT_FOUND, "connect show web-1"),
    ("connect observe webb-1", Exit.NOT_FOUND, "connect observe web-1"),
    ("connect get webb-1:a/b.txt c.txt", Exit.NOT_FOUND, "connect get web-1:a/b.txt c.txt"),
    ("connect rename webb-1 a", Exit.NOT_FOUND, "connect rename web-1 a"),
    ("connect sessions --machine webb-1", Exit.NOT_FOUND, "connect sessions --machine web-1"),
    ("connect workspace move webb-1 --to globex", Exit.NOT_FOUND, "connect workspace move web-1 --to globex"),
    ("connect remove webb-1 --yes", Exit.NOT_FOUND, "connect show web-1"),  # a yes is for what was named
)


def test_the_nearest_machine_is_named_and_the_line_with_it(owner: Cmdop) -> None:
    for line, code, fix in MISSPELT:
        ran = owner.here(*line.split())
        assert ran.code == code
        assert "; the nearest is web-1\n" in ran.err
        assert f"\nfix: cmdop {fix}\n" in ran.err


def test_among_many_machines_the_nearest_is_named_too(owner: Cmdop) -> None:
    ran = owner.here("connect", "exec", "wbe-1", "db-1", "xyz", "--", "true")
    assert ran.code == Exit.PARTIAL
    assert [each for each in ran.err.splitlines() if "nearest" in each] == [
        "no machine is called wbe-1; the nearest is web-1"
    ]
    assert "nearest" not in owner.here("connect", "exec", "wbe-1", "db-1", "--json", "--", "true").err


def test_a_name_that_another_machine_has_leads_to_the_names(owner: Cmdop) -> None:
    ran = owner.here("connect", "rename", "web-1", "db-1")
    assert ran.code == Exit.CONFLICT
    assert "\nfix: cmdop connect list\n" in ran.err


def test_a_session_is_sought_on_the_machine_that_was_probably_meant(owner: Cmdop) -> None:
    ran = owner.here("connect", "end", "wbe-1")
    assert ran.code == Exit.NOT_FOUND
    assert "fix: cmdop connect end web-1\n" in ran.err


def test_a_session_that_is_not_there_leads_to_the_list_of_them(owner: Cmdop) -> None:
    ran = owner.here("connect", "end", "ses_00000000000000000000", "--yes")
    assert ran.code == Exit.NOT_FOUND
    assert ran.err.startswith("error: no such session: ses_00000000000000000000\n")
    assert "\nfix: cmdop connect sessions\n" in ran.err


def test_tags_are_shown_as_they_are_typed(owner: Cmdop) -> None:
    owner.here("connect", "tag", "web-1", "env:prod", "team:ops").ok()
    terminal = owner.on_terminal("connect", "list", "--tag", "env:prod")
    try:
        assert terminal.end() == 0
    finally:
        terminal.close()
    assert "env:prod, team:ops" in terminal.text


def test_a_name_like_no_other_leads_to_the_list(owner: Cmdop) -> None:
    ran = owner.here("connect", "exec", "xyz", "--", "true")
    assert "is called xyz\n" in ran.err
    assert "\nfix: cmdop connect list\n" in ran.err


def test_whoever_may_not_list_machines_is_told_the_same_as_before(cmdop: Cmdop, world: World, tmp_path: Path) -> None:
    register(world, tmp_path / "web-1", "web-1")
    key = world.key("owner", Scope.COMMANDS_EXECUTE)["text"]
    ran = cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url).here("connect", "exec", "wbe-1", "--", "a")
    assert ran.code == Exit.REMOTE
    assert f"error: no machine of workspace {world.acme.slug} is called wbe-1\n" in ran.err
    assert "web-1" not in ran.err.replace("wbe-1", "")


def test_a_machine_that_is_away_says_since_when_and_what_to_do_there(owner: Cmdop, world: World) -> None:
    world.server.backstage("tests.cli.test_what_helps:_seen_two_hours_ago", hostname="db-1", slug=world.acme.slug)
    for line in ("connect exec db-1 -- true", "connect get db-1:x y"):
        ran = owner.here(*line.split())
        assert ran.code in (Exit.REMOTE, Exit.UNREACHABLE)
        assert "error: db-1 is not connected; last seen 20" in ran.err
        assert ", 2 hours ago\n" in ran.err
        assert "\nfix: on db-1: cmdop connect start\n" in ran.err


def _seen_two_hours_ago(hostname: str, slug: str) -> None:
    from datetime import UTC, datetime, timedelta

    from cmdop_server.machines.models import Machine

    at = datetime.now(UTC) - timedelta(hours=2, minutes=2)
    Machine.objects.filter(hostname=hostname, workspace__slug=slug).update(last_seen_at=at)


# -- files ---------------------------------------------------------------------------------------------------------


def test_what_is_here_or_not_here_is_said_with_a_way_on(owner: Cmdop) -> None:
    (owner.folder / "site").mkdir()
    (owner.folder / "there.txt").write_text("mine")
    for line, fix in (
        ("connect get web-1:a.txt there.txt", "cmdop connect get web-1:a.txt there.txt --force"),
        ("connect get web-1:logs/", "cmdop connect exec web-1 -- ls -la logs/"),
        ("connect put nothing.txt web-1:", "ls -a ."),
        ("connect put site web-1:", "tar c site | cmdop connect put - web-1:site.tar"),
    ):
        ran = owner.here(*line.split())
        assert ran.code != 0
        assert f"\nfix: {fix}\n" in ran.err, ran


def test_what_is_no_plain_file_here_is_never_replaced(owner: Cmdop) -> None:
    """Whoever may write to a folder of devices could otherwise make a file of one, with --force."""
    pipe = owner.folder / "pipe"
    os.mkfifo(pipe)
    for line in ("connect get web-1:a.txt pipe", "connect get web-1:a.txt pipe --force"):
        ran = owner.here(*line.split())
        assert ran.code == Exit.USAGE
        assert "error: pipe is no plain file, and stays what it is\n" in ran.err
        assert "fix: cmdop connect get web-1:a.txt - > pipe\n" in ran.err
    assert pipe.is_fifo()


def test_a_secret_that_reached_nobody_is_taken_back_with_the_fix(owner: Cmdop) -> None:
    for line in ("auth create-key --name lost", "connect join-token create --name lost"):
        with open("/dev/full", "w") as full:
            process = owner.start(*line.split(), stdout=full)
            with process:
                said = process.communicate(timeout=60)[1]
        assert process.returncode == Exit.BUG
        assert "; the secret is lost with it, and cannot be shown again\n" in said
        fix = said.partition("fix: cmdop ")[2].splitlines()[0]
        owner.here(*fix.split(), "--yes").ok()
    assert owner.here("auth", "list-keys").ok().out == ""


# -- long lines ----------------------------------------------------------------------------------------------------


def test_a_long_line_is_folded_at_words_on_a_terminal_only(owner: Cmdop) -> None:
    line = [
        "workspace",
        "set-role",
        "somebody-with-a-long-name@a-long-name.example.org",
        "admin",
        "--expect",
        "elsewhere",
    ]
    terminal = owner.on_terminal(*line, width=60)
    assert terminal.end() == Exit.GUARD
    piped = owner.here(*line)
    shown = terminal.text.splitlines()
    assert len(shown) > len(piped.err.splitlines())
    said = [each for each in piped.err.splitlines() if not each.startswith("fix: ")]
    assert any(len(each) > 60 for each in said)
    for each in said:
        assert each.split() == next(
            words for at in range(len(shown)) for end in range(at, len(shown) + 1)
            if (words := " ".join(shown[at:end]).split()) == each.split()
        )  # fmt: skip


def test_what_is_to_be_pasted_is_never_folded() -> None:
    fix = "fix: cmdop connect exec web-1 --timeout 30s -- sh -c 'one; two; three'"
    assert folded(fix, 40) == fix
    note = "you are signed in now; to act in it from here: cmdop workspace use acme; bye"
    assert folded(note, 36).splitlines() == [
        "you are signed in now; to act in it",
        "  from here:",
        "  cmdop workspace use acme; bye",
    ]


def test_a_long_value_goes_on_below_itself(owner: Cmdop) -> None:
    terminal = owner.on_terminal("connect", "show", "web-1", width=60)
    assert terminal.end() == 0
    shown = terminal.text.splitlines()
    start = next(place for place, line in enumerate(shown) if line.startswith("you may "))
    assert len(shown) > start + 1
    assert all(line.startswith(" " * 12) for line in shown[start + 1 :])
    actions = [each.rstrip(",") for each in " ".join(shown[start:]).split()[2:]]
    assert actions == owner.here("connect", "show", "web-1", "--json").json["authorized_actions"]


def test_a_line_that_is_about_a_command_is_folded_as_any_other() -> None:
    line = "error: cmdop connect end needs SESSION: a session's id, or a machine"
    assert folded(line, 40).splitlines() == [
        "error: cmdop connect end needs SESSION:",
        "  a session's id, or a machine",
    ]


@pytest.mark.parametrize("columns", [1, 20, 33, 80])
def test_folding_loses_nothing(columns: int) -> None:
    text = "  warning: 東京 is a city, and https://a-very-long-name.example.org/with/a/path is none; so what"
    lines = folded(text, columns).splitlines()
    assert " ".join(lines).split() == text.split()
    assert all(line.startswith("  ") for line in lines)


# -- keys and scopes -----------------------------------------------------------------------------------------------


def test_a_key_in_the_way_is_left_out_of_the_call(cmdop: Cmdop, world: World) -> None:
    """``CMDOP_API_KEY=K cmdop …`` is set for one line: unsetting it there would help nobody."""
    sign_in(cmdop, world, "visitor", "globex")
    here = cmdop.with_(CMDOP_API_KEY=world.key("owner")["text"], CMDOP_SERVER_URL=world.server.url)
    ran = here.here("workspace", "show", "--workspace", world.globex.slug)
    assert ran.code == Exit.USAGE
    line = f"cmdop --no-api-key workspace show --workspace {world.globex.slug}"
    assert f"fix: {line}\n" in ran.err
    assert here.here(*line.split()[1:], "-q").ok().out.strip() == world.globex.slug


def test_every_scope_has_a_meaning_and_an_unknown_one_leads_to_them(cmdop: Cmdop, owner: Cmdop) -> None:
    items = {each["scope"]: each["meaning"] for each in cmdop.here("help", "scopes", "--json").ok().json["items"]}
    assert set(items) == set(Scope)
    assert {each for each, meaning in items.items() if meaning.startswith("reserved: ")} == RESERVED_SCOPES
    assert {each for each, meaning in items.items() if "without --scope" in meaning} == set(DEFAULT_KEY_SCOPES)
    ran = owner.here("auth", "create-key", "--name", "a", "--scope", "machine:read")
    assert ran.err.splitlines()[:3] == [
        "error: there is no scope machine:read",
        "why: the nearest is machines:read",
        "fix: cmdop help scopes",
    ]


# -- people --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["add-member", "invite", "add"])
def test_whoever_wants_to_add_a_person_is_told_who_can(cmdop: Cmdop, word: str) -> None:
    ran = cmdop.here("workspace", word, "bob@example.com", "--role", "guest", "-w", "acme")
    assert ran.code == Exit.USAGE
    assert "why: people are added where the server runs" in ran.err
    assert "fix: cmdop server user create bob@example.com --workspace acme --role guest --token\n" in ran.err
    assert "cmdop server user create EMAIL" in cmdop.here("workspace", "members", "--help").ok().out


# -- misspelt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("connect --hostnam x", "fix: cmdop connect --hostname x\n"),
        ("connect --join-tokn - --yes", "fix: cmdop connect --join-token - --yes\n"),
        ("completion --shell bash", "fix: cmdop completion --help\n"),
        ("exec web-1 -- ls -la", "fix: cmdop connect exec web-1 -- ls -la\n"),
        ("ssh web-1", "why: it is cmdop connect\nfix: cmdop connect web-1\n"),
        ("machines", "fix: cmdop connect list\n"),
        ("list", "fix: cmdop --help\n"),  # of many nouns
        ("connect web-1 uptime", "fix: cmdop connect exec web-1 -- uptime\n"),
        ("config set output tabel", "fix: cmdop config set output table\n"),
        ("config set color maybe", "fix: cmdop config set color true\n"),
        ("connect web-1 --hostname x", "fix: cmdop connect run --help\n"),
        ("connect web-1 --detach", "why: it is about this machine's agent, which cmdop connect runs"),
        ("login --server 127.0.0.1:8787", "fix: use http://127.0.0.1:8787\n"),
        ("login --server cmdop.example", "fix: use https://cmdop.example\n"),
        ("login --server https://a.example --token cmdst_x", "fix: cmdop login --server https://a.example --token -\n"),
        ("login --token=cmdst_x --server https://a.example", "fix: cmdop login --token=- --server https://a.example\n"),
        ("login --server nonsense", "such as https://cmdop.example:8443\nfix: cmdop login --help\n"),
    ],
)
def test_what_was_misspelt_is_put_right(cmdop: Cmdop, line: str, said: str) -> None:
    ran = cmdop.here(*line.split())
    assert ran.code == Exit.USAGE
    assert said in ran.err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("connect show B\udcff", Exit.USAGE),
        ("connect rename web-1 B\udcff", Exit.USAGE),
        ("connect put - web-1:B\udcff", Exit.USAGE),
        ("connect exec B\udcff -- true", Exit.USAGE),
        ("workspace create B\udcff", Exit.USAGE),
    ],
)
def test_a_word_that_is_no_text_is_shown_and_no_bug(owner: Cmdop, line: str, code: Exit) -> None:
    """As a file name of another encoding is, or any beyond ASCII in a shell without a locale."""
    ran = owner.here(*line.split())
    assert ran.code == code
    assert "B\\udcff is not Unicode text\n" in ran.err
    assert "bug" not in ran.err
    where = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    if "show" in line:
        ran = owner("connect", "show", "B\xfcro", environ=where)
        assert (ran.code, ran.err.splitlines()[-1]) == (Exit.USAGE, "fix: export LC_ALL=C.UTF-8")


def test_the_server_s_own_line_names_the_nearest_option(capsys: pytest.CaptureFixture[str]) -> None:
    from cmdop_server.__main__ import Grammar

    for line, said in (
        ("start --prot 1", "there is no option --prot of cmdop server start; the nearest is --port"),
        ("start --prot=1", "there is no option --prot of cmdop server start; the nearest is --port"),
        ("user create a@b.example --xyz", "there is no option --xyz of cmdop server user create"),
    ):
        with pytest.raises(SystemExit):
            Grammar().read(line.split())
        assert f"error: {said}\n" in capsys.readouterr().err


def test_the_server_s_long_sentences_are_folded_too(cmdop: Cmdop) -> None:
    terminal = cmdop.on_terminal("server", "user", "create", "a@b.example", "--rol", "guest", width=60)
    assert terminal.end() == Exit.USAGE
    assert terminal.text.splitlines()[:2] == [
        "error: there is no option --rol of cmdop server user create;",
        "  the nearest is --role",
    ]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("wbe-1", "web-1"), ("web1", "web-1"), ("weeb-1", "web-1"), ("WEB-1", "web-1"), ("veb-1", "web-1"),
        ("web-2", ""), ("web-11", ""), ("web", ""), ("db-1", ""), ("bwe-1", ""), ("", ""),
    ],
)  # fmt: skip
def test_only_a_slip_of_the_finger_leads_to_another_machine_and_never_in_a_number(word: str, found: str) -> None:
    assert unreached.nearest(word, ["prod-web", "web-1"]) == found
    assert unreached.nearest("prod-db", ["prod-web"]) == ""
