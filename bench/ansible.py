"""The same command on many machines, against ansible over ssh. Run: python -m bench.ansible [MACHINES]

As many agents as machines, in one process, against as many hosts of an inventory, which are all the one real sshd on
loopback; both with the same parallelism. ansible-core is installed into a temporary environment unless it is here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import sshd
from bench.ground import Ground, ground
from bench.measure import Contestant, Missing, report, rounds, surroundings

MACHINES, PARALLEL, ROUNDS = 50, 50, 2
TAG = {"role": "bench"}
CONFIG = """\
[defaults]
inventory = {folder}/hosts
host_key_checking = True
interpreter_python = {python}
local_tmp = {folder}/tmp
[ssh_connection]
ssh_args = -F {ssh} {persistence}
control_path_dir = {folder}/cp
pipelining = {pipelining}
"""


def find_ansible(home: Path) -> Path:
    """Return ansible's program: the one on the path, else a new one in a temporary environment."""
    found = shutil.which("ansible")
    if found is not None:
        return Path(found)
    print("installing ansible-core for this run …", file=sys.stderr)
    folder = home / "ansible-environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    line = [str(folder / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "ansible-core"]
    if subprocess.run(line, check=False).returncode:
        raise Missing("ansible", "pip install ansible-core")
    return folder / "bin" / "ansible"


def surroundings_of(folder: Path, far: sshd.Sshd, hostnames: list[str], *, is_tuned: bool) -> dict[str, str]:
    """Write ansible's files in ``folder``; return the environment in which it reads them.

    As it is delivered, except that every run makes its connections; or tuned: open connections, and pipelining.
    """
    folder.mkdir()
    (folder / "hosts").write_text("[bench]\n" + "".join(f"{name}\n" for name in hostnames))
    persistence = "-o ControlMaster=auto -o ControlPersist=60s" if is_tuned else "-o ControlMaster=no"
    settings = CONFIG.format(
        folder=folder, python=sys.executable, ssh=far.config, persistence=persistence, pipelining=is_tuned
    )
    (folder / "ansible.cfg").write_text(settings)
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}  # fmt: skip


def expect(line: list[str], environ: dict[str, str], wanted: str, count: int) -> None:
    """Run a line and check that ``wanted`` came from every machine."""
    done = subprocess.run(line, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode or (done.stdout + done.stderr).count(wanted) < count:
        raise SystemExit(f"{line} ended with {done.returncode}:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")


def measure(site: Ground, far: sshd.Sshd, ansible: Path, hostnames: list[str], agents: int) -> None:
    """Run ``uptime`` everywhere, in turn."""
    count, there = len(hostnames), (far.process.pid,)
    plain = surroundings_of(site.home / "a", far, hostnames, is_tuned=False)
    tuned = surroundings_of(site.home / "b", far, hostnames, is_tuned=True)
    words = [str(ansible), "all", "-f", str(PARALLEL), "-a", "uptime", "-m"]
    ours = site.cmdop("connect", "exec", "--tag", "role:bench", "--parallel", str(PARALLEL), "--", "uptime")
    rival, best = f"ansible all -f {PARALLEL}", "the same, connections open, pipelining, raw"
    expect([*words, "raw"], tuned, "load average", count)  # opens them
    contestants = [
        Contestant(rival, lambda: expect([*words, "command"], plain, "load average", count), servers=there),
        Contestant(best, lambda: expect([*words, "raw"], tuned, "load average", count), servers=there),
        Contestant(
            "cmdop connect exec --tag",
            lambda: expect(ours, site.environ, "load average", count),
            {rival: 0.1, best: 0.0},
            servers=(site.server.process.pid, agents),
        ),
    ]
    rounds(contestants, ROUNDS, warms=False)
    report(f"uptime on {count} machines", contestants)


def main() -> None:
    """Set everything up in a temporary home, measure, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MACHINES
    hostnames = [f"bench-{number}" for number in range(1, count + 1)]
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        try:
            with sshd.running(home / "ssh") as far, ground(home) as site, site.fleet(hostnames, TAG) as agents:
                ansible = find_ansible(home)
                told = subprocess.run([str(ansible), "--version"], capture_output=True, text=True, check=True)
                print(f"{told.stdout.splitlines()[0]} over {far.version} against cmdop with TLS; {surroundings()}")
                measure(site, far, ansible, hostnames, agents)
        except Missing as missing:
            raise SystemExit(str(missing)) from None


if __name__ == "__main__":
    main()
