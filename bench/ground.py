"""What streams are measured on: a control plane with TLS, a person signed in to it, machines that are reached.

Everything is the product itself, as people start it: ``cmdop server start``, ``cmdop login``, ``cmdop connect``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_wire.vocab import GateMode
from tests.agents import register
from tests.fleet import READY
from tests.processes import REPOSITORY, Server, bare_environment, read_line, start_server, stop
from tests.terminal import COMMAND
from tests.world import World, make_world


@dataclass(frozen=True, slots=True)
class Ground:
    """A control plane, and the environment of a command line that is signed in to it as the owner of ``world.acme``."""

    server: Server
    world: World
    home: Path
    environ: dict[str, str]
    ca_pin: str

    def cmdop(self, *words: str) -> list[str]:
        """Return a line of the command line."""
        return [str(COMMAND), *words]

    def run(self, *words: str, given: str = "", environ: dict[str, str] | None = None) -> str:
        """Run a line to its end and return what it said; ``CalledProcessError`` when it fails."""
        line, surroundings = self.cmdop(*words), environ or self.environ
        done = subprocess.run(line, env=surroundings, input=given, text=True, capture_output=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stderr)
            done.check_returncode()
        return done.stdout

    @contextmanager
    def agent(self, hostname: str) -> Iterator[int]:
        """Run the agent of a machine, with a configuration of its own and a gate that is open; yield its process id."""
        environ = self.environ | {"CMDOP_CONFIG_DIR": str(self.home / hostname)}
        self.run(*self._login(), given=self.world.one_time_token("owner"), environ=environ)
        connect = ["connect", "--detach", "--hostname", hostname, "--workspace", self.world.acme.slug, "--yes"]
        self.run(*connect, environ=environ)
        try:
            self.run("connect", "permissions", "mode", "bypass", "--yes", environ=environ)
            yield int(json.loads(self.run("connect", "status", "--json", environ=environ))["pid"])
        finally:
            self.run("connect", "stop", environ=environ)

    @contextmanager
    def fleet(self, hostnames: Sequence[str], tags: dict[str, str]) -> Iterator[int]:
        """Run the agents of many machines in one process, tagged, with open gates; yield the process's id."""
        folders = []
        for hostname in hostnames:
            folder = self.home / f"of-{hostname}"
            machine = register(self.world, folder, hostname)
            PermissionsFile(folder / "agent", folder, lambda: True).write(
                Permissions(GateMode.BYPASS, (), is_seeded=True)
            )
            answer = self.world.as_("owner", "acme").patch(
                f"/workspaces/{self.world.acme.slug}/machines/{machine.id}", json={"tags": tags}
            )
            answer.raise_for_status()
            folders.append(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet", *map(str, folders)],
            env=bare_environment(self.home) | {"SHELL": "/bin/sh", "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert read_line(process.stdout, process).strip() == READY
            yield process.pid
        finally:
            stop(process)

    def _login(self) -> list[str]:
        return ["login", "--server", self.server.url, "--ca-pin", self.ca_pin, "--token", "-"]


@contextmanager
def ground(home: Path) -> Iterator[Ground]:
    """Start a control plane that serves TLS with a certificate of its own, and sign its owner in."""
    with ExitStack() as stack:
        server = start_server(home, None, "--tls", "self-signed")
        stack.callback(server.stop)
        data = Path(server.environ["CMDOP_DATA_DIR"])
        # Where no pin can be given, the certificate itself is believed: by the clients of ``world`` and of a fleet.
        os.environ["SSL_CERT_FILE"] = str(data / "tls" / "cert.pem")
        stack.callback(os.environ.pop, "SSL_CERT_FILE", None)
        pin = json.loads((data / "running.json").read_bytes())["ca_pin"]
        world = make_world(server)
        stack.callback(world.close)
        environ = bare_environment(home) | {"CMDOP_CONFIG_DIR": str(home / "person"), "CMDOP_CREDENTIAL_STORE": "file"}
        made = Ground(server, world, home, environ, pin)
        made.run(*made._login(), given=world.one_time_token("owner"))
        made.run("workspace", "use", world.acme.slug)
        made.run("workspace", "members")  # enters the workspace, so that no exchange is timed
        yield made
