"""Machines for the tests of the command line: real agents, all of one fleet in a process of its own.

``python -m tests.fleet FOLDER…`` is that process; what its agents need was written below each folder. A fleet has one
home: a file that is left on one of its machines is on all of them.
"""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_agent.registration import RegistrationFile
from cmdop_agent.rules import Rule
from cmdop_cli import loops
from cmdop_cli.agent import tls_of
from cmdop_wire.vocab import GateMode, Scope
from tests.agents import Machine, register
from tests.processes import REPOSITORY, bare_environment, read_line, stop
from tests.world import World

READY = "every link is up"
EVERYTHING = (Scope.MACHINES_READ, Scope.COMMANDS_EXECUTE, Scope.SESSIONS_OBSERVE, Scope.FILES_READ, Scope.FILES_WRITE)


@dataclass
class Fleet:
    """Machines of one world, the home of their agents' user, and keys to reach them with."""

    world: World
    home: Path
    machines: dict[str, Machine] = field(default_factory=dict)
    _processes: list["subprocess.Popen[str]"] = field(default_factory=list, repr=False)
    _keys: dict[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, hostname: str) -> Machine:
        return self.machines[hostname]

    def start(
        self,
        *hostnames: str,
        tenant: str = "acme",
        gate: GateMode = GateMode.BYPASS,
        rules: tuple[Rule, ...] = (),
    ) -> None:
        """Register machines and run their agents, all in one process, until every link is up."""
        folders = []
        for hostname in hostnames:
            folder = self.home / f"machine-{len(self.machines)}"
            who = "owner" if tenant == "acme" else "rival"
            self.machines[hostname] = register(self.world, folder, hostname, tenant, who)
            permissions = PermissionsFile(folder / "agent", folder, lambda: True)
            permissions.write(Permissions(gate, rules, is_seeded=True))
            folders.append(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet", *map(str, folders)],
            env=bare_environment(self.home) | {"SHELL": "/bin/sh"},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert read_line(process.stdout, process).strip() == READY
        for hostname in hostnames:
            self.machines[hostname].process = process

    def offline(self, hostname: str, tenant: str = "acme") -> None:
        """Register a machine whose agent never runs."""
        folder = self.home / f"machine-{len(self.machines)}"
        self.machines[hostname] = register(
            self.world, folder, hostname, tenant, "owner" if tenant == "acme" else "rival"
        )

    def key(self, who: str = "member") -> str:
        """Return a key with which ``who`` reaches machines, the same one every time."""
        if who not in self._keys:
            self._keys[who] = self.world.key(who, *EVERYTHING)["text"]
        return self._keys[who]

    def as_(self, who: str = "member") -> dict[str, str]:
        """Return the environment of a command line that acts with such a key."""
        return {"CMDOP_API_KEY": self.key(who), "CMDOP_SERVER_URL": self.world.server.url}

    def stop(self) -> None:
        """Stop every agent."""
        for process in self._processes:
            stop(process)


def new_fleet(world: World, home: Path, *hostnames: str) -> Fleet:
    """Return a fleet with these machines in acme."""
    home.mkdir(mode=0o700, exist_ok=True)
    fleet = Fleet(world, home)
    if hostnames:
        fleet.start(*hostnames)
    return fleet


def unique(name: str) -> str:
    """Return a name that no other test uses."""
    return f"{name}-{secrets.token_hex(3)}"


async def serve(folders: Sequence[Path]) -> None:
    """Run the agents below ``folders`` until SIGTERM."""
    agents, waiting = [], asyncio.Event()
    missing = len(folders)

    def said(_: str) -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            print(READY, flush=True)

    for folder in folders:
        registration = RegistrationFile(folder / "agent").read()
        assert registration is not None
        machine, tls = facts("0", registration.hostname), tls_of(registration)
        agents.append(Agent(folder / "agent", registration, machine, tls=tls, say=said))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, waiting.set)
    async with asyncio.TaskGroup() as tasks:
        for agent in agents:
            tasks.create_task(agent.run())
        await waiting.wait()
        for agent in agents:
            agent.stopping.set()


def lines(text: str) -> list[dict[str, object]]:
    """Return the objects of NDJSON."""
    return [json.loads(line) for line in text.splitlines()]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loops.fast()) as runner:  # the agent's own
        runner.run(serve([Path(folder) for folder in sys.argv[1:]]))
