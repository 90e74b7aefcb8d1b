"""The gate: whether this machine lets a remote operation happen (D-25). Pure; the file is ``permissions.py``'s.

Order: floor → deny → ask → allow → mode. The floor and the list of dangerous commands are data below, and printed
into docs/security.md. With children under the agent's own user the gate is a guard rail, not a boundary.
"""

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cmdop_agent.rules import Operation, Request, Rule, Verdict, path_meets
from cmdop_wire.vocab import GateMode


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's word, why, and the rule that would change it."""

    verdict: Verdict
    reason: str


def _flags(words: Iterable[str]) -> str:
    """Return the letters of all short options, and ``r``/``f`` for their long forms, of a command such as rm."""
    letters = ""
    for word in words:
        if word.startswith("--"):
            letters += {"--recursive": "r", "--force": "f"}.get(word, "")
        elif word.startswith("-"):
            letters += word[1:].lower()
    return letters


@dataclass(frozen=True, slots=True)
class Danger:
    """A kind of command that mode ``default`` asks about; ``programs`` by base name, ``when`` narrows by arguments."""

    programs: frozenset[str]
    why: str
    when: Callable[[tuple[str, ...]], bool] = lambda _: True


DANGEROUS = (
    Danger(frozenset({"rm"}), "removes files recursively", lambda words: "r" in _flags(words)),
    Danger(frozenset({"mkfs", "mke2fs", "wipefs", "fdisk", "parted", "sgdisk", "shred"}), "destroys a disk's content"),
    Danger(frozenset({"dd"}), "writes to a device", lambda words: any(word.startswith("of=/dev/") for word in words)),
    Danger(frozenset({"shutdown", "reboot", "halt", "poweroff", "init", "telinit", "kexec"}), "stops the machine"),
    Danger(
        frozenset({"systemctl", "service", "launchctl"}),
        "stops a service",
        lambda words: bool({"stop", "disable", "mask", "kill", "unload", "bootout", "isolate"} & set(words)),
    ),
    Danger(frozenset({"userdel", "usermod", "useradd", "groupdel", "passwd", "chpasswd", "visudo"}), "changes users"),
    Danger(frozenset({"iptables", "ip6tables", "nft", "ufw", "pfctl"}), "changes the firewall"),
    Danger(frozenset({"chmod", "chown", "chgrp"}), "changes rights recursively", lambda words: "r" in _flags(words)),
    Danger(frozenset({"kill", "pkill", "killall"}), "kills everything", lambda words: "-1" in words[1:]),
    Danger(frozenset({"sudo", "su", "doas", "pkexec"}), "acts as another user"),
    Danger(frozenset({"crontab", "at"}), "plants a job"),
)

# Whoever runs one of these runs anything: their arguments are looked at, too.
WRAPPERS = frozenset({"env", "nice", "nohup", "timeout", "xargs", "setsid", "stdbuf", "time", "exec", "busybox"})

FLOOR_FILES = ("/proc/**/mem", "/proc/**/environ", "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port")
FLOOR_DEVICES = ("/dev/sd*", "/dev/nvme*", "/dev/vd*", "/dev/xvd*", "/dev/mmcblk*", "/dev/disk/**")
GATE_VERBS = frozenset({"permissions", "approvals"})


def floor(request: Request, own_directory: str) -> str | None:
    """Return why no rule and no mode may allow ``request``, or ``None``.

    The agent's own files are out of reach, so are memory and raw disks, and nobody far away moves the gate.
    """
    if request.operation in (Operation.READ_FILE, Operation.WRITE_FILE):
        if path_meets(f"{own_directory}/**", request.path):
            return "these are the agent's own files"
        patterns = FLOOR_FILES + (FLOOR_DEVICES if request.operation is Operation.WRITE_FILE else ())
        if any(path_meets(pattern, request.path) for pattern in patterns):
            return "memory and raw devices are out of reach"
    if request.operation is Operation.EXECUTE_COMMAND and not request.argv:
        return "there is no command"
    names = [posixpath.basename(word) for word in request.argv]
    if "cmdop" in names and GATE_VERBS & set(request.argv):
        return "the gate is moved at the machine only"
    return None


def danger(request: Request) -> str | None:
    """Return why mode ``default`` asks a person about ``request``, or ``None``."""
    if request.operation is not Operation.EXECUTE_COMMAND:
        return None
    if request.is_shell:
        return _shell_danger(request.argv[-1])
    words = request.argv
    while words and posixpath.basename(words[0]) in WRAPPERS:
        words = tuple(words[1:])
        while words and (words[0].startswith("-") or "=" in words[0] or words[0].isdigit()):
            words = tuple(words[1:])
    if not words:
        return None
    name = posixpath.basename(words[0])
    if name in {"sh", "bash", "dash", "zsh", "ksh", "fish"} and any(
        word.startswith("-") and "c" in word for word in words
    ):
        return _shell_danger(" ".join(words[1:]))
    return next((each.why for each in DANGEROUS if _is(name, each) and each.when(words)), None)


def _is(name: str, kind: Danger) -> bool:
    return name in kind.programs or name.partition(".")[0] in kind.programs  # mkfs.ext4


def _shell_danger(text: str) -> str | None:
    """Look for dangerous words in a shell's text; a guard rail that errs on the side of asking."""
    words = {
        posixpath.basename(word) for word in text.translate(str.maketrans(";&|()`$<>{}\"'\\\n\t", " " * 16)).split()
    }
    return next((each.why for each in DANGEROUS if words & each.programs), None)


def decide(request: Request, mode: GateMode, rules: Iterable[Rule], own_directory: str) -> Decision:
    """Return the gate's word on ``request``: floor → deny → ask → allow → mode."""
    because = floor(request, own_directory)
    if because is not None:
        return Decision(Verdict.DENY, f"never allowed: {because}")
    met = [rule for rule in rules if rule.meets(request)]
    for verdict in (Verdict.DENY, Verdict.ASK, Verdict.ALLOW):
        for rule in met:
            if rule.verdict is verdict:
                return Decision(verdict, f"rule: {rule}")
    if mode is GateMode.BYPASS:
        return Decision(Verdict.ALLOW, "the mode is bypass")
    if mode is GateMode.STRICT:
        return Decision(Verdict.DENY, "the mode is strict and no rule allows it")
    because = danger(request)
    if because is not None:
        return Decision(Verdict.ASK, f"it {because}")
    return Decision(Verdict.ALLOW, "the mode is default")


STRICTNESS = {GateMode.STRICT: 2, GateMode.DEFAULT: 1, GateMode.BYPASS: 0}


def stricter(one: GateMode, other: GateMode) -> GateMode:
    """Return the stricter of two modes."""
    return max(one, other, key=STRICTNESS.__getitem__)


def is_stricter_or_same(new: tuple[GateMode, Iterable[Rule]], old: tuple[GateMode, Iterable[Rule]]) -> bool:
    """Tell whether a changed file may count although it did not come through the socket (D-25).

    Stricter: the mode not looser, no allow added, no deny or ask taken away.
    """
    added, gone = set(new[1]) - set(old[1]), set(old[1]) - set(new[1])
    return (
        STRICTNESS[new[0]] >= STRICTNESS[old[0]]
        and all(rule.verdict is not Verdict.ALLOW for rule in added)
        and all(rule.verdict is Verdict.ALLOW for rule in gone)
    )
