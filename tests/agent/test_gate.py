"""The gate's order, its floor and what mode default asks about (D-25)."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmdop_agent.gate import (
    DANGEROUS,
    DANGEROUS_READS,
    DANGEROUS_WRITES,
    FLOOR_DEVICES,
    FLOOR_FILES,
    decide,
    strictest,
)
from cmdop_agent.rules import Request, Rule
from cmdop_agent.within import LOOKED_AT
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict

HOME, OWN = "/home/ann", "/home/ann/.config/cmdop"
COMMAND = GateOperation.EXECUTE_COMMAND
ALLOW, DENY, ASK = GateVerdict.ALLOW, GateVerdict.DENY, GateVerdict.ASK
STRICTNESS = (ALLOW, ASK, DENY)
ANY_RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from(list(GateVerdict)),
        st.sampled_from(list(GateOperation)),
        st.sampled_from(["", "/home/ann/x", "ls -l", "ls **"]),
    ).filter(lambda rule: rule.match.startswith("/") is (rule.operation not in (COMMAND, GateOperation.SESSION)))
)
REQUESTS = [
    Request(COMMAND, ("ls", "-l"), home=HOME),
    Request(COMMAND, ("rm", "-r", "x"), home=HOME),
    Request(GateOperation.SESSION, home=HOME),
    Request(GateOperation.READ_FILE, path="/home/ann/x", home=HOME),
    Request(GateOperation.WRITE_FILE, path="/home/ann/.bashrc", home=HOME),
]


def command(*argv: str) -> Request:
    """Return the request to run these words."""
    return Request(COMMAND, argv, home=HOME)


def word(request: Request, mode: GateMode, *rules: Rule) -> GateVerdict:
    """Return the gate's verdict alone."""
    return decide(request, mode, rules, OWN).verdict


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_without_rules_the_mode_decides(request_: Request) -> None:
    is_dangerous = "rm" in request_.argv or request_.path.endswith(".bashrc")
    assert word(request_, GateMode.BYPASS) is ALLOW
    assert word(request_, GateMode.STRICT) is DENY
    assert word(request_, GateMode.DEFAULT) is (ASK if is_dangerous else ALLOW)


@given(st.sampled_from(REQUESTS), st.sampled_from(list(GateMode)), ANY_RULES)
def test_deny_stands_before_ask_before_allow_before_the_mode(
    request_: Request, mode: GateMode, rules: list[Rule]
) -> None:
    met = {rule.verdict for rule in rules if rule.meets(request_)}
    expected = next((verdict for verdict in (DENY, ASK, ALLOW) if verdict in met), word(request_, mode))
    assert word(request_, mode, *rules) is expected
    assert word(request_, mode, *reversed(rules)) is expected


@settings(max_examples=20)
@given(st.sampled_from(list(GateMode)), ANY_RULES, st.sampled_from(list(GateVerdict)))
def test_the_floor_is_never_moved(mode: GateMode, rules: list[Rule], verdict: GateVerdict) -> None:
    everything = [Rule(verdict, operation) for operation in GateOperation]
    for floored in FLOORED:
        decision = decide(floored, mode, [*rules, *everything], OWN)
        assert decision.verdict is DENY
        assert decision.reason.startswith("never allowed")


