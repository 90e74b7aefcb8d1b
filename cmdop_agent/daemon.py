"""The agent: one task tree of link, heartbeat, control socket and channels. Leaving it ends every child.

It is handed a registration and callbacks; it reads no local state of the command line and sees no terminal UI.
"""

import asyncio
import contextlib
import os
import platform
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmdop_agent import verbs
from cmdop_agent.admission import Admission, Approval
from cmdop_agent.channels import Channels
from cmdop_agent.control import Control
from cmdop_agent.link import Link
from cmdop_agent.metrics import metrics
from cmdop_agent.permissions import PermissionsFile
from cmdop_agent.registration import Registration
from cmdop_agent.rules import Rule, parse_rule
from cmdop_wire import frames
from cmdop_wire.frames import LINK, Kind
from cmdop_wire.vocab import GateMode

HEARTBEAT = 30.0
SOCKET = "agent.sock"


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
    """This machine's agent, from start to stop."""

    def __init__(
        self,
        directory: Path,
        registration: Registration,
        machine: Facts,
        *,
        tls: ssl.SSLContext | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory = directory
        self.registration = registration
        self.machine = machine
        self.permissions = PermissionsFile(directory)
        self.admission = Admission(self.permissions, str(Path.home().resolve()), self._report)
        self.active_workspace: dict[str, str] | None = None  # what the person's command line acts in (D-20)
        self.stopping = asyncio.Event()
        self._tls = tls
        self._say = say
        self.link: Link
        self.channels: Channels

    async def run(self) -> None:
        """Serve until ``stopping`` is set; raises ``OSError`` when another agent has the socket."""
        control = Control(self.directory / SOCKET, verbs.verbs(self), verbs.gate_verbs(self))
        await control.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                self.channels = Channels(tasks, self.admission)
                self.link = Link(
                    self.registration.relay_url,
                    lambda: self.registration.credential,
                    self.channels,
                    self._hello,
                    tls=self._tls,
                    on_welcome=self._welcomed,
                )
                keeping = tasks.create_task(self.link.keep(), name="link")
                beating = tasks.create_task(self._beat(), name="heartbeat")
                await self.stopping.wait()
                await self.link.stop()
                beating.cancel()
                self.channels.end_all()
                await keeping
        finally:
            await control.stop()

    def _hello(self) -> dict[str, Any]:
        now = self.permissions.read()
        return {
            "agent": self.machine.version,
            "hostname": self.machine.hostname,
            "os": self.machine.os,
            "arch": self.machine.arch,
            "boot": self.machine.boot_id,
            "pid": os.getpid(),
            "gate": {"mode": str(now.mode), "seeded": now.is_seeded},
            "channels": self.channels.offsets(),
        }

    def _welcomed(self, body: dict[str, Any]) -> None:
        self._say(f"connected to {self.registration.server}")
        seeds = body.get("seeds")
        if isinstance(seeds, dict):
            self._seed(seeds)

    def _seed(self, seeds: dict[str, Any]) -> None:
        """Take the workspace's defaults once, on the first heartbeat, and say so (D-25)."""
        try:
            mode = GateMode(seeds.get("gate_mode", GateMode.STRICT))
            rules: list[Rule] = [
                parse_rule({str(line["kind"]): str(line["operation"]), "match": str(line.get("match", ""))})
                for line in seeds.get("gate_rules", [])
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            mode, rules = GateMode.STRICT, []
        self.permissions.seed(mode, rules, is_bypass_accepted=self.registration.accept_bypass)
        self.link.send(frames.encode_json(Kind.SEED, LINK, seeded=True))

    async def _beat(self) -> None:
        while True:
            gate = str(self.permissions.read().mode)
            self.link.send(
                frames.encode_json(Kind.HEARTBEAT, LINK, metrics=metrics(len(self.channels)), gate_mode=gate)
            )
            await asyncio.sleep(HEARTBEAT)

    def _report(self, entry: dict[str, object]) -> None:
        self.link.send(frames.encode_json(Kind.EVENT, LINK, **entry))

    def asked(self, approval: Approval) -> str:
        """Return the sentence that shows a waiting request to a person."""
        return f"{approval.actor} asks: {approval.request}"
