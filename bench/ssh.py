"""Streams side by side with ssh: one command, throughput, the echo of a keystroke. Run: python -m bench.ssh

A real sshd on loopback against a control plane with TLS and an agent in a process of its own, in the same run and in
turn, round after round. Prints ratios next to the budget; docs/decisions/benchmarks.md tells what they mean.
"""

import asyncio
import hashlib
import os
import pty
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import sshd
from bench.ground import Ground, ground
from bench.measure import Contestant, Missing, p95, report, rounds, surroundings
from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_wire.vocab import Scope

HOST = "bench-1"
EXEC_ROUNDS, FILE_ROUNDS, KEYS, KEYS_IN_A_TURN = 15, 3, 200, 20
FILE_SIZE = 256 * 1024 * 1024
PAUSE = 0.01  # seconds between keystrokes: nobody types into an echo that has not come
PATIENCE = 30.0


def shell(line: Sequence[str], environ: dict[str, str], *, to_null: bool = False) -> None:
    """Run a line to its end; its output goes nowhere."""
    out = subprocess.DEVNULL if to_null else subprocess.PIPE
    done = subprocess.run(line, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{line} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")


class Loop:
    """An event loop on a thread of its own, with an open client: what a program pays that has both already."""

    def __init__(self, site: Ground) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        key = site.world.key("owner", Scope.MACHINES_READ, Scope.COMMANDS_EXECUTE)["text"]
        self._client = AsyncCMDOPClient.remote(api_key=key, server=site.server.url, ca_pin=site.ca_pin)
        self.wait(self._client.__aenter__())

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what ``work`` returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def execute(self) -> None:
        """Run ``true`` on the machine."""
        assert self.wait(self._client.terminal.execute(HOST, ["true"])).exit_code == 0

    def close(self) -> None:
        """Close the client and end the thread."""
        self.wait(self._client.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def measure_exec(site: Ground, far: sshd.Sshd, agent: int) -> None:
    """Run ``true``: as whole processes, and over what is open already."""
    environ, servers = site.environ, (site.server.process.pid, agent)
    loop = Loop(site)
    default, quick, warm = "ssh HOST true", "ssh HOST true, curve25519 alone", "ssh, over an open master"
    # The post-quantum half of the default key exchange costs some builds of ssh 100 ms; TLS here has none.
    lines = {
        default: far.ssh("true"),
        quick: far.ssh("true", options=("-o", "KexAlgorithms=curve25519-sha256")),
        warm: far.ssh("true", options=far.master()),
    }
    ours = site.cmdop("connect", "exec", HOST, "--", "true")
    try:
        contestants = [
            *(
                Contestant(name, lambda line=line: shell(line, environ), servers=(far.process.pid,))  # type: ignore[misc]
                for name, line in lines.items()
            ),
            Contestant(
                "cmdop connect exec HOST -- true",
                lambda: shell(ours, environ),
                {default: 1.0, quick: 0.0},
                servers=servers,
            ),
            Contestant("SDK execute, open client", loop.execute, {warm: 0.0}, servers=servers),
            Contestant("python -I -c pass", lambda: shell([sys.executable, "-I", "-c", "pass"], environ)),
        ]
        rounds(contestants, EXEC_ROUNDS)
    finally:
        loop.close()
    report("one command", contestants)


def measure_throughput(site: Ground, far: sshd.Sshd, agent: int) -> None:
    """Bring 256 MiB, encrypted all the way."""
    file, kept = site.home / "large", site.home / "kept"
    file.write_bytes(secrets.token_bytes(1024 * 1024) * (FILE_SIZE // (1024 * 1024)))
    environ, ours = site.environ, (site.server.process.pid, agent)
    rival = "ssh HOST cat"
    lines = {
        rival: far.ssh("cat", str(file)),
        "ssh HOST cat, aes128-gcm": far.ssh("cat", str(file), options=("-c", "aes128-gcm@openssh.com")),
        "cmdop connect exec HOST -- cat": site.cmdop("connect", "exec", HOST, "--", "cat", str(file)),
        "scp HOST:FILE": ["scp", "-q", "-F", str(far.config), f"bench:{file}", str(kept)],
        "cmdop connect get HOST:FILE": site.cmdop("connect", "get", f"{HOST}:{file}", str(kept), "--force"),
    }
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    for name in (rival, "cmdop connect exec HOST -- cat"):
        told = subprocess.run(lines[name], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        assert hashlib.sha256(told.stdout).hexdigest() == wanted, f"{name} brought something else"
    budgets = {
        "cmdop connect exec HOST -- cat": {rival: 1 / 0.7},
        "cmdop connect get HOST:FILE": {"scp HOST:FILE": 0.0},
    }
    contestants = [
        Contestant(
            name,
            lambda line=line: shell(line, environ, to_null=True),  # type: ignore[misc]
            budgets.get(name, {}),
            servers=ours if name in budgets else (far.process.pid,),
        )
        for name, line in lines.items()
    ]
    rounds(contestants, FILE_ROUNDS)
    report(f"{FILE_SIZE >> 20} MiB", contestants)
    for each in contestants:
        print(f"{each.name:<44}{FILE_SIZE / min(each.seconds) / 1e6:>9.0f} MB/s at best")


class Typist:
    """A session on a terminal of its own, whose far end echoes what is typed."""

    def __init__(self, line: Sequence[str], environ: dict[str, str]) -> None:
        master, slave = pty.openpty()
        self._master = master
        self._process = subprocess.Popen(
            line, env=environ | {"TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._until(b"# ", b"$ ")  # a prompt: what is typed before it may be flushed
        os.write(master, b"echo BE''GUN; exec cat\r")
        self._until(b"BEGUN\r\n")

    def _until(self, *wanted: bytes) -> None:
        seen = b""
        deadline = time.monotonic() + PATIENCE
        while not any(each in seen for each in wanted):
            if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SystemExit(f"{self._process.args!r} does not answer: {seen!r}")
            seen += os.read(self._master, 65536)

    def key(self) -> float:
        """Type one key; return how long its echo took."""
        time.sleep(PAUSE)
        begun = time.perf_counter()
        os.write(self._master, b"x")
        self._until(b"x")
        return time.perf_counter() - begun

    def end(self) -> None:
        """End the session."""
        os.write(self._master, b"\r\x04")
        try:
            self._process.wait(PATIENCE)
        finally:
            os.close(self._master)


@contextmanager
def typist(line: Sequence[str], environ: dict[str, str]) -> Iterator[Typist]:
    """Yield a session that echoes, and end it."""
    made = Typist(line, environ)
    try:
        yield made
    finally:
        made.end()


def measure_echo(site: Ground, far: sshd.Sshd, agent: int) -> None:
    """Type keys into a session, a few here, a few there."""
    # A shell without line editing: it is the terminal that echoes, at both.
    with (
        typist(far.ssh("exec sh", options=("-tt",)), site.environ) as there,
        typist(site.cmdop("connect", "to", HOST), site.environ | {"SHELL": "/bin/sh"}) as here,
    ):
        contestants = [
            Contestant("ssh", there.key, servers=(far.process.pid,)),
            Contestant("cmdop connect to", here.key, {"ssh": 0.0}, servers=(site.server.process.pid, agent)),
        ]
        for turn in range(KEYS // KEYS_IN_A_TURN + 1):
            for each in contestants:
                for _ in range(KEYS_IN_A_TURN):
                    each.seconds.append(each.run() or 0.0)
                if not turn:
                    each.seconds.clear()
    report("a keystroke's echo", contestants)
    more = (p95(contestants[1].seconds) - p95(contestants[0].seconds)) * 1000
    print(f"p95 is {more:+.1f} ms that of ssh (budget +2){'' if more <= 2 else '  over budget'}")


def main() -> None:
    """Set everything up in a temporary home, measure, print."""
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        try:
            with sshd.running(home / "ssh") as far, ground(home) as site, site.agent(HOST) as agent:
                print(f"{far.version} against cmdop with TLS; {surroundings()}")
                measure_exec(site, far, agent)
                measure_echo(site, far, agent)
                measure_throughput(site, far, agent)
        except Missing as missing:
            raise SystemExit(str(missing)) from None


if __name__ == "__main__":
    main()
