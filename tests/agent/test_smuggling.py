"""Three hundred ways to run something else where only ``git status`` is allowed; none of them does (D-25).

Real openings to a real agent that would start real processes: whoever gets through leaves a marker behind.
"""

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmdop_agent.rules import Rule
from cmdop_wire.frames import Kind
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict
from tests.agent.relay import Call, Relay, run, running
from tests.tools import tool

ONLY = Rule(GateVerdict.ALLOW, GateOperation.EXECUTE_COMMAND, "git status")
AT_ONCE = 25

SEPARATORS = [";", "; ", " ; ", "&&", " && ", "||", " || ", "|", " | ", "&", " & ", "\n", "\r\n", "\r", "\t", "\v",
              "\f", "\u2028", "\u2029", "\x85", "\\\n", "%0a", "\x1b", " -- ", ">", " > /dev/null; "]  # fmt: skip
INSIDE = ["$({})", "`{}`", "${{IFS}}$({})", "<({})", ">({})", "$(( $({}) ))", '"$({})"', "'; {} #", '"; {} #', "\\; {}",
          "$'\\n{}'", "{{{},}}", "!{}", "|{}", "~$({})", "--upload-pack={}", "ext::{}", "%x({})"]  # fmt: skip
WRAPPERS = ["env", "env -i", "env A=1", "nice", "nice -n 1", "nohup", "timeout 5", "setsid", "stdbuf -o0", "time",
            "command", "exec", "builtin", "eval", "xargs", "xargs -I{}", "busybox", "sudo", "su -c", "doas", "unshare",
            "chroot /", "script -qc", "watch -n1", "strace", "ld.so", "/lib64/ld-linux-x86-64.so.2", "ionice",
            "flock x", "parallel", "find . -exec", "ssh localhost", "git", "git status", "git --", "git -C /",
            "cmdop"]  # fmt: skip
SHELLS = ["sh", "bash", "dash", "zsh", "ksh", "fish", "/bin/sh", "/bin/bash", "/usr/bin/env sh", "busybox sh", "rbash"]
LOOK_ALIKES = ["gіt", "ɡit", "git\u200b", "\ufeffgit", "ｇｉｔ", "GIT", "Git", "git ", " git", "git\t", "git\n",
               "g\u0069\u0307t", "./git", "/usr/bin/git", "../usr/bin/git", "//usr/bin/git", "~/git", "$git", "\\git",
               "'git'",
               '"git"',
               "git.exe", "git;", "git\x7f", "g''it", "git\\", "-git", "git\u00a0", "\u202egit"]  # fmt: skip


def commands(marker: Path) -> Iterator[dict[str, Any]]:
    """Yield openings of commands."""
    touch = f"touch {marker}"
    words = ["touch", str(marker)]
    yield {"argv": words}
    yield {"argv": [touch]}
    for separator in SEPARATORS:
        yield {"argv": ["git", f"status{separator}{touch}"]}
        yield {"argv": ["git", "status", f"{separator}{touch}"]}
        yield {"argv": [f"git status{separator}{touch}"]}
        yield {"argv": [f"git status{separator}{touch}"], "shell": True}
    for inside in INSIDE:
        yield {"argv": ["git", inside.format(touch)]}
        yield {"argv": ["git", f"status{inside.format(touch)}"]}
        yield {"argv": ["git", "status", inside.format(touch)], "shell": True}
    for wrapper in WRAPPERS:
        yield {"argv": [*wrapper.split(), *words]}
        yield {"argv": [*wrapper.split(), "git", "status", ";", *words]}
    for shell in SHELLS:
        yield {"argv": [*shell.split(), "-c", touch]}
        yield {"argv": [*shell.split(), "-c", f"git status; {touch}"]}
        yield {"argv": [*shell.split(), "-lic", touch, "git", "status"]}
    for name in LOOK_ALIKES:
        yield {"argv": [name, "status"]}
        yield {"argv": ["git", name.replace("git", "status")]} if "git" in name else {"argv": [name, "status", touch]}


