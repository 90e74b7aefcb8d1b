"""How long a command takes to start, side by side with its rivals on this machine: ``make bench``.

Every command runs in turn, round after round, so that a busy moment falls on all of them; the medians are compared.
Nothing here passes or fails: a ratio beyond its budget is marked, a missing rival is named with the line that installs
it.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import bare_environment, start_server
from tests.terminal import COMMAND
from tests.world import World, make_world

ROUNDS = 25
KUBECTL, GH = "kubectl config current-context", "gh config get git_protocol"
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: acme
contexts: [{name: acme, context: {cluster: acme, user: me}}]
clusters: [{name: acme, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {}}]
"""
# What a person would write who needs this one listing and nothing else.
BARE = """\
import os, httpx
answer = httpx.get(os.environ["URL"], headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
print(len(answer.json()["items"]))
"""


@dataclass
class Contestant:
    """A command to be timed; ``budget`` is the greatest ratio to the contestant called ``against``."""

    name: str
    line: list[str]
    environ: dict[str, str]
    against: str = ""
    budget: float = 0.0
    install: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the median in milliseconds."""
        return statistics.median(self.seconds) * 1000

    def run(self) -> None:
        """Run it once and note how long it took."""
        begun = time.perf_counter()
        subprocess.run(self.line, env=self.environ, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        self.seconds.append(time.perf_counter() - begun)


@contextmanager
def signed_in(home: Path) -> Iterator[tuple[World, dict[str, str]]]:
    """Start a control plane and sign its owner in; yield the cast and the environment of the command line."""
    server = start_server(home)
    try:
        world = make_world(server)
        environ = bare_environment(home) | {"CMDOP_CONFIG_DIR": str(home / "cmdop"), "CMDOP_CREDENTIAL_STORE": "file"}
        for line, given in [
            (["login", "--server", server.url, "--token", "-"], world.one_time_token("owner")),
            (["workspace", "use", world.acme.slug], ""),
            (["workspace", "members"], ""),  # enters the workspace, so that no exchange is timed
        ]:
            subprocess.run([COMMAND, *line], env=environ, input=given, text=True, check=True, capture_output=True)
        yield world, environ
        world.close()
    finally:
        server.stop()


def contestants(home: Path, world: World, environ: dict[str, str]) -> list[Contestant]:
    """Return everybody, rivals first."""
    config = home / "kubeconfig"
    config.write_text(KUBECONFIG)
    command, slug = str(COMMAND), world.acme.slug
    url = f"{world.server.url}/api/v1/workspaces/{slug}/members"
    bare = environ | {"URL": url, "TOKEN": world.token("owner")}
    listing = "bare httpx script, members"
    return [
        Contestant(KUBECTL, ["kubectl", "config", "current-context"], environ | {"KUBECONFIG": str(config)},
                   install="apt-get install kubernetes-client"),
        Contestant(GH, ["gh", "config", "get", "git_protocol"],
                   environ | {"GH_CONFIG_DIR": str(home / "gh")}, install="apt-get install gh"),
        Contestant("python -I -c pass", [sys.executable, "-I", "-c", "pass"], environ),
        Contestant("cmdop workspace current", [command, "workspace", "current"], environ, KUBECTL, 1.0),
        Contestant("cmdop prompt", [command, "prompt"], environ, KUBECTL, 1.0),
        Contestant("cmdop workspace use", [command, "workspace", "use", slug], environ, KUBECTL, 2.5),
        Contestant("cmdop --help", [command, "--help"], environ, KUBECTL, 2.5),
        Contestant(listing, [sys.executable, "-c", BARE], bare),
        Contestant("cmdop workspace members", [command, "workspace", "members"], environ, listing, 1.5),
    ]  # fmt: skip


def report(timed: list[Contestant]) -> None:
    """Print medians and ratios."""
    by_name = {each.name: each for each in timed}
    print(f"\n{'median of ' + str(ROUNDS) + ' rounds':<34}{'ms':>8}   ratio")
    for each in timed:
        ratio = ""
        if each.against in by_name:
            value = each.median / by_name[each.against].median
            verdict = "" if value <= each.budget else "  over budget"
            ratio = f"{value:.2f} × {each.against} (budget {each.budget:g}){verdict}"
            if GH in by_name and each.against == KUBECTL:
                ratio += f" · {each.median / by_name[GH].median:.2f} × {GH}"
        print(f"{each.name:<34}{each.median:>8.1f}   {ratio}".rstrip())


def main() -> None:
    """Set everything up in a temporary home, time it, print the table."""
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        with signed_in(home) as (world, environ):
            timed = []
            for each in contestants(home, world, environ):
                if shutil.which(each.line[0], path=os.environ["PATH"]) is None:
                    print(f"{each.line[0]} is missing; to compare with it: {each.install}", file=sys.stderr)
                else:
                    timed.append(each)
            for each in timed:
                each.run()
                each.seconds.clear()  # the first run compiles and warms caches
            for _ in range(ROUNDS):
                for each in timed:
                    each.run()
            report(timed)


if __name__ == "__main__":
    main()