FLOORED = [
    command(),
    command(""),
    command("cmdop", "connect", "permissions", "mode", "bypass"),
    command("/usr/local/bin/cmdop", "--dev", "connect", "approvals"),
    command("sh", "-c", "cmdop connect permissions allow session"),
    command("env", "A=b", "cmdop", "connect", "permissions", "list"),
    command("rm", "-rf", "/"),
    command("rm", "--recursive", "--force", "//."),
    command("/bin/rm", "-fR", "/*"),
    command("rm", "--rec", "--no-preserve-root", "/"),
    command("sh", "-c", ">&2 rm -r /"),
    command("nice", "-n", "5", "rm", "-r", "/"),
    command("bash", "-c", "cd /; rm -rf /"),
    command("bash", "-c", ":(){ :|:& };:"),
    command("sh", "-c", "bomb() { bomb | bomb & }; bomb"),
    *(
        Request(operation, path=f"{OWN}/{name}", home=HOME)
        for operation in (GateOperation.READ_FILE, GateOperation.WRITE_FILE)
        for name in ("agent/permissions.yaml", "agent/machine.json", "accounts/a/b/token_prod.json", "state.json")
    ),
    Request(GateOperation.READ_FILE, path="/proc/1/mem"),
    Request(GateOperation.READ_FILE, path="/proc/self/task/7/environ"),
    Request(GateOperation.WRITE_FILE, path="/dev/sda1"),
    Request(GateOperation.WRITE_FILE, path="/dev/mem"),
]


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "-r", "build"],
        ["rm", "build", "-fR"],
        ["rm", "--recursive", "build"],
        ["rm", "--r", "build"],  # long options may be cut short
        ["chmod", "--recurs", "777", "/srv"],
        ["/bin/rm", "-rf", "build"],
        ["mkfs.ext4", "/dev/sda1"],
        ["dd", "if=x", "of=/dev/sda"],
        ["dd", "if=x", "of=//dev/./sda"],
        ["dd", "if=x", "of=../../dev/sda"],
        ["find", "/", "-name", "x", "-delete"],
        ["systemctl", "stop", "nginx"],
        ["reboot"],
        ["sudo", "ls"],
        ["kill", "-9", "-1"],
        ["chmod", "-R", "777", "/srv"],
        ["env", "-u", "HOME", "rm", "-r", "x"],
        ["timeout", "5s", "reboot"],
        ["xargs", "-n1", "rm", "-r"],
        ["busybox", "rm", "-r", "x"],
        ["sh", "-c", "true && rm -r x"],
        ["bash", "-ec", "if true; then sudo ls; fi"],
        ["bash", "-c", "x=$(reboot)"],
        ["sh", "-c", 'r"m" -r x'],
        ["sh", "-c", "sh -c 'sh -c reboot'"],
        ["nohup", "sh", "-c", "reboot &"],
        ["env", *["sh"] * (LOOKED_AT + 10)],
        ["RM", "-r", "x"],
        ["env", "-S", "rm -r x"],
        ["taskset", "1", "rm", "-r", "x"],
        ["/lib64/ld-linux-x86-64.so.2", "/bin/rm", "-r", "x"],
    ],
)
def test_default_asks_about_what_is_dangerous(argv: list[str]) -> None:
    decision = decide(command(*argv), GateMode.DEFAULT, [], OWN)
    assert decision.verdict is ASK
    assert decision.reason.startswith("it ")


@pytest.mark.parametrize("own", ["/home/ann/[cmdop]", "/home/ann/c*p", "/home/ann/**", "/home/ann/Cmdop"])
def test_the_floor_holds_whatever_the_folder_is_called(own: str) -> None:
    for path in (f"{own}/agent/machine.json", f"{own.upper()}/state.json"):
        request = Request(GateOperation.READ_FILE, path=path, home=HOME)
        assert decide(request, GateMode.BYPASS, [Rule(ALLOW, GateOperation.READ_FILE)], own).verdict is DENY
    assert decide(Request(GateOperation.READ_FILE, path="/home/ann/cm"), GateMode.BYPASS, [], own).verdict is ALLOW


def test_the_floor_holds_for_a_folder_that_is_reached_by_another_name(tmp_path: Path) -> None:
    """As under a bind mount: two names, one folder."""
    own, other = tmp_path / "own", tmp_path / "other"
    (own / "agent").mkdir(parents=True)
    (own / "agent" / "machine.json").write_text("{}")
    other.symlink_to(own)
    for path in (own, own / "new", own / "agent", own / "agent" / "new" / "newer", own / "agent" / "machine.json"):
        for operation in (GateOperation.READ_FILE, GateOperation.WRITE_FILE):
            request = Request(operation, path=str(path), home=str(tmp_path))
            assert decide(request, GateMode.BYPASS, [], str(other)).verdict is DENY, path
    beside = Request(GateOperation.READ_FILE, path=str(tmp_path / "beside"), home=str(tmp_path))
    assert decide(beside, GateMode.BYPASS, [], str(other)).verdict is ALLOW


