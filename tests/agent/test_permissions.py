"""``permissions.yaml`` in every state it can be found in: strict where in doubt, and never looser by another's hand."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmdop_agent.gate import decide
from cmdop_agent.permissions import Permissions, PermissionsFile, parse, render, settled
from cmdop_agent.plain_yaml import LARGEST
from cmdop_agent.rules import Request, Rule
from cmdop_sdk.errors import LocalStateError
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict

COMMAND = GateOperation.EXECUTE_COMMAND
ALLOW, DENY, ASK = GateVerdict.ALLOW, GateVerdict.DENY, GateVerdict.ASK
LS = Request(COMMAND, ("ls",))
GIT = Request(COMMAND, ("git", "status"))
RULES = st.lists(
    st.builds(Rule, st.sampled_from(list(GateVerdict)), st.just(COMMAND), st.sampled_from(["ls", "git **", "rm **"])),
    max_size=4,
)
PERMISSIONS = st.builds(Permissions, st.sampled_from(list(GateMode)), RULES.map(tuple), st.just(True))
REQUESTS = [LS, GIT, Request(COMMAND, ("rm", "-r", "x")), Request(GateOperation.SESSION)]
STRICTNESS = (ALLOW, ASK, DENY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agent's own directory."""
    made = tmp_path / "cmdop" / "agent"
    made.mkdir(parents=True, mode=0o700)
    made.parent.chmod(0o700)
    return made


def open_file(folder: Path, *, was_seeded: bool = False) -> PermissionsFile:
    """Return the file as an agent opens it."""
    return PermissionsFile(folder, folder.parent, lambda: was_seeded)


def verdict(folder: Path, request: Request = LS, *, was_seeded: bool = False) -> GateVerdict:
    """Return the gate's word from a fresh look at the files."""
    return open_file(folder, was_seeded=was_seeded).decide(request).verdict


