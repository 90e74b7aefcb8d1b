"""What the commands about this machine's agent share: where its files are, how it is started, asked and waited for.

The agent itself is ``cmdop_agent``; how one talks to it is ``cmdop_sdk.local``.
"""

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cmdop_cli import environment
from cmdop_cli.failures import Failure, Terminated
from cmdop_sdk.agent_socket import AGENT_FOLDER, socket_path
from cmdop_wire.vocab import ErrorCode, Exit

if TYPE_CHECKING:
    import ssl

    from cmdop_agent.registration import Registration
    from cmdop_cli.context import Call
    from cmdop_sdk.local import AgentStatus, LocalAgent

T = TypeVar("T")
LOG_FILE = "agent.log"
PATIENCE = 20.0  # seconds that a started agent has for its link, and a stopped one to be gone
LOOK = 0.05


def folder(call: "Call") -> Path:
    """Return the agent's own directory."""
    return call.local.root / AGENT_FOLDER


def own_user() -> str:
    """Return the OS user that we are, whose rights remote work gets from an agent of ours; never what USER says."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def active_workspace(call: "Call") -> dict[str, str] | None:
    """Return the workspace that the command line's state says is active, which need not be this machine's (D-20)."""
    place = call.state.choice(call.resolution.profile, call.resolution.mode).active
    return None if place is None else {"id": place.id or "", "slug": place.slug or ""}


def log_path(call: "Call") -> Path:
    """Return where the agent writes what it does."""
    return folder(call) / LOG_FILE


def registration(call: "Call") -> "Registration | None":
    """Return what this machine is registered as."""
    from cmdop_agent.registration import RegistrationFile

    return RegistrationFile(folder(call)).read()


def replacing_line(call: "Call") -> str:
    """Return the line of ``call`` as one that registers anew; an agent that runs has to be stopped first."""
    line = call.line if "--replace" in call.arguments else f"{call.line} --replace"
    return f"cmdop connect stop && {line}" if is_running(call) else line


def registered(call: "Call") -> "Registration":
    """Return what this machine is registered as, or say how to register it (exit 3)."""
    found = registration(call)
    if found is None:
        raise Failure(ErrorCode.NOT_FOUND, "this machine is not registered in any workspace", hint="cmdop connect")
    return found


def is_running(call: "Call") -> bool:
    """Tell whether an agent of this configuration directory runs."""
    from cmdop_agent.control import is_running as runs

    return runs(socket_path(call.local.root))


def tls_of(known: "Registration") -> "ssl.SSLContext | None":
    """Return whom to believe at the relay, ``None`` for plain loopback."""
    from cmdop_sdk.trust import ssl_context

    if not known.relay_url.startswith("wss:"):
        return None
    return ssl_context(ca_file=Path(known.ca_file) if known.ca_file else None, ca_pin=known.ca_pin)


def ask(call: "Call", verb: "Callable[[LocalAgent], Awaitable[T]]") -> T:
    """Return ``await verb(agent)`` of the running agent; without one it is ``AgentNotRunning`` (exit 69)."""
    from cmdop_sdk.local import LocalAgent

    async def asked() -> T:
        async with LocalAgent(call.local.root) as agent:
            return await verb(agent)

    return call.run(asked(), waiting="waiting for the agent")


def status(call: "Call") -> "AgentStatus | None":
    """Return how the agent is, ``None`` when none runs."""
    from cmdop_sdk.errors import AgentNotRunning

    try:
        return ask(call, lambda agent: agent.status())
    except AgentNotRunning:
        return None


def command_line(*options: str) -> list[str]:
    """Return the words that run the agent for a supervisor; ``-P``: nothing in the working directory is imported."""
    return [sys.executable, "-P", "-m", "cmdop_cli", "connect", "daemon", *options]


def start(call: "Call") -> "AgentStatus":
    """Start the agent in the background, wait until its link is up, and return how it is; or say why it is not."""
    process = _started(call)
    try:
        return _with_link(call, process)
    except (KeyboardInterrupt, Terminated):
        if process.poll() is None:
            call.note("the agent goes on in the background; to stop it: cmdop connect stop")
        raise


def _with_link(call: "Call", process: "subprocess.Popen[bytes]") -> "AgentStatus":
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _ended_at_once(call, process.returncode)
        now = status(call) if is_running(call) else None
        if now is not None and now.link.up:
            return now
        if now is not None and now.link.refused:
            stop(call)
            raise Failure(ErrorCode.UNAUTHENTICATED, now.link.problem or "refused", hint="cmdop connect --replace")
        if now is not None and now.link.problem_code == ErrorCode.DUPLICATE_CREDENTIAL:
            stop(call)
            raise copied(call, now)
        time.sleep(LOOK)
    now = status(call)
    problem = now.link.problem if now is not None else None
    raise Failure(
        "unreachable",
        f"the agent runs, but has no link: {problem or 'the relay does not answer'}",
        hint="cmdop connect status",
        exit_code=Exit.PARTIAL,
    )


def copied(call: "Call", now: "AgentStatus") -> Failure:
    """Return what to say of an agent whose machine is online already, from another place (D-5)."""
    hostname = now.machine.hostname
    is_nobodys = call.identity is None and not call.has_key  # it joined with a token, and takes another one
    way_in = f"--server {now.server} --join-token - --yes" if is_nobodys else f"--workspace {now.workspace.slug}"
    return Failure(
        ErrorCode.DUPLICATE_CREDENTIAL,
        f"{hostname} is online already with this credential: this disk is a copy, or has one",
        hint=f"cmdop connect --detach --replace --hostname {hostname.partition('.')[0]}-2 {way_in}",
    )


def _started(call: "Call") -> "subprocess.Popen[bytes]":
    """Start the process, in a session of its own and with nothing of this terminal."""
    # What chose authority for this call is not the agent's: it acts as what it is registered as (D-21).
    kept = {name: value for name, value in call.environ.items() if not name.startswith("CMDOP_")}
    kept[environment.CONFIG_DIR] = str(call.local.root)
    log = os.open(log_path(call), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            command_line(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=kept,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)


def _ended_at_once(call: "Call", status_: int) -> Failure:
    lines = tail(log_path(call), 20)
    said = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
    return Failure(
        "no_agent",
        f"the agent ended at once: {said or f'exit status {status_}'}",
        hint="cmdop connect logs",
        exit_code=status_ if status_ > 0 else Exit.BUG,
    )


def stop(call: "Call") -> None:
    """End the running agent and wait until it is gone; ``AgentNotRunning`` without one."""
    ask(call, lambda agent: agent.stop())
    deadline = time.monotonic() + PATIENCE
    while is_running(call):
        if time.monotonic() > deadline:
            raise Failure(
                "time_out", "the agent was told to stop and has not stopped yet", hint="cmdop connect logs"
            )  # fmt: skip
        time.sleep(LOOK)


def tail(path: Path, count: int) -> list[str]:
    """Return the last lines of a log; none when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            # A line has less than 400 bytes as a rule; one that has more only makes the piece shorter.
            file.seek(max(0, file.tell() - 400 * (count + 1)))
            return file.read().decode(errors="replace").splitlines()[-count:] if count > 0 else []
    except FileNotFoundError:
        return []
