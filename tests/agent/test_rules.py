"""What a rule says and what it meets: words as argv, paths by folders; an allow narrowly, a deny widely."""

import shlex
import time

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
def test_words(match: str, argv: list[str], allow: bool, deny: bool) -> None:
    assert Rule(GateVerdict.ALLOW, COMMAND, match).meets(command(*argv)) is allow
    assert Rule(GateVerdict.DENY, COMMAND, match).meets(command(*argv)) is deny
    assert Rule(GateVerdict.ASK, COMMAND, match).meets(command(*argv)) is deny


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
def test_paths(pattern: str, path: str, meets: bool) -> None:
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
