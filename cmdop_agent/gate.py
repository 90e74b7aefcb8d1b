"""The gate: whether this machine lets a remote operation happen (D-25). No state; the file is ``permissions.py``'s.

Order: floor → deny → ask → allow → mode. What the floor holds and what counts as dangerous is data below, and printed
into docs/reference/gate.md. With children under the agent's own user the gate is a guard rail, not a boundary.
"""

import glob
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from cmdop_agent.rules import Request, Rule, folded, path_meets
from cmdop_agent.same_file import leads_into
from cmdop_agent.within import LOOKED_AT, LOOKED_FAR, SHELLS, Words, commands_of, name_of
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's word and why. ``by``: what said so, since an allow rule changes only what a mode says."""

    verdict: GateVerdict
    reason: str
    by: Literal["floor", "rule", "mode", "person"] = "mode"


def _is_recursive(words: Words) -> bool:
    """Tell whether a command such as rm has ``-r``, ``-fR``, or its long form, which may be cut short: ``--rec``."""
    return any(
        len(word) > 2 and "--recursive".startswith(word) if word[:2] == "--" else "r" in word.lower()
        for word in words[1:]
        if word.startswith("-")
    )


def _is_to_a_device(words: Words) -> bool:
    """Tell whether dd writes below /dev, however that is spelled; below a ``dev`` of one's own, too."""
    for word in words[1:]:
        steps = folded(posixpath.normpath(word.removeprefix("of="))).split("/")
        if word.startswith("of=") and [step for step in steps if step not in ("", "..")][:1] == ["dev"]:
            return True
    return False


def _has(*wanted: str) -> Callable[[Words], bool]:
    return lambda words: not set(wanted).isdisjoint(words[1:])


@dataclass(frozen=True, slots=True)
class Danger:
    """A kind of command that mode ``default`` asks about: programs by base name, narrowed by their arguments."""

    programs: frozenset[str]
    why: str
    only: str = ""  # ``when`` in words, for the documents
    when: Callable[[Words], bool] = lambda _: True

    def covers(self, words: Words) -> bool:
        """Tell whether this is about the command ``words``; ``mkfs.ext4`` is a ``mkfs``."""
        name = name_of(words)
        return (name in self.programs or name.partition(".")[0] in self.programs) and self.when(words)


DANGEROUS = (
    Danger(frozenset({"rm"}), "removes files recursively", "with -r", _is_recursive),
    Danger(
        frozenset({"find"}),
        "acts on every file it finds",
        "with -delete, -exec …",
        _has("-delete", "-exec", "-execdir", "-ok", "-okdir"),
    ),
    Danger(
        frozenset({"mkfs", "mke2fs", "mkswap", "wipefs", "fdisk", "sfdisk", "parted", "sgdisk", "shred", "cryptsetup"}),
        "destroys a disk's content",
    ),
    Danger(
        frozenset({"dd"}),
        "writes to a device",
        "with of=/dev/…",
        _is_to_a_device,
    ),
    Danger(frozenset({"shutdown", "reboot", "halt", "poweroff", "init", "telinit", "kexec"}), "stops the machine"),
    Danger(
        frozenset({"systemctl", "service", "launchctl"}),
        "stops a service",
        "with stop, disable, mask, kill …",
        _has("stop", "disable", "mask", "kill", "unload", "bootout", "isolate", "poweroff", "reboot", "halt"),
    ),
    Danger(
        frozenset({"userdel", "usermod", "useradd", "groupdel", "groupmod", "passwd", "chpasswd", "visudo"}),
        "changes users",
    ),
    Danger(frozenset({"iptables", "ip6tables", "nft", "ufw", "firewall-cmd", "pfctl"}), "changes the firewall"),
    Danger(frozenset({"chmod", "chown", "chgrp"}), "changes rights recursively", "with -R", _is_recursive),
    Danger(frozenset({"kill", "pkill", "killall"}), "kills everything", "with -1", _has("-1")),
    Danger(frozenset({"sudo", "su", "doas", "pkexec", "run0", "runuser"}), "acts as another user"),
    Danger(frozenset({"crontab", "at", "batch", "systemd-run"}), "plants a job"),
)

# Bounded everywhere, so that hostile text cannot make it slow.
FORK_BOMB = re.compile(r"([^\s(]{1,32})\s{0,4}\(\)\s{0,4}\{[^}]{0,200}\1\s{0,4}\|\s{0,4}\1")
_LONGEST_BOMB = 8192  # characters that are looked through for one

DANGEROUS_READS = ("~/.ssh/id_*", "~/.gnupg/**", "~/.netrc", "~/.aws/**", "~/.kube/config", "~/.docker/config.json")
DANGEROUS_WRITES = (
    "~/.ssh/**", "~/.gnupg/**", "~/.aws/**", "~/.kube/**", "~/.bashrc", "~/.bash_profile", "~/.bash_login",
    "~/.profile", "~/.zshrc", "~/.zshenv", "~/.zprofile", "~/.gitconfig", "~/.config/fish/**", "~/.config/git/**",
    "~/.config/systemd/**", "~/.config/autostart/**", "~/Library/LaunchAgents/**",
)  # fmt: skip

FLOOR_FILES = ("/proc/**/mem", "/proc/**/environ", "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port")
FLOOR_DEVICES = ("/dev/sd*", "/dev/nvme*", "/dev/vd*", "/dev/xvd*", "/dev/mmcblk*", "/dev/disk/**")
GATE_VERBS = frozenset({"permissions", "approvals"})


