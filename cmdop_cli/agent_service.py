"""The agent as a service: what systemd or launchd is told. Writes files; never runs a service manager itself."""

import hashlib
import os
import plistlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmdop_cli import agent, environment
from cmdop_cli.failures import Code, Failure, usage
from cmdop_wire.vocab import ErrorCode, Exit

if TYPE_CHECKING:
    from cmdop_agent.environment import Account
    from cmdop_cli.context import Call

MARK = "made by cmdop connect service install"
SYSTEM_UNITS = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True)
class Service:
    """A service definition: its file, its text, and what makes the service manager take it up or drop it."""

    manager: str
    path: Path
    text: str
    start: tuple[str, ...]
    end: tuple[str, ...]


def service(call: "Call", run_as: str | None = None) -> Service:
    """Return the user's service, or with ``run_as`` the system's, whose work has that user's rights."""
    if sys.platform == "darwin":
        if run_as is not None:
            raise usage("--run-as needs Linux: elsewhere the agent cannot give its work another user's rights")
        return _launchd(call)
    return _systemd(call, run_as)


def checked_account(name: str) -> "Account":
    """Return the account whose rights remote work gets; it takes root, Linux, and an account that is not root."""
    from cmdop_agent.environment import account_called
    from cmdop_agent.rights import can_act

    if not can_act():
        raise Failure(
            ErrorCode.FORBIDDEN,
            "only root can give its work another user's rights",
            hint=f"sudo cmdop connect service install --run-as {name}",
        )
    try:
        account = account_called(name)
    except LookupError:
        raise Failure(ErrorCode.NOT_FOUND, f"there is no user {name} on this machine", hint="getent passwd") from None
    if account.uid == 0:
        raise usage("remote work that runs as root knows no boundary; name another user")
    return account


def _name(call: "Call") -> str:
    """Return the service's name; every configuration directory but the usual one has its own."""
    usual = call.environ.get(environment.CONFIG_DIR) is None
    digest = hashlib.sha256(os.fsencode(call.local.root)).hexdigest()[:8]
    return "cmdop-agent" if usual else f"cmdop-agent-{digest}"


def _systemd(call: "Call", run_as: str | None) -> Service:
    name = f"{_name(call)}.service"
    known = agent.registration(call)
    what = "" if known is None else f" of {known.hostname} in workspace {known.workspace_slug}"
    words = agent.command_line("--service", *(("--run-as", run_as) if run_as is not None else ()))
    text = f"""\
# {MARK}
[Unit]
Description=cmdop agent{what}
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={" ".join(_quoted(word) for word in words)}
Environment={_quoted(f"{environment.CONFIG_DIR}={call.local.root}")}
WorkingDirectory=/
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={Exit.NOT_FOUND:d} {Exit.CONFLICT:d} {Exit.LOCAL_STATE:d}
KillMode=mixed
TimeoutStopSec=20

[Install]
WantedBy={"multi-user.target" if run_as is not None else "default.target"}
"""
    if run_as is not None:
        reload = ("systemctl daemon-reload", f"systemctl enable --now {name}")
        return Service("systemd", SYSTEM_UNITS / name, text, reload, (f"systemctl disable --now {name}",))
    home = Path(call.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    start = ("systemctl --user daemon-reload", f"systemctl --user enable --now {name}", "loginctl enable-linger")
    return Service(
        "systemd", home / "systemd" / "user" / name, text, start, (f"systemctl --user disable --now {name}",)
    )


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back: systemd.service(5), quoting and specifiers."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'


def _launchd(call: "Call") -> Service:
    label = f"dev.{_name(call).replace('-', '.', 1)}"
    document = {
        "Label": label,
        "ProgramArguments": agent.command_line("--service"),
        "EnvironmentVariables": {environment.CONFIG_DIR: str(call.local.root)},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "WorkingDirectory": "/",
        "Comment": MARK,
    }
    path = Path.home() / "Library" / "LaunchAgents" / f"{label}.plist"
    text = plistlib.dumps(document).decode()
    start = (f"launchctl bootstrap gui/$(id -u) {shlex.quote(str(path))}",)
    return Service("launchd", path, text, start, (f"launchctl bootout gui/$(id -u)/{label}",))


def restart_line(call: "Call", *, is_system: bool) -> str:
    """Return the line that restarts the service."""
    if sys.platform == "darwin":
        return f"launchctl kickstart -k gui/$(id -u)/dev.{_name(call).replace('-', '.', 1)}"
    return f"systemctl {'' if is_system else '--user '}restart {_name(call)}"


def write(made: Service) -> None:
    """Write the definition; one that somebody else wrote is left alone."""
    _check_ours(made.path)
    try:
        made.path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(made.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(opened, "w") as file:
            file.write(made.text)
    except OSError as failure:
        raise _cannot("write", made.path, failure) from failure


def remove(made: Service) -> bool:
    """Remove the definition; tell whether there was one."""
    if not _check_ours(made.path):
        return False
    try:
        made.path.unlink()
    except OSError as failure:
        raise _cannot("remove", made.path, failure) from failure
    return True


def _check_ours(path: Path) -> bool:
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return False
    except OSError as failure:
        raise _cannot("read", path, failure) from failure
    if MARK not in text:
        raise Failure(ErrorCode.CONFLICT, f"{path} was not made by cmdop and is left alone", hint=f"cat {path}")
    return True


def _cannot(verb: str, path: Path, failure: OSError) -> Failure:
    reason = (failure.strerror or str(failure)).lower()
    return Failure(Code.LOCAL_STATE, f"cannot {verb} {path}: {reason}", hint=f"ls -ld {path.parent}")