BEHIND = [
    ["env", "touch", "x"],
    ["env", "-i", "A=1", "touch", "x"],
    ["env", "-S", "touch x"],
    ["env", "-Stouch x"],
    ["env", "--split-string=touch x"],
    ["nice", "-n", "5", "touch", "x"],
    ["timeout", "5", "nice", "touch", "x"],
    ["busybox", "touch", "x"],
    ["taskset", "1", "touch", "x"],
    ["setpriv", "--no-new-privs", "touch", "x"],
    ["sudo", "-n", "touch", "x"],
    ["su", "-c", "touch x"],
    ["flock", "lock", "-c", "touch x"],
    ["script", "-qc", "touch x", "/dev/null"],
    ["watch", "touch x"],
    ["xargs", "-I{}", "touch", "{}"],
    ["find", ".", "-maxdepth", "0", "-exec", "touch", "x", ";"],
    ["find", ".", "-execdir", "sh", "-c", "touch x", ";"],
    ["/lib64/ld-linux-x86-64.so.2", "/usr/bin/touch", "x"],
    ["/lib/ld-musl-x86_64.so.1", "/bin/touch", "x"],
    ["sh", "-c", "touch x"],
    ["/bin/sh", "-c", "true; touch x"],
    ["bash", "-lc", "true && 't'ouch x"],
    ["sh", "-c", "sh -c 'touch x'"],
    ["env", "sh", "-c", "x=$(touch x)"],
    *(
        ["sh", "-c", text]
        for text in (
            ">/dev/null touch x",
            "2> log touch x",
            "10>&1 touch x",
            ">&log touch x",
            "true &>log touch x",  # to a plain sh two commands
            ">|log touch x",
            "<log touch x",
            "touch>log x",
            "if false; then :; elif touch x; then :; fi",
            "time -p touch x",
            "command -p touch x",
            "exec -a y touch x",
            "eval 'touch x'",
            "trap 'touch x' EXIT",
        )
    ),
    ["choom", "-n", "0", "--", "touch", "x"],
    ["systemd-inhibit", "touch", "x"],
    ["run0", "touch", "x"],
    ["gosu", "nobody", "touch", "x"],
    ["TOUCH", "x"],
    ["/usr/bin/../bin/touch", "x"],
    ["env", *["x"] * LOOKED_AT, "touch"],  # too much to be looked through
]


@pytest.mark.parametrize("argv", BEHIND, ids=lambda argv: " ".join(argv)[:40])
@pytest.mark.parametrize("mode", [GateMode.BYPASS, GateMode.DEFAULT])
def test_a_deny_or_ask_holds_behind_what_runs_other_commands(mode: GateMode, argv: list[str]) -> None:
    everything = Rule(ALLOW, COMMAND)
    assert word(command(*argv), mode, Rule(DENY, COMMAND, "touch **"), everything) is DENY
    assert word(command(*argv), mode, Rule(ASK, COMMAND, "touch **"), everything) is ASK
    assert word(command(*argv), mode, Rule(DENY, COMMAND, "tough **"), everything) is (
        DENY if len(argv) > LOOKED_AT else ALLOW
    )


def test_an_allow_does_not_hold_behind_them() -> None:
    for argv in BEHIND:
        assert word(command(*argv), GateMode.STRICT, Rule(ALLOW, COMMAND, "touch **")) is DENY


