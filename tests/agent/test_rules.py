"""What a rule says and what it meets: words as argv, paths by folders; an allow narrowly, a deny widely."""

import shlex
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cmdop_agent.rules import Request, Rule, parse_rule, path_meets, rule_of
from cmdop_wire.vocab import GateOperation, GateVerdict

HOME = "/home/ann"
COMMAND = GateOperation.EXECUTE_COMMAND
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), min_size=1, max_size=5)


def command(*argv: str, cwd: str = "") -> Request:
    """Return the request to run these words."""
    return Request(COMMAND, argv, cwd=cwd, home=HOME)


@pytest.mark.parametrize(
    ("match", "argv", "allow", "deny"),
    [
        ("git status", ["git", "status"], True, True),
        ("git status", ["git", "status", "-s"], False, False),
        ("git status", ["git"], False, False),
        ("git status", ["git status"], False, False),
        ("git status", ["git", "Status"], False, False),
        ("git status", ["/usr/bin/git", "status"], False, True),
        ("/usr/bin/git status", ["git", "status"], False, False),
        ("git *", ["git", "log"], True, True),
        ("git *", ["git", "--exec-path=/tmp/x"], False, True),
        ("git *", ["git"], False, False),
        ("git * HEAD", ["git", "show", "HEAD"], True, True),
        ("git **", ["git"], True, True),
        ("git **", ["git", "log", "-p", "--", "x"], True, True),
        ("git **", ["gitk"], False, False),
        ("git log **", ["git"], False, False),
        ("echo 'a b'", ["echo", "a b"], True, True),
        ("echo 'a b'", ["echo", "a", "b"], False, False),
        ("", ["anything", "at", "all"], True, True),
    ],
)
def test_a_command_meets_a_rule_word_by_word(match: str, argv: list[str], allow: bool, deny: bool) -> None:
    assert Rule(GateVerdict.ALLOW, COMMAND, match).meets(command(*argv)) is allow
    assert Rule(GateVerdict.DENY, COMMAND, match).meets(command(*argv)) is deny
    assert Rule(GateVerdict.ASK, COMMAND, match).meets(command(*argv)) is deny


@pytest.mark.parametrize(
    ("match", "argv", "program"),
    [
        ("git **", ["GIT", "push"], ""),  # the same program where upper and lower case are
        ("caf\u00e9 **", ["cafe\u0301"], ""),  # and where accents may be written in two ways
        ("git **", ["x"], "/usr/bin/git"),  # a link
        ("/usr/bin/git **", ["git", "push"], "/usr/bin/git"),
        ("/usr/bin/git **", ["//usr/bin/git"], ""),
        ("/usr/bin/git **", ["/usr/./bin//git"], ""),
        ("/usr/bin/git **", ["/usr/lib/../bin/git"], ""),
        ("/usr/bin/git **", ["../../usr/bin/git"], ""),
        ("~/x ls", ["~/x", "ls"], ""),
        ("* push", ["git", "push"], ""),
    ],
)
def test_a_deny_meets_its_program_however_it_is_spelled(match: str, argv: list[str], program: str) -> None:
    for verdict in (GateVerdict.DENY, GateVerdict.ASK):
        assert Rule(verdict, COMMAND, match).meets(Request(COMMAND, tuple(argv), home=HOME, program=program))
    if argv[0] not in match and match[0] != "*":
        assert not Rule(GateVerdict.ALLOW, COMMAND, match).meets(Request(COMMAND, tuple(argv), program=program))


@pytest.mark.parametrize(
    ("match", "argv", "program"),
    [
        ("git **", ["gitk"], "/usr/bin/gitk"),
        ("git status", ["git", "Status"], "/usr/bin/git"),
        ("/usr/bin/git **", ["/opt/bin/git"], "/opt/bin/git"),
        ("/usr/bin/git **", ["git"], "/opt/bin/git"),
        ("ls **", ["rm"], ""),
    ],
)
def test_a_deny_does_not_meet_another_program(match: str, argv: list[str], program: str) -> None:
    assert not Rule(GateVerdict.DENY, COMMAND, match).meets(Request(COMMAND, tuple(argv), home=HOME, program=program))


def test_a_deny_meets_what_its_path_leads_to_whatever_links_are_on_the_way(tmp_path: Path) -> None:
    there = tmp_path / "real" / "app"
    there.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for pattern in (f"{tmp_path}/link/app", f"{tmp_path}/link/**", "~/link/app", f"{tmp_path}/real/APP"):
        deny = Rule(GateVerdict.DENY, COMMAND, "make", pattern)
        assert deny.meets(Request(COMMAND, ("make",), cwd=str(there), home=str(tmp_path))), pattern
        deny = Rule(GateVerdict.DENY, GateOperation.READ_FILE, pattern)
        assert deny.meets(Request(GateOperation.READ_FILE, path=str(there), home=str(tmp_path))), pattern
        allow = Rule(GateVerdict.ALLOW, GateOperation.READ_FILE, pattern)
        assert not allow.meets(Request(GateOperation.READ_FILE, path=str(there), home=str(tmp_path))), pattern