def programs(marker: Path) -> Iterator[dict[str, Any]]:
    """Yield openings of programs that run others, git among them."""
    touch, path = f"touch {marker}", str(marker)
    yield {"argv": ["python3", "-c", f"open({path!r}, 'w')"]}
    yield {"argv": ["perl", "-e", f"open(F, '>{path}')"]}
    yield {"argv": ["awk", f'BEGIN {{ system("{touch}") }}']}
    yield {"argv": ["find", "/", "-maxdepth", "0", "-fprint", path]}
    yield {"argv": ["sed", "-n", f"1w {path}", "/etc/hostname"]}
    yield {"argv": ["tee", path]}
    yield {"argv": ["cp", "/etc/hostname", path]}
    yield {"argv": ["dd", "if=/dev/null", f"of={path}"]}
    yield {"argv": ["vim", "-es", "-c", f"!{touch}", "-c", "q"]}
    yield {"argv": ["tar", "cf", "/dev/null", "/etc/hostname", f"--checkpoint=1 --checkpoint-action=exec={touch}"]}
    yield {"argv": ["git", "-c", f"alias.status=!{touch}", "status"]}
    yield {"argv": ["git", "-c", f"core.fsmonitor={touch}", "status"]}
    yield {"argv": ["git", f"--exec-path={marker.parent}", "status"]}
    yield {"argv": ["git", "--git-dir=/tmp", "status"]}
    yield {"argv": ["git", "status", "--", touch]}
    yield {"argv": ["git", "status", ""]}
    yield {"argv": ["git", "", "status"]}
    yield {"argv": ["", "git", "status"]}
    yield {"argv": ["git", "status"], "shell": True}
    yield {"argv": ["git"], "shell": True}
    yield {"argv": ["git", "status\0; touch"]}
    yield {"argv": []}
    yield {"argv": [""]}
    yield {"argv": ["*"]}
    yield {"argv": ["**"]}


def other_ways(marker: Path, hostile: Path) -> Iterator[dict[str, Any]]:
    """Yield openings that lie about the kind, the place or the shape."""
    words = ["touch", str(marker)]
    for kind in ("session", "Command", "COMMAND", "command ", "exec", "shell", "execute_command", "", "observe"):
        yield {"kind": kind, "argv": words}
        yield {"kind": kind, "argv": ["git", "status"], "command": words}
    yield {"kind": "session"}
    yield {"kind": "session", "argv": ["git", "status"]}
    yield {"kind": "session", "shell": True, "argv": words}
    for folder in (str(hostile), f"{hostile}/", f"{hostile}/.", str(hostile.parent / "x" / ".." / hostile.name)):
        yield {"argv": ["git", "status"], "cwd": folder}
    yield {"argv": ["git", "status"], "cwd": os.path.relpath(hostile, os.environ["HOME"])}
    yield {"argv": ["git", "status"], "cwd": f"~/{hostile.name}"}
    for path in (str(marker), marker.name, f"./{marker.name}", f"~/{marker.name}", f"x/../{marker.name}"):
        yield {"kind": "write_file", "path": path}
        yield {"kind": "write_file", "path": path, "argv": ["git", "status"]}


def raw(marker: Path) -> Iterator[str]:
    """Yield bodies of OPEN that two readers might understand in two ways."""
    harmless, touch = '["git","status"]', json.dumps(["touch", str(marker)])
    frame = '"stream_id":"ses_x%d","kind":"command","actor":{}'
    yield f'{{{frame % 1},"argv":{harmless},"argv":{touch}}}'
    yield f'{{{frame % 2},"argv":{touch},"shell":false,"ARGV":{harmless}}}'
    yield f'{{{frame % 3},"argv":{harmless},"kind":"session","argv":{touch}}}'
    yield f'{{{frame % 4},"\\u0061rgv":{touch}}}'


