"""A real sshd for benchmarks, on loopback: its own settings and host key, and one key that may enter."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Missing

INSTALL = "apt-get install openssh-server openssh-client"
SECONDS = 20.0  # that it may take to listen
SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 500
MaxSessions 500
LogLevel FATAL
Subsystem sftp internal-sftp
# bash would read the user's .bashrc for a command that ssh runs, whatever that does; not when it is no first shell.
SetEnv SHLVL=9
"""
CLIENT = """\
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  HostKeyAlias bench
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd; whatever host a client of ``config`` names, it is this one."""

    process: "subprocess.Popen[bytes]"
    config: Path
    folder: Path
    version: str

    def ssh(self, *words: str, host: str = "bench", options: tuple[str, ...] = ()) -> list[str]:
        """Return the line that runs ``words`` on ``host``."""
        return ["ssh", "-F", str(self.config), *options, host, *words]

    def master(self) -> tuple[str, ...]:
        """Return the options of a client that shares one connection with others (``ControlMaster``)."""
        return ("-o", "ControlMaster=auto", "-o", f"ControlPath={self.folder}/m", "-o", "ControlPersist=60")


@contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    """Start an sshd that keeps everything below ``folder``; ``Missing`` when there is none to start."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None:
        raise Missing("sshd", INSTALL)
    folder.mkdir(mode=0o700)
    for name in ("host_key", "key"):
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(folder / name)]
        subprocess.run(line, check=True)
    port = _free_port()
    (folder / "authorized_keys").write_bytes((folder / "key.pub").read_bytes())
    (folder / "known_hosts").write_text("bench " + (folder / "host_key.pub").read_text())
    (folder / "server").write_text(SERVER.format(port=port, folder=folder))
    config = folder / "client"
    config.write_text(CLIENT.format(port=port, folder=folder, user=getpass.getuser()))
    if os.geteuid() == 0:  # it separates privileges then, and wants this folder, which only an init script makes
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "server")])
    try:
        _wait_for(port, process)
        told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True)
        yield Sshd(process, config, folder, (told.stdout + told.stderr).strip())
    finally:
        if (folder / "m").exists():
            subprocess.run(["ssh", "-F", str(config), "-O", "exit", "-o", f"ControlPath={folder}/m", "bench"],
                           capture_output=True, check=False)  # fmt: skip
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise Missing("an sshd that starts", "see what it said above")
