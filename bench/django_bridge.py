"""Which way from ASGI to Django is faster for small authenticated requests: ours, or Django's own ASGIHandler.

Run: python -m bench.django_bridge [REQUESTS CLIENTS]. Prints processor time per request, requests per second and
latencies of both, each in a process of its own on a fresh SQLite, the same uvicorn around them.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx


def serve(kind: str) -> None:
    """Serve until stdin ends, with the bridge that ``kind`` names."""
    import threading

    from cmdop_server import asgi, serve
    from cmdop_server.config import load
    from cmdop_server.management import opening

    config = opening.configuration()
    opening.django_ready(config, migrate=True)
    if kind == "django":
        from django.core.handlers.asgi import ASGIHandler

        handler = ASGIHandler()

        class Plain:
            """Django's own way, where ours stands; commands over HTTP are not asked for here."""

            async def __call__(self, scope: Any, receive: Any, send: Any, _: object) -> None:
                await handler(scope, receive, send)

            def close(self) -> None:
                """Hold nothing."""

        plain = Plain()
        asgi.django_application = lambda: plain  # type: ignore[assignment,return-value]
        serve.django_application = asgi.django_application
    listener = serve.bind("127.0.0.1", 0)

    def ready() -> None:
        print(listener.getsockname()[1], flush=True)

    server = serve.make_server(load(os.environ), None, ready)
    threading.Thread(target=lambda: (sys.stdin.read(), server.stop()), daemon=True).start()
    serve.run(server, listener)


async def load(url: str, token: str, requests: int, clients: int) -> tuple[float, list[float]]:
    """Return the seconds that all took, and each one's milliseconds."""
    taken: list[float] = []
    left = requests

    async def one_client(client: httpx.AsyncClient) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            answer = await client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            taken.append((time.perf_counter() - began) * 1000)
            answer.raise_for_status()

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, limits=limits) as client:
        began = time.perf_counter()
        await asyncio.gather(*(one_client(client) for _ in range(clients)))
        return time.perf_counter() - began, taken


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used (Linux): unlike latency, it hardly depends on the neighbours."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(kind: str, requests: int, clients: int) -> None:
    """Start one server, sign in, warm up, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CMDOP_DATA_DIR": str(Path(folder) / "server"), "CMDOP_LOG_LEVEL": "warning"}
        made = subprocess.run(
            [sys.executable, "-m", "cmdop_server", "bootstrap", "--email", "bench@example.com", "--json"],
            env=environment,
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        assert server.stdin is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        form = {"grant_type": "sign_in_token", "token": json.loads(made.stdout)["token"]}
        token = httpx.post(f"{url}/api/v1/auth/token", json=form).raise_for_status().json()["access_token"]
        asyncio.run(load(url, token, 30, clients))
        before = cpu_seconds(server.pid)
        seconds, taken = asyncio.run(load(url, token, requests, clients))
        cpu = (cpu_seconds(server.pid) - before) / requests * 1000
        server.stdin.close()
        server.wait()
    p95 = statistics.quantiles(taken, n=20)[-1]
    median = statistics.median(taken)
    print(
        f"{kind:<8} {cpu:6.1f} ms cpu/req {requests / seconds:6.0f} req/s  median {median:6.1f} ms  p95 {p95:6.1f} ms"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        numbers = [int(word) for word in sys.argv[1:]]
        for each in ("threads", "django", "threads", "django"):
            measure(each, *(numbers or [300, 8]))