def test_a_link_to_a_program_is_that_program_to_who_denies_and_asks() -> None:
    linked = Request(COMMAND, ("x", "-rf", "build"), home=HOME, program="/usr/bin/rm")
    assert word(linked, GateMode.DEFAULT) is ASK
    assert word(linked, GateMode.BYPASS, Rule(DENY, COMMAND, "rm **")) is DENY
    assert word(linked, GateMode.STRICT, Rule(ALLOW, COMMAND, "rm **")) is DENY
    many = Request(COMMAND, ("grep", "-r", "sudo", "."), home=HOME, program="/bin/busybox")
    assert word(many, GateMode.DEFAULT) is ALLOW


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "one-file"],
        ["rm", "-f", "one-file"],
        ["dd", "if=x", "of=y"],
        ["find", ".", "-name", "rm"],
        ["systemctl", "status", "nginx"],
        ["kill", "1234"],
        ["echo", "rm", "-r", "/"],
        ["grep", "-r", "sudo", "."],
        ["sh", "-c", "echo done"],
        ["sh", "-c", "echo done > rm 2>&1"],
        ["rm", "--one-file-system", "one-file"],
        ["env", "A=b", "make"],
    ],
)
def test_default_does_not_ask_about_everything(argv: list[str]) -> None:
    assert word(command(*argv), GateMode.DEFAULT) is ALLOW


@pytest.mark.parametrize("pattern", DANGEROUS_WRITES)
def test_default_asks_before_what_runs_or_signs_in_is_written(pattern: str) -> None:
    path = pattern.replace("~", HOME).replace("**", "a/b").replace("*", "a")
    assert word(Request(GateOperation.WRITE_FILE, path=path, home=HOME), GateMode.DEFAULT) is ASK


@pytest.mark.parametrize("pattern", DANGEROUS_READS)
def test_default_asks_before_a_secret_is_read(pattern: str) -> None:
    path = pattern.replace("~", HOME).replace("**", "a/b").replace("*", "a")
    assert word(Request(GateOperation.READ_FILE, path=path, home=HOME), GateMode.DEFAULT) is ASK


@pytest.mark.parametrize(
    "argv",
    [
        ["env", *["sh"] * 16_000],
        ["env", *["a"] * 16_000],
        ["sh", "-c", "a" * 60_000],
        ["sh", "-c", "(" * 60_000],
        ["sh", "-c", "f(){" * 15_000],
        ["sh", "-c", "sh -c 'sh -c x';" * 3_000],
        ["sh", "-c", "'" * 59_999],
    ],
    ids=lambda argv: f"{argv[0]} {argv[-1][:8]}",
)
def test_a_hostile_command_cannot_keep_the_gate_busy(argv: list[str]) -> None:
    started = time.process_time()
    decide(command(*argv), GateMode.DEFAULT, [], OWN)
    decide(command(*argv), GateMode.DEFAULT, [Rule(DENY, COMMAND, f"a{each} *", "~/x/**") for each in range(50)], OWN)
    assert time.process_time() - started < 2


def test_the_links_of_a_rule_are_looked_at_once_in_a_decision_and_anew_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    realpath = os.path.realpath

    def look(path: str) -> str:
        looked_at.append(path)
        return realpath(path)

    monkeypatch.setattr(os.path, "realpath", look)
    link, program = tmp_path / "link", str(tmp_path / "program")
    rule = Rule(DENY, COMMAND, f"{link} **")
    asked = command("env", *[program] * (LOOKED_AT - 10))
    assert word(asked, GateMode.BYPASS, rule) is ALLOW
    link.symlink_to(program)
    assert word(asked, GateMode.BYPASS, rule) is DENY
    assert len(looked_at) <= 4


def test_what_is_dangerous_is_told_in_words() -> None:
    assert all(each.programs and each.why for each in DANGEROUS)
    assert all(pattern.startswith("/") for pattern in (*FLOOR_FILES, *FLOOR_DEVICES))


@given(st.sampled_from(list(GateMode)), st.sampled_from(list(GateMode)), ANY_RULES, ANY_RULES)
def test_the_stricter_of_two_is_as_strict_as_both(one: GateMode, other: GateMode, a: list[Rule], b: list[Rule]) -> None:
    for request in REQUESTS:
        first, second = decide(request, one, a, OWN), decide(request, other, b, OWN)
        chosen = strictest(first, second)
        assert STRICTNESS.index(chosen.verdict) == max(
            STRICTNESS.index(first.verdict), STRICTNESS.index(second.verdict)
        )
