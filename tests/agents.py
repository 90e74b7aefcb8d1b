"""A real agent in a process of its own, for tests: ``start_agent`` registers a machine over HTTP and runs it.

``python -m tests.agents DIRECTORY`` is that process. Its gate allows everything, so that tests speak of the relay.
"""

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_agent.registration import Registration, RegistrationFile
from cmdop_cli import loops
from cmdop_cli.agent import tls_of
from cmdop_wire.vocab import GateMode
from tests.world import World

UP = "connected to"


@dataclass
class Machine:
    """A registered machine with its running agent."""

    id: str
    hostname: str
    credential: str
    directory: Path
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """End the agent as a person would."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def register(world: World, folder: Path, hostname: str, workspace: str = "acme", who: str = "owner") -> Machine:
    """Register a machine and write what its agent needs below ``folder``; the agent is not started."""
    answer = world.as_(who, workspace).post(
        "/agent/register", json={"hostname": hostname, "os": "linux", "arch": "x86_64", "version": "0", "boot_id": "b"}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    folder.mkdir(mode=0o700, exist_ok=True)
    directory = folder / "agent"
    directory.mkdir(mode=0o700, exist_ok=True)
    tenant = world.tenant(workspace)
    registration = Registration(
        server=world.server.url,
        relay_url=made["relay"]["url"],
        mode="prod",
        workspace_id=tenant.id,
        workspace_slug=tenant.slug,
        machine_id=made["machine"]["id"],
        hostname=hostname,
        name=hostname,
        credential=made["credential"],
        is_seeded=True,
        ca_file=_authority(world),
    )
    RegistrationFile(directory).write(registration)
    PermissionsFile(directory, folder, lambda: True).write(Permissions(GateMode.BYPASS, (), is_seeded=True))
    return Machine(made["machine"]["id"], hostname, made["credential"], directory, process=None)  # type: ignore[arg-type]


def _authority(world: World) -> str | None:
    """Return the certificate of a server that made its own, to be believed in."""
    own = Path(world.server.environ["CMDOP_DATA_DIR"]) / "tls" / "cert.pem"
    return str(own) if world.server.url.startswith("https:") else None


def run(machine: Machine) -> Machine:
    """Start the agent of a registered machine and wait until its link is up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agents", str(machine.directory), machine.hostname],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(UP), line
    machine.process = process
    return machine


def start_agent(world: World, folder: Path, hostname: str, workspace: str = "acme") -> Machine:
    """Register a machine and run its agent."""
    return run(register(world, folder, hostname, workspace))


def main(directory: Path, hostname: str) -> None:
    """Run the agent until a signal ends it."""
    import signal

    registration = RegistrationFile(directory).read()
    assert registration is not None

    async def serve() -> None:
        agent = Agent(
            directory,
            registration,
            facts("0", hostname),
            tls=tls_of(registration),
            say=lambda text: print(text, flush=True),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stopping.set)
        await agent.run()

    with asyncio.Runner(loop_factory=loops.fast()) as runner:  # the agent's own
        runner.run(serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