@pytest.mark.parametrize("home", ["/home/[ann]", "/home/a*", "/home/a?n", "/home/**", "/home/[!a]"])
def test_a_home_folder_means_itself_whatever_it_is_called(home: str) -> None:
    assert path_meets("~/notes/*", f"{home}/notes/today", home)
    for other in ("/home/a", "/home/ann", "/home/abn", "/home/x/y", "/home/b"):
        assert not path_meets("~/notes/*", f"{other}/notes/today", home)


@given(WORDS)
@example(["*"])
def test_a_rule_made_of_words_meets_them_and_nothing_longer_or_shorter(words: list[str]) -> None:
    rule = Rule(GateVerdict.ALLOW, COMMAND, shlex.join(words))
    assert rule.meets(command(*words))
    assert not rule.meets(command(*words, "more"))
    assert not rule.meets(command(*words[:-1]))


@given(WORDS.filter(lambda words: not {"*", "**"} & set(words)), st.text(min_size=1))
def test_another_word_is_another_command(words: list[str], other: str) -> None:
    rule = Rule(GateVerdict.ALLOW, COMMAND, shlex.join(words))
    for place, word in enumerate(words):
        changed = [*words[:place], other, *words[place + 1 :]]
        assert rule.meets(command(*changed)) is (other == word)


def test_an_allow_holds_in_the_home_folder_unless_it_names_another() -> None:
    plain = Rule(GateVerdict.ALLOW, COMMAND, "make deploy")
    there = Rule(GateVerdict.ALLOW, COMMAND, "make deploy", "~/app/**")
    assert plain.meets(command("make", "deploy"))
    assert not plain.meets(command("make", "deploy", cwd="/tmp/elsewhere"))
    assert there.meets(command("make", "deploy", cwd="/home/ann/app/web"))
    assert not there.meets(command("make", "deploy"))
    assert Rule(GateVerdict.DENY, COMMAND, "make deploy").meets(command("make", "deploy", cwd="/tmp/elsewhere"))
    assert Rule(GateVerdict.ALLOW, COMMAND).meets(command("make", cwd="/tmp/elsewhere"))


@pytest.mark.parametrize(
    ("pattern", "path", "meets"),
    [
        ("/srv/app.log", "/srv/app.log", True),
        ("/srv/*.log", "/srv/app.log", True),
        ("/srv/*.log", "/srv/old/app.log", False),
        ("/srv/**", "/srv/old/app.log", True),
        ("/srv/**", "/srv", True),
        ("/srv/**/app.log", "/srv/app.log", True),
        ("/srv/**/app.log", "/srv/a/b/app.log", True),
        ("/srv/**/app.log", "/srv/a/b/app.log.1", False),
        ("/**", "/anything", True),
        ("~/notes/*", "/home/ann/notes/today", True),
        ("~/notes/*", "/home/bob/notes/today", False),
        ("/srv/a?c", "/srv/abc", True),
        ("/srv", "/srvx", False),
    ],
)
def test_a_path_meets_a_pattern_folder_by_folder(pattern: str, path: str, meets: bool) -> None:
    assert path_meets(pattern, path, HOME) is meets
    rule = Rule(GateVerdict.DENY, GateOperation.READ_FILE, pattern)
    assert rule.meets(Request(GateOperation.READ_FILE, path=path, home=HOME)) is meets
    assert not rule.meets(Request(GateOperation.WRITE_FILE, path=path, home=HOME))


def test_a_hostile_path_cannot_make_a_rule_slow() -> None:
    started = time.process_time()
    assert not path_meets("/**" * 200 + "/x", "/a" * 2000)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "line",
    [
        "allow everything",
        {},
        {"allow": "execute_command", "deny": "session"},
        {"allow": "dance"},
        {"permit": "session"},
        {"allow": "session", "match": "ls"},
        {"allow": "session", "why": "because"},
        {"allow": "execute_command", "match": 7},
        {"allow": "execute_command", "match": "a\0b"},
        {"allow": "execute_command", "match": "echo 'open"},
        {"allow": "execute_command", "match": "  "},
        {"allow": "execute_command", "match": "git ** status"},
        {"allow": "execute_command", "match": "*"},
        {"allow": "execute_command", "match": "** x"},
        {"allow": "read_file", "match": "notes"},
        {"allow": "read_file", "match": "/srv/../etc/passwd"},
        {"allow": "read_file", "cwd": "/srv"},
        {"allow": "execute_command", "match": "ls", "cwd": "srv"},
        {"allow": ["execute_command"]},
    ],
)
def test_what_is_no_rule_is_refused(line: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_rule(line)


def test_a_deny_may_speak_of_every_command() -> None:
    assert rule_of("deny", "execute_command", "**").meets(command("ls"))
    assert rule_of("ask", "execute_command", "*").meets(command("ls"))
    assert not rule_of("ask", "execute_command", "*").meets(command("ls", "-l"))


@pytest.mark.parametrize("match", ["", "*", "**", "open"])
def test_a_session_is_one_thing_however_the_rule_spells_it(match: str) -> None:
    assert rule_of("allow", "session", match) == Rule(GateVerdict.ALLOW, GateOperation.SESSION)


def test_nothing_of_long_commands_is_remembered() -> None:
    rule = rule_of("deny", "execute_command", "rm **")
    tracemalloc.start()
    try:
        for number in range(500):
            assert not rule.meets(command(f"é{number}" + "X" * 50_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1024 * 1024
