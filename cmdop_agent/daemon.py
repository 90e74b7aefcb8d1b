"""The agent: link, heartbeat, control socket and channels together. Leaving it ends every process that it started.

It is handed a registration and callbacks; it reads no local state of the command line and sees no terminal UI.
"""

import asyncio
import contextlib
import logging
import platform
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from cmdop_agent import verbs
from cmdop_agent.admission import Admission
from cmdop_agent.channels import Channels
from cmdop_agent.children import adopt_orphans, ignore_for_ourselves_only, keep_to_ourselves, sweep
from cmdop_agent.control import Control
from cmdop_agent.environment import Account
from cmdop_agent.link import Link, LinkState
from cmdop_agent.metrics import metrics
from cmdop_agent.permissions import PermissionsFile
from cmdop_agent.registration import Registration, RegistrationFile
from cmdop_agent.rules import Rule, rule_of
from cmdop_agent.session import Opening
from cmdop_sdk.agent_socket import SOCKET_NAME
from cmdop_sdk.errors import LocalStateError
from cmdop_wire import frames
from cmdop_wire.frames import LINK, Kind
from cmdop_wire.vocab import GateMode

log = logging.getLogger(__name__)

HEARTBEAT = 30.0
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_DOING = {
    "session": "session opened",
    "command": "command run",
    "read_file": "file read",
    "write_file": "file written",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the agent says of the machine and of itself."""

    hostname: str
    os: str
    arch: str
    version: str
    boot_id: str


def facts(version: str, hostname: str | None = None) -> Facts:
    """Return the facts of this machine; ``hostname`` stands in for the system's own."""
    boot_id = ""
    with contextlib.suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Facts(hostname or socket.gethostname(), platform.system().lower(), platform.machine(), version, boot_id)


class Agent:
    """This machine's agent, from start to stop.

    ``directory`` is its own, inside the configuration directory; ``account`` whose rights remote work has, where it
    is not the agent's own; ``say`` takes a line for a person.
    """

    def __init__(
        self,
        directory: Path,
        registration: Registration,
        machine: Facts,
        *,
        tls: ssl.SSLContext | None = None,
        say: Callable[[str], None] = log.info,
        account: Account | None = None,
        active_workspace: dict[str, str] | None = None,
        is_service: bool = False,
    ) -> None:
        self.directory = directory
        self.registration = registration
        self.machine = machine
        self.account = account
        self.is_service = is_service
        self.active_workspace = active_workspace  # what the person's command line acts in (D-20)
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.stopping = asyncio.Event()
        self.ended_by: signal.Signals | None = None
        self._say = say
        self.permissions = PermissionsFile(directory, directory.parent, lambda: self.registration.is_seeded)
        root = account.home if account is not None else str(Path.home())
        self.admission = Admission(self.permissions, directory, root, account=account, report=self._report)
        self.channels = Channels(self.admission, self._admitted)
        self.link = Link(
            registration.relay_url,
            lambda: self.registration.credential,
            self.channels,
            self._hello,
            tls=tls,
            on_welcome=self._welcomed,
            on_lost=self._lost,
        )

    def end_by(self, number: signal.Signals) -> None:
        """Stop because of a signal."""
        self.ended_by = number
        self.stopping.set()

    async def run(self) -> None:
        """Serve until ``stopping`` is set; raises ``AlreadyRunning`` when another agent has the directory."""
        control = Control(self.directory / SOCKET_NAME, verbs.verbs(self), verbs.own_verbs(self))
        try:
            await control.start()
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self.link.keep(), name="link")
                beating = tasks.create_task(self._keep_beating(), name="heartbeat")
                await self.stopping.wait()
                log.info("stopping")
                await self.link.stop()
                beating.cancel()
                await keeping
        finally:
            await self.channels.end_all()
            await control.stop()

    def beat(self) -> None:
        """Send a heartbeat now, if there is a link."""
        gate = str(self.permissions.read().mode)
        self.link.send(frames.encode_json(Kind.HEARTBEAT, LINK, metrics=metrics(len(self.channels)), gate_mode=gate))

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self.beat()

    def _hello(self) -> dict[str, Any]:
        now = self.permissions.read()
        return {
            "agent": self.machine.version,
            "hostname": self.machine.hostname,
            "os": self.machine.os,
            "arch": self.machine.arch,
            "boot": self.machine.boot_id,
            "gate": {"mode": str(now.mode), "seeded": now.is_seeded},
            "channels": self.channels.offsets(),
        }

    def _welcomed(self, body: dict[str, Any]) -> None:
        self._say(f"connected to {self.registration.server}")
        before = self.registration.workspace_id
        self._note_names(body)
        self._tell_of_untold(is_same_workspace=self.registration.workspace_id == before)
        seeds = body.get("seeds")
        if isinstance(seeds, dict):
            self._seed(seeds)
        self.beat()

    def _tell_of_untold(self, *, is_same_workspace: bool) -> None:
        """Say how many decisions were made without a link; another workspace has no business with their number."""
        count, self.link.state.untold = self.link.state.untold, 0
        if not count:
            return
        were = "1 decision of the gate was" if count == 1 else f"{count} decisions of the gate were"
        self._say(f"{were} made without a link; to see everything: cmdop connect permissions audit")
        if is_same_workspace:
            self.link.send(frames.encode_json(Kind.EVENT, LINK, untold=count))

    def _note_names(self, body: dict[str, Any]) -> None:
        """Take over what the server calls workspace and machine by now; both are labels (D-1)."""
        workspace, machine, now = body.get("workspace"), body.get("machine"), self.registration
        if not isinstance(workspace, dict) or not isinstance(machine, dict):
            return
        renamed = replace(
            now,
            workspace_id=str(workspace.get("id", now.workspace_id)),
            workspace_slug=str(workspace.get("slug", now.workspace_slug)),
            hostname=str(machine.get("hostname", now.hostname)),
            name=str(machine.get("name", now.name)),
        )
        if renamed != now and machine.get("id") == now.machine_id:
            self._keep_registration(renamed)

    def _seed(self, seeds: dict[str, Any]) -> None:
        """Take the workspace's defaults once, on the first heartbeat, and say so (D-25)."""
        try:
            mode = GateMode(seeds.get("gate_mode", GateMode.STRICT))
            rules: list[Rule] = [
                rule_of(line["kind"], line["operation"], line.get("match", "")) for line in seeds.get("gate_rules", [])
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the workspace's defaults for the gate cannot be used, so it is strict: %s", error)
            mode, rules = GateMode.STRICT, []
        try:
            if self.permissions.seed(mode, rules, is_bypass_accepted=self.registration.accept_bypass):
                self._say(f"the gate is {self.permissions.read().mode} now, as the workspace's defaults say")
        except LocalStateError as error:
            log.error("the gate stays strict: %s", error)
            return
        if not self.registration.is_seeded:
            self._keep_registration(replace(self.registration, is_seeded=True))
        self.link.send(frames.encode_json(Kind.SEED, LINK, seeded=True))

    def _keep_registration(self, registration: Registration) -> None:
        self.registration = registration
        try:
            RegistrationFile(self.directory).write(registration)
        except LocalStateError as error:
            log.error("the registration could not be kept: %s", error)

    def _lost(self, state: LinkState) -> None:
        again = "" if state.next_attempt is None else f"; next attempt in {state.next_attempt - monotonic():.0f} s"
        self._say(f"no link: {state.last_problem}" + ("" if state.is_refused else again))
        if state.is_refused:
            self._say("trying again in an hour; to register anew: cmdop connect --replace")

    def _admitted(self, opening: Opening) -> None:
        actor = opening.actor.get("label") or opening.actor.get("id", "somebody")
        self._say(f"{_DOING.get(opening.kind, opening.kind)} by {actor}")

    def _report(self, entry: dict[str, object]) -> None:
        self.link.send(frames.encode_json(Kind.EVENT, LINK, **entry))


async def serve(agent: Agent) -> None:
    """Run the agent in this process, which is its own, until it is asked or signalled to end."""
    loop = asyncio.get_running_loop()
    adopt_orphans()
    ignore_for_ourselves_only()
    keep_to_ourselves()
    # With a handler of ours they are back to normal in every child, also where we were started with them ignored.
    for number in ENDING:
        loop.add_signal_handler(number, agent.end_by, number)
    # Not through the loop: uvloop keeps this one for itself, though the processes here are none of its.
    signal.signal(signal.SIGCHLD, lambda *_: loop.call_soon_threadsafe(sweep))
    try:
        await agent.run()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in ENDING:
            loop.remove_signal_handler(number)
