"""What machines cost the server that do nothing. Run: python -m bench.idle_agents [MACHINES]

Links over TLS that all come at once, as after a restart, then say what an agent says that has nothing to do: a beat
every 30 s, and the answers to pings. Prints how the server grew for each, and how busy it was with all of them. Beside
it stands what sshd keeps for a connection that is held open (``ssh -R``), which is what people use to have a machine at
hand that cannot be dialled.
"""

import asyncio
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import websockets
from websockets.asyncio.client import ClientConnection, connect

from bench import sshd
from bench.ground import Ground, ground
from bench.measure import Missing, processor_seconds, surroundings
from cmdop_agent.daemon import HEARTBEAT
from cmdop_agent.metrics import metrics
from cmdop_wire import frames
from cmdop_wire.frames import LINK, PROTOCOL, VERSION, Kind
from tests.agents import Machine, register

FIRST, WATCHED, SETTLED = 20, 65.0, 5.0  # machines that warm everything; seconds: every machine beats at least twice
HELD = 20  # connections to sshd
MOST_KIB, MOST_CORES, MACHINES = 100.0, 0.5, 2000


def unshared(pid: int) -> int:
    """Return the bytes of memory that a process has for itself."""
    found: int = psutil.Process(pid).memory_full_info().uss
    return found


async def link_of(site: Ground, machine: Machine, tls: ssl.SSLContext) -> ClientConnection:
    """Return the link of one machine, greeted."""
    socket = await connect(
        "ws" + site.server.url.removeprefix("http") + "/relay/agent",
        additional_headers={"Authorization": f"Bearer {machine.credential}"},
        subprotocols=[websockets.Subprotocol(PROTOCOL)],
        compression=None,
        open_timeout=120,
        ssl=tls,
    )
    await socket.send(frames.encode_json(Kind.HELLO, LINK, version=VERSION, channels=[]))
    assert frames.decode(await socket.recv(decode=False)).kind is Kind.WELCOME
    return socket


async def beat(socket: ClientConnection) -> None:
    """Say that a machine is there, for ever."""
    await asyncio.sleep(random.uniform(0, HEARTBEAT))  # spread, as in life
    while True:
        await socket.send(frames.encode_json(Kind.HEARTBEAT, LINK, metrics=metrics(0), gate_mode="default"))
        await asyncio.sleep(HEARTBEAT)


async def watch(site: Ground, machines: list[Machine]) -> tuple[float, float]:
    """Return by how many bytes the server grew for each machine, and how many cores were busy with all."""
    tls = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    pid = site.server.process.pid
    links = list(await asyncio.gather(*(link_of(site, each, tls) for each in machines[:FIRST])))
    await asyncio.sleep(SETTLED)
    before = unshared(pid)
    links += await asyncio.gather(*(link_of(site, each, tls) for each in machines[FIRST:]))
    await asyncio.sleep(SETTLED)
    grown = (unshared(pid) - before) / (len(machines) - FIRST)
    beats = [asyncio.create_task(beat(each)) for each in links]
    busy, begun = processor_seconds(pid), time.monotonic()
    await asyncio.sleep(WATCHED)
    cores = (processor_seconds(pid) - busy) / (time.monotonic() - begun)
    for task in beats:
        task.cancel()
    await asyncio.gather(*beats, *(each.close() for each in links), return_exceptions=True)
    return grown, cores


def held_by_sshd(far: sshd.Sshd, count: int) -> float:
    """Hold connections open and return the bytes that sshd's processes have for each."""
    clients = [
        subprocess.Popen(far.ssh(options=("-N",)), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        time.sleep(SETTLED)
        server = psutil.Process(far.process.pid)
        return sum(unshared(child.pid) for child in server.children(recursive=True)) / len(server.children())
    finally:
        for client in clients:
            client.terminate()
            client.wait()


def main(count: int) -> None:
    """Set everything up in a temporary home, measure, print."""
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        try:
            with sshd.running(home / "ssh") as far, ground(home) as site:
                machines = [register(site.world, home / f"of-{at}", f"idle-{at}") for at in range(count + FIRST)]
                grown, cores = asyncio.run(watch(site, machines))
                rival = held_by_sshd(far, HELD)
        except Missing as missing:
            raise SystemExit(str(missing)) from None
    kib, budget = grown / 1024, MOST_CORES * max(1.0, count / MACHINES)
    print(f"{count} machines over TLS, idle; {surroundings()}")
    print(f"memory of the server for each{kib:>11.1f} KiB (budget {MOST_KIB:.0f}){_over(kib, MOST_KIB)}")
    print(f"an ssh connection held open{rival / 1024:>13.1f} KiB; ratio {grown / rival:.2f}")
    print(f"cores busy with all of them{cores:>15.3f} (budget {budget:.1f} for {MACHINES}){_over(cores, budget)}")


def _over(value: float, budget: float) -> str:
    return "" if value <= budget else "  over budget"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