def put(folder: Path, content: bytes, name: str = "permissions.yaml") -> None:
    """Write a file by hand."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


@given(PERMISSIONS)
def test_what_is_written_is_read_back(permissions: Permissions) -> None:
    assert parse(render(permissions)) == permissions


def test_it_is_strict_until_it_was_seeded(folder: Path) -> None:
    file = open_file(folder)
    assert (file.read().mode, file.read().is_seeded, file.read().problem) == (GateMode.STRICT, False, "")
    assert file.decide(LS).verdict is DENY
    assert file.seed(GateMode.DEFAULT, [Rule(DENY, COMMAND, "ls")], is_bypass_accepted=False)
    assert file.decide(LS).verdict is DENY
    assert file.decide(GIT).verdict is ALLOW
    assert (folder / "permissions.yaml").stat().st_mode & 0o777 == 0o600


def test_it_is_seeded_once(folder: Path) -> None:
    assert open_file(folder).seed(GateMode.STRICT, [], is_bypass_accepted=False)
    assert not open_file(folder).seed(GateMode.DEFAULT, [], is_bypass_accepted=True)
    assert verdict(folder) is DENY
    for name in ("permissions.yaml", "permissions.accepted.yaml"):
        (folder / name).unlink()
    assert not open_file(folder, was_seeded=True).seed(GateMode.DEFAULT, [], is_bypass_accepted=True)
    assert verdict(folder, was_seeded=True) is DENY
    assert "missing" in open_file(folder, was_seeded=True).read().problem


@pytest.mark.parametrize("accepted", [False, True])
def test_bypass_is_seeded_only_where_somebody_agreed_to_it_here(folder: Path, accepted: bool) -> None:
    open_file(folder).seed(GateMode.BYPASS, [], is_bypass_accepted=accepted)
    assert verdict(folder) is (ALLOW if accepted else DENY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"[" * 10_000,
        b"a: &a [*a]",
        b"version: 2\nmode: bypass",
        b"mode: bypass",
        b"version: 1\nmode: open",
        b"version: 1\nmode: [bypass]",
        b"version: 1\nmode: bypass\nrules: yes please",
        b"version: 1\nmode: bypass\nrules: [{allow: everything}]",
        b"version: 1\nmode: bypass\nextra: 1",
        b"version: 1\nmode: bypass\n? [a]\n: b",
        b"- version: 1",
        b"!!python/object/apply:os.system ['true']",
        b"version: 1\n" + b"#" * (1 << 20),
        b"version: 1\nmode: bypass\nrules: [" + b"1," * (1 << 16) + b"]",
        b"version: true\nmode: bypass",
        b"version: 1.0\nmode: bypass",
        b"version: 1\nmode: strict\nmode: bypass",
        b"version: 1\nmode: bypass\nrules: [{deny: session}]\nrules: []",
        b"version: 1\nmode: bypass\nrules: [{deny: session, deny: execute_command}]",
        b"version: 1\nmode: bypass\nrules: false",
        b"version: 1\nmode: bypass\nrules: {}",
        b"version: 1\nmode: bypass\nrules: ''",
        b"version: 1\nmode: &a bypass",
        b"version: 1\n<<: {mode: bypass}",
        b"version: 1\nmode: !x bypass",
        b"version: 1\nmode: bypass\n---\nversion: 1",
        b"x0: &x0 {a: 1}\n"
        + b"".join(b"x%d: &x%d {<<: [%s]}\n" % (n, n, b",".join([b"*x%d" % (n - 1)] * 9)) for n in range(1, 20)),
    ],
    ids=lambda content: repr(content[:60]),
)
def test_what_cannot_be_used_means_strict(folder: Path, content: bytes) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.BYPASS))
    assert file.decide(LS).verdict is ALLOW
    put(folder, content)
    assert file.decide(LS).verdict is verdict(folder) is DENY
    now = file.read()
    assert (now.mode, now.rules) == (GateMode.STRICT, ())
    assert "permissions.yaml" in now.problem
    assert "permissions.yaml" in file.decide(LS).reason


def test_a_hostile_file_cannot_keep_the_gate_busy() -> None:
    for text in (
        "version: 1\nrules: [" + "1," * (LARGEST // 2 - 20) + "]",
        "[" * LARGEST,
        "a" * LARGEST,
        "- " * 50_000,
    ):
        started = time.process_time()
        with pytest.raises(ValueError, match=r"\w"):
            parse(text)
        assert time.process_time() - started < 10


def test_more_rules_than_can_be_read_again_are_not_written(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.DEFAULT, (Rule(DENY, COMMAND, "ls"),)))
    with pytest.raises(LocalStateError):
        file.write(Permissions(GateMode.DEFAULT, tuple(Rule(DENY, COMMAND, f"x{each}") for each in range(5000))))
    assert (file.decide(LS).verdict, file.decide(GIT).verdict, file.read().problem) == (DENY, ALLOW, "")


def test_a_missing_file_means_strict_and_so_does_one_that_is_a_link_or_a_folder(folder: Path, tmp_path: Path) -> None:
    file = open_file(folder)
    for spoil in (
        lambda path: None,
        lambda path: path.symlink_to(tmp_path / "planted"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path, 0o600),
    ):
        file.write(Permissions(GateMode.BYPASS))
        assert file.decide(LS).verdict is ALLOW
        (tmp_path / "planted").write_text(render(Permissions(GateMode.BYPASS)))
        (folder / "permissions.yaml").unlink()
        spoil(folder / "permissions.yaml")
        assert file.decide(LS).verdict is verdict(folder) is DENY
        if (folder / "permissions.yaml").is_dir():
            (folder / "permissions.yaml").rmdir()
        else:
            (folder / "permissions.yaml").unlink(missing_ok=True)


def test_a_remembered_state_that_is_broken_means_strict(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.BYPASS))
    put(folder, b"nonsense", "permissions.accepted.yaml")
    assert file.decide(LS).verdict is verdict(folder) is DENY


def test_a_change_by_hand_counts_where_it_is_stricter(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.DEFAULT, (Rule(ALLOW, COMMAND, "rm **"),)))
    put(folder, render(Permissions(GateMode.DEFAULT, (Rule(DENY, COMMAND, "ls"),))).encode())
    assert file.decide(LS).verdict is DENY
    assert file.decide(GIT).verdict is ALLOW
    assert file.decide(Request(COMMAND, ("rm", "-r", "x"))).verdict is ASK
    assert file.read().problem == ""


def test_a_change_by_hand_does_not_count_where_it_is_looser(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.STRICT, (Rule(ALLOW, COMMAND, "git status"), Rule(DENY, COMMAND, "ls"))))
    for looser in (
        Permissions(GateMode.BYPASS),
        Permissions(GateMode.STRICT, (Rule(ALLOW, COMMAND),)),
        Permissions(GateMode.STRICT, (Rule(ALLOW, COMMAND, "git status"), Rule(ASK, COMMAND, "ls"))),
    ):
        put(folder, render(looser).encode())
        assert file.decide(LS).verdict is verdict(folder) is DENY
        assert "by hand" in file.read().problem


def test_what_was_loosened_by_hand_does_not_come_into_force_with_a_proper_change(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.STRICT))
    put(folder, render(Permissions(GateMode.BYPASS, (Rule(ALLOW, COMMAND, "ls"),))).encode())
    now = file.read()
    file.write(replace(now, rules=(*now.rules, Rule(ALLOW, COMMAND, "git status")), problem=""))
    assert file.decide(LS).verdict is DENY
    assert file.decide(GIT).verdict is ALLOW


@given(PERMISSIONS, PERMISSIONS)
def test_a_change_never_starts_from_anything_looser_than_what_was_accepted(
    accepted: Permissions, found: Permissions
) -> None:
    base = settled(accepted, found)
    for request in REQUESTS:
        before = decide(request, accepted.mode, accepted.rules, "/own").verdict
        after = decide(request, base.mode, base.rules, "/own").verdict
        assert STRICTNESS.index(after) >= STRICTNESS.index(before), (request, before, after)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PERMISSIONS, PERMISSIONS)
def test_by_hand_or_not_the_stricter_word_stands(
    tmp_path_factory: pytest.TempPathFactory, accepted: Permissions, found: Permissions
) -> None:
    folder = tmp_path_factory.mktemp("agent")
    folder.chmod(0o700)
    file = PermissionsFile(folder)
    file.write(accepted)
    put(folder, render(found).encode())
    for request in REQUESTS:
        words = [decide(request, each.mode, each.rules, "/own").verdict for each in (accepted, found)]
        assert file.decide(request).verdict is max(words, key=STRICTNESS.index)


def test_files_open_to_others_are_closed_to_them(folder: Path) -> None:
    file = open_file(folder)
    file.write(Permissions(GateMode.DEFAULT))
    (folder / "permissions.yaml").chmod(0o666)
    assert file.decide(LS).verdict is ALLOW
    assert (folder / "permissions.yaml").stat().st_mode & 0o777 == 0o600
