"""What people see where there is little room, or an alphabet of one's own: aligned, and broken between words only."""

from pathlib import Path

import pytest

from cmdop_wire.vocab import Exit
from tests.agents import register
from tests.cli.signed import owner_of_two_machines, sign_in
from tests.terminal import Cmdop
from tests.world import World

PAGES = ("connect --help", "connect exec --help", "help exit-codes", "help scopes", "server start --help")


def lines(cmdop: Cmdop, *arguments: str, width: int) -> list[str]:
    """Return what a command writes on a terminal, in its own lines and not in the terminal's."""
    terminal = cmdop.on_terminal(*arguments, width=width)
    assert terminal.end() == 0
    return terminal.written.decode().replace("\r", "").replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_help_is_folded_at_words_for_a_narrow_terminal(cmdop: Cmdop, page: str) -> None:
    run = cmdop if "server" in page else cmdop.here  # which hands over to another program, in its own process
    shown = lines(cmdop, *page.split(), width=60)
    assert not [line for line in shown if len(line) > 60 and not line.startswith("  cmdop ")]
    assert "\n".join(shown).split() == run(*page.split()).ok().out.split()  # the same words, none of them broken


@pytest.fixture
def owner(cmdop: Cmdop, world: World, tmp_path: Path) -> Cmdop:
    return owner_of_two_machines(cmdop, world, tmp_path)


def test_hostnames_are_listed_where_one_is_not_the_name(owner: Cmdop) -> None:
    assert lines(owner, "connect", "list", width=80)[0].split() == ["NAME", "STATE", "TAGS", "SESSION", "SEEN"]
    assert owner("connect", "list").ok().out.startswith("db-1\tdb-1\t")  # a program finds them where they always are
    owner("connect", "rename", "db-1", "database").ok()
    assert lines(owner, "connect", "list", width=80)[0].split()[:2] == ["NAME", "HOSTNAME"]


def test_of_two_long_names_the_one_that_is_typed_has_the_room(owner: Cmdop, world: World, tmp_path: Path) -> None:
    long = "build-runner-of-the-team-eu-central"
    register(world, tmp_path / "long", long)
    owner("connect", "rename", "db-1", "database").ok()
    (row,) = (line for line in lines(owner, "connect", "list", width=80) if line.startswith("build"))
    assert row.split()[0] == long
    assert len(row) <= 80


def test_what_the_encoding_cannot_say_stays_in_its_column(owner: Cmdop) -> None:
    owner("connect", "rename", "db-1", "数据库").ok()
    heading, *rows = lines(owner.with_(PYTHONIOENCODING="ascii"), "connect", "list", width=80)
    place = heading.index("HOSTNAME")
    assert sorted(row[place:].split()[0] for row in rows) == ["db-1", "web-1"]
    assert {row[:place].strip() for row in rows} == {r"\u6570\u636e\u5e93", "web-1"}


def test_a_column_for_which_there_is_no_room_is_left_out(owner: Cmdop) -> None:
    for _ in range(2):
        owner("connect", "join-token", "create", "--name", "image-for-the-fleet").ok()
    ids = owner("connect", "join-token", "list", "-q").ok().out.split()
    heading, *rows = lines(owner, "connect", "join-token", "list", width=60)
    assert (heading.split()[0], "MACHINE" in heading) == ("ID", False)
    assert [row.split()[0] for row in rows] == ids
    assert max(map(len, rows)) <= 60
    assert "MACHINE" in lines(owner, "connect", "join-token", "list", width=120)[0]


def test_no_sessions_at_all_is_not_none_of_a_kind(owner: Cmdop) -> None:
    assert lines(owner, "connect", "sessions", width=200)[0].startswith("no sessions in workspace ")
    assert lines(owner, "connect", "sessions", "--active", width=200)[0].startswith("no such sessions in workspace ")


def test_a_workspace_without_another_owner_proposes_no_guest(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "owner", "acme")
    words = ("workspace", "set-role", world["owner"].email, "member")
    assert cmdop.here(*words, "--json").error["hint"].split()[3] == world["admin"].email
    for person in ("admin", "member", "visitor"):
        members = cmdop.here("workspace", "members", "--fields", "email", "-q").ok().out.split()
        if world[person].email in members:
            cmdop.here("workspace", "remove", world[person].email, "--yes").ok()
    assert world["guest"].email in cmdop.here("workspace", "members", "--fields", "email", "-q").ok().out.split()
    assert world["guest"].email not in cmdop.here(*words, "--json").error["hint"]


@pytest.mark.parametrize(
    "line", ["connect exec {} -- true", "connect exec {} web-1 -- true", "connect show {}", "connect get {}:a b",
             "connect rename web-1 {}", "workspace create {}", "audit list --actor {}", "connect exec --tag a:{} -- x"],
)  # fmt: skip
def test_a_word_that_is_no_text_is_refused_as_one(owner: Cmdop, line: str) -> None:
    r"""A file name may be any bytes, a name that is sent may not: that is no bug, and leaves no traceback."""
    ran = owner(*line.format("web\udcff").split())
    assert ran.code == Exit.USAGE
    assert "is not Unicode text\n" in ran.err
    assert "traceback" not in ran.err


def test_a_shell_without_utf_8_is_told_how_to_have_it(owner: Cmdop) -> None:
    plain = owner.with_(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    for line in (("connect", "exec", "数据库", "--", "true"), ("connect", "show", "数据库")):
        ran = plain(*line)
        assert (ran.code, "\nfix: export LC_ALL=C.UTF-8\n" in ran.err) == (Exit.USAGE, True)