def floor(request: Request, own_directory: str) -> str | None:
    """Return why no rule and no mode may allow ``request``, or ``None``.

    ``own_directory`` holds the files of agent and command line. They are out of reach, so are memory and raw disks;
    nobody far away moves the gate, and nobody removes the whole machine.
    """
    if request.operation in (GateOperation.READ_FILE, GateOperation.WRITE_FILE):
        is_named = path_meets(f"{glob.escape(own_directory)}/**", request.path, widely=True)
        if is_named or leads_into(own_directory, request.path):
            return "these are the files of cmdop itself"
        patterns = FLOOR_FILES + (FLOOR_DEVICES if request.operation is GateOperation.WRITE_FILE else ())
        if any(path_meets(pattern, request.path, widely=True) for pattern in patterns):
            return "memory and raw devices are out of reach"
    if request.operation is not GateOperation.EXECUTE_COMMAND:
        return None
    if not request.argv or not request.argv[0]:
        return "there is no command"
    looked_at = islice(commands_of(request), LOOKED_AT)
    return next(filter(None, (_floor_command(words) for words in looked_at)), None)


def _floor_command(words: Words) -> str | None:
    name = name_of(words)
    if name == "cmdop" and not GATE_VERBS.isdisjoint(words):
        return "the gate is moved at the machine only"
    targets = {posixpath.normpath(word) for word in words[1:] if word.startswith("/")}
    if name == "rm" and _is_recursive(words) and not targets.isdisjoint({"/", "//", "/*", "//*"}):
        return "it removes everything"
    if name in SHELLS and FORK_BOMB.search(" ".join(words[1:LOOKED_FAR])[:_LONGEST_BOMB]):
        return "it is a fork bomb"
    return None


def danger(request: Request) -> str | None:
    """Return why mode ``default`` asks a person about ``request``, or ``None``. Errs on the side of asking."""
    if request.operation is GateOperation.SESSION:
        return None
    if request.operation is GateOperation.EXECUTE_COMMAND:
        for count, words in enumerate(commands_of(request)):
            if count >= LOOKED_AT:
                return "runs too much to be looked through"
            found = next((each.why for each in DANGEROUS if each.covers(words)), None)
            if found is not None:
                return found
        return None
    is_write = request.operation is GateOperation.WRITE_FILE
    patterns = DANGEROUS_WRITES if is_write else DANGEROUS_READS
    if any(path_meets(pattern, request.path, request.home, widely=True) for pattern in patterns):
        return "changes what runs or signs in here" if is_write else "reads a secret"
    return None


def decide(request: Request, mode: GateMode, rules: Iterable[Rule], own_directory: str) -> Decision:
    """Return the gate's word on ``request``: floor → deny → ask → allow → mode."""
    because = floor(request, own_directory)
    if because is not None:
        return Decision(GateVerdict.DENY, f"never allowed: {because}", "floor")
    rules = list(rules)
    request = replace(request, resolved={})  # links may have moved since it was decided on before
    met = [rule for rule in rules if rule.meets(request)]
    within = [] if all(rule.is_allow for rule in rules) else _within(request)
    for verdict in (GateVerdict.DENY, GateVerdict.ASK, GateVerdict.ALLOW):
        for rule in met:
            if rule.verdict is verdict:
                return Decision(verdict, f"rule: {rule}", "rule")
        for rule in rules if verdict is not GateVerdict.ALLOW else ():
            if rule.verdict is verdict and _is_within(rule, within):
                return Decision(verdict, f"rule: {rule}, as far as it shows what it runs", "rule")
    if mode is GateMode.BYPASS:
        return Decision(GateVerdict.ALLOW, "the mode is bypass")
    if mode is GateMode.STRICT:
        return Decision(GateVerdict.DENY, "the mode is strict and no rule allows it")
    because = danger(request)
    if because is not None:
        return Decision(GateVerdict.ASK, f"it {because}")
    return Decision(GateVerdict.ALLOW, "the mode is default")


def _within(request: Request) -> list[Request]:
    """Return what a command may run in turn, one more than is looked at if there is so much."""
    if request.operation is not GateOperation.EXECUTE_COMMAND:
        return []
    found = islice(commands_of(request), 1, LOOKED_AT + 1)  # the first is the command itself
    return [replace(request, argv=tuple(words), program="") for words in found]


def _is_within(rule: Rule, within: list[Request]) -> bool:
    """Tell whether a deny or ask speaks of any of these; where there are too many to be looked through, it does."""
    is_about_commands = rule.operation is GateOperation.EXECUTE_COMMAND
    return is_about_commands and (len(within) >= LOOKED_AT or any(rule.meets(each) for each in within))


_STRICTNESS = {GateVerdict.ALLOW: 0, GateVerdict.ASK: 1, GateVerdict.DENY: 2}
_MODE_STRICTNESS = {GateMode.BYPASS: 0, GateMode.DEFAULT: 1, GateMode.STRICT: 2}


def strictest(one: Decision, other: Decision) -> Decision:
    """Return the stricter of two decisions; the first when they are equally strict."""
    return max(one, other, key=lambda decision: _STRICTNESS[decision.verdict])


def stricter_mode(one: GateMode, other: GateMode) -> GateMode:
    """Return the stricter of two modes."""
    return max(one, other, key=_MODE_STRICTNESS.__getitem__)
