"""Several serving processes on one socket: start, watch, restart, stop.

uvicorn has a supervisor of its own, but its workers outlive a supervisor that is killed: they would go on serving
without the lock on the data directory. Ours hold the read end of a pipe and drain when its other end is gone.
"""

import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

READY = b"ready\n"
RESTART_DELAY = 1.0  # seconds before replacing a worker that lived less long than this
GRACE = 5.0  # seconds beyond the drain time before a worker is killed
_log = structlog.stdlib.get_logger("cmdop.supervisor")


@dataclass(slots=True)
class Worker:
    """One child: its process, what it runs, whether it said that it serves, when it was started (monotonic)."""

    process: subprocess.Popen[bytes]
    command: list[str]
    is_ready: bool = False
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps one child for each of ``commands`` alive until a signal asks for the end; all inherit ``listeners``."""

    def __init__(
        self,
        commands: list[list[str]],
        listeners: list[socket.socket],
        drain_seconds: int,
        on_ready: Callable[[], None],
    ) -> None:
        self._commands = commands
        self._listeners = listeners
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []
        self._announced = False
        self._stopping = False
        self._due: list[tuple[float, list[str]]] = []  # when (monotonic) a lost worker is replaced, and what it ran
        self._wake, self._waker = socket.socketpair()

    def run(self) -> int:
        """Supervise until the end and return the exit status."""
        for end in (self._wake, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        for command in self._commands:
            self._start(command)
        try:
            while not self._stopping:
                status = self._turn()
                if status is not None:
                    return status
            return 0
        finally:
            self._stop()

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _start(self, command: list[str]) -> None:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno() for listener in self._listeners],
            process_group=0,  # Ctrl-C reaches us alone, and we tell them in order
        )
        worker = Worker(process, command)
        self._workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)

    def _turn(self) -> int | None:
        """Wait for something to happen and deal with it; return a status when it is the end."""
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            self._start(due[1])
        wait = max(0.0, min(self._due)[0] - now) if self._due else None
        for key, _events in self._selector.select(wait):
            if key.data is None:
                self._wake.recv(4096)
                continue
            worker: Worker = key.data
            assert worker.process.stdout is not None
            said = os.read(worker.process.stdout.fileno(), len(READY))
            if said:
                worker.is_ready = True
                self._announce()
            elif (status := self._lost(worker)) is not None:
                return status
        return None

    def _announce(self) -> None:
        if not self._announced and all(worker.is_ready for worker in self._workers):
            self._announced = True
            self._on_ready()

    def _lost(self, worker: Worker) -> int | None:
        """Plan a successor; a worker that fails before all first served means that none will."""
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        self._close(worker)
        self._workers.remove(worker)
        status = worker.process.wait()
        if self._stopping:
            return None
        if not self._announced:
            return status if status > 0 else 1
        age = time.monotonic() - worker.started
        _log.error("a worker ended and is replaced", pid=worker.process.pid, status=status, seconds=round(age, 1))
        self._due.append((time.monotonic() + (RESTART_DELAY if age < RESTART_DELAY else 0.0), worker.command))
        return None

    def _close(self, worker: Worker) -> None:
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()

    def _stop(self) -> None:
        """Ask every worker to drain, and wait for as long as they may take."""
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + self._drain_seconds + GRACE
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("a worker did not drain in time and is killed", pid=worker.process.pid)
                worker.process.kill()
                worker.process.wait()
            self._close(worker)