def plant(home: Path, marker: Path) -> Path:
    """Put things in the home folder that must not be taken for the real ones; return a hostile repository."""
    for name in ("git", "status", "touch"):
        fake = home / name
        fake.write_text(f"#!/bin/sh\n: > {marker}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    hostile = home / "hostile"
    hostile.mkdir()
    (hostile / ".git").mkdir()
    for folder in ("objects", "refs"):
        (hostile / ".git" / folder).mkdir()
    (hostile / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (hostile / ".git" / "config").write_text(f"[core]\n\tfsmonitor = touch {marker}; :\n")
    return hostile


def test_nothing_but_the_allowed_command_runs() -> None:
    home = Path(os.environ["HOME"])
    marker = home / "marker"
    hostile = plant(home, marker)
    forms = [*commands(marker), *programs(marker), *other_ways(marker, hostile)]
    distinct = {json.dumps(form, sort_keys=True) for form in forms}
    assert len(distinct) >= 300
    assert tool("git")

    async def whole() -> None:
        async with running(GateMode.STRICT, ONLY) as (agent, relay):
            for start in range(0, len(forms), AT_ONCE):
                batch = [relay.call(**{"kind": "command", **form}) for form in forms[start : start + AT_ONCE]]
                for call, form in zip(batch, forms[start : start + AT_ONCE], strict=True):
                    await refused(call, form)
            for body in raw(marker):
                await refused(raw_call(relay, body), body)
            assert len(agent.channels) == 0
            allowed = relay.call(argv=["git", "status"])
            await allowed.next(Kind.OPENED)
            await allowed.ended()
            assert b"not a git repository" in allowed.out[Kind.ERROR]

    run(whole)
    assert not marker.exists()
    assert sorted(path.name for path in home.iterdir()) == ["cmdop", "git", "hostile", "status", "touch"]


def test_the_forms_are_real() -> None:
    """Where everything is allowed they do leave the marker, so its absence says something."""
    home = Path(os.environ["HOME"])
    marker = home / "marker"
    touch = f"touch {marker}"
    hostile = plant(home, marker)
    real = [
        {"argv": ["touch", str(marker)]},
        {"argv": [f"git status; {touch}"], "shell": True},
        {"argv": ["git", "status"], "cwd": str(hostile)},
        {"argv": ["git", "-c", f"alias.x=!{touch}", "x"]},
        {"argv": ["./git", "status"]},
        {"argv": ["touch", str(marker)], "kind": "session"},
    ]

    async def whole() -> None:
        async with running(GateMode.BYPASS) as (_, relay):
            for form in real:
                call = relay.call(**{"kind": "command", **form})
                await call.ended()
                call.close()
                assert marker.exists(), form
                marker.unlink()

    run(whole)


def test_a_denied_command_runs_in_no_other_form() -> None:
    """Where everything else is allowed: other spellings, links to it, what runs other commands."""
    home = Path(os.environ["HOME"])
    marker, real = home / "marker", tool("touch")
    (home / "x").symlink_to(real)
    (home / "folder").symlink_to(Path(real).parent)
    (home / "y").symlink_to("x")
    path = str(marker)
    forms: list[dict[str, Any]] = [
        *({"argv": [program, path]} for program in ("touch", real, f"/{real}", "./x", "folder/touch", "./y",
          f"{home}/x", f"../{home.name}/x", os.path.relpath(real, home))),
        *({"argv": [*wrapper, "touch", path]} for wrapper in (["env"], ["env", "A=1"], ["nice"], ["timeout", "5"],
          ["setsid", "-w"], ["nohup"], ["xargs"], ["stdbuf", "-o0"], ["env", "nice", "env"])),
        {"argv": ["env", "-S", f"touch {path}"]},
        {"argv": ["sh", "-c", f"touch {path}"]},
        {"argv": ["sh", "-c", f"true; t''ouch {path}"]},
        {"argv": [f"touch {path}"], "shell": True},
        {"argv": ["find", ".", "-maxdepth", "0", "-exec", "touch", path, ";"]},
        {"argv": ["touch", path], "kind": "session"},
        {"argv": ["./x", path], "kind": "session"},
        {"argv": ["./x", path], "cwd": "cmdop/.."},
        {"argv": ["./touch", path], "cwd": "folder"},
    ]  # fmt: skip

    async def whole(*denied: str) -> None:
        rules = [Rule(GateVerdict.DENY, GateOperation.EXECUTE_COMMAND, match) for match in denied]
        async with running(GateMode.BYPASS, *rules) as (_, relay):
            for form in forms:
                call = relay.call(**{"kind": "command", **form})
                if denied:
                    await refused(call, form)
                    continue
                kind, _body = await call.told.get()
                if kind is Kind.OPENED:
                    call.end_input()
                    await call.ended()
                    passed.append(marker.exists())
                    marker.unlink(missing_ok=True)
                call.close()

    passed: list[bool] = []
    run(lambda: whole("touch **"))
    run(lambda: whole(f"{real} **", "touch **"))
    assert not marker.exists()
    run(whole)
    assert passed.count(True) >= len(forms) - 4, "the forms are real"


async def refused(call: Call, form: object) -> None:
    """Wait for the machine's no, in words that tell which rule would be needed."""
    async with asyncio.timeout(20):
        kind, body = await call.told.get()
    assert kind is Kind.REFUSED, (form, kind, body)
    assert body["code"] in ("gate_denied", "unknown_operation", "invalid", "outside_root"), (form, body)


def raw_call(relay: Relay, body: str) -> Call:
    """Open a channel with exactly this body."""
    call = relay.call(kind="nothing")
    other = relay.calls[call.number + 1] = Call(relay, call.number + 1, "ses_raw")
    relay._number += 1
    relay.send(bytes([Kind.OPEN]) + other.number.to_bytes(4, "big") + body.encode())
    return other
