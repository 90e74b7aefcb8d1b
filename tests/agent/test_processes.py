"""Processes and pseudo-terminals for real: sizes, signals, full screens, groups that end, and nothing that leaks."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pyte
import pytest

from cmdop_agent.children import Ended, is_descendant, members_of
from cmdop_agent.commands import spawn_on_pipes
from cmdop_agent.control import until
from cmdop_agent.environment import child_environment, login_shell
from cmdop_agent.processes import Process
from cmdop_agent.pty import spawn_on_terminal
from tests.agent.relay import run
from tests.tools import tool

PLENTY = 1 << 17


class Far:
    """What a caller far away would see of a process: a screen, or two streams; and how much of them it reads."""

    def __init__(self, cols: int = 80, rows: int = 24) -> None:
        self.out, self.errors = bytearray(), bytearray()
        self.screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.room = PLENTY
        self.taken = 0
        self.news = asyncio.Event()

    def output(self, data: bytes) -> None:
        """Take output."""
        self.room -= len(data)
        self.out += data
        self._stream.feed(data)
        self.news.set()

    def error(self, data: bytes) -> None:
        """Take standard error."""
        self.errors += data
        self.news.set()

    def used(self, size: int) -> None:
        """Note that input was taken."""
        self.taken += size

    @property
    def text(self) -> str:
        """Return what the screen shows."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    async def until(self, shown: Callable[[str], object], process: Process) -> None:
        """Wait until the screen shows it."""
        async with asyncio.timeout(20):
            while not shown(self.text):
                self.room = PLENTY
                process.resume()
                self.news.clear()
                await until(self.news.wait(), 0.05)


def on_terminal(far: Far, *argv: str) -> Process:
    """Start a program on a terminal as large as the far screen."""
    process = spawn_on_terminal(
        argv, child_environment("linux"), cwd="/", cols=far.screen.columns, rows=far.screen.lines,
        room=lambda: far.room, deliver=far.output, taken=far.used,
    )  # fmt: skip
    process.resume()
    return process


def on_pipes(far: Far, *argv: str) -> Process:
    """Start a program on pipes."""
    process = spawn_on_pipes(
        argv, child_environment(), cwd="/", rooms=(lambda: far.room, lambda: PLENTY),
        deliver=(far.output, far.error), taken=far.used,
    )  # fmt: skip
    process.resume()
    return process


async def ended(process: Process) -> Ended:
    """Wait for the end and let the process go."""
    async with asyncio.timeout(20):
        end = await process.wait()
    process.release()
    return end


def alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def gone(pids: Sequence[int]) -> bool:
    """Wait a moment for processes to go, and tell whether they did."""
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


def test_a_command_has_two_streams_its_status_and_its_input() -> None:
    async def whole() -> None:
        far = Far()
        process = on_pipes(far, "sh", "-c", "cat; echo oops >&2; exit 5")
        assert process.inlet is not None
        process.inlet.write(b"hello ")
        process.inlet.write(b"there")
        process.inlet.end()
        assert await ended(process) == Ended(5, None)
        assert (far.out, far.errors, far.taken) == (b"hello there", b"oops\n", 11)

    run(whole)


def test_input_for_who_does_not_read_waits_and_counts_as_used_when_he_leaves() -> None:
    async def whole() -> None:
        far = Far()
        process = on_pipes(far, "sh", "-c", "sleep 0.3")
        assert process.inlet is not None
        for _ in range(8):
            process.inlet.write(b"x" * 65_536)
        assert far.taken < 8 * 65_536
        assert await ended(process) == Ended(0, None)
        process.inlet.write(b"late")
        async with asyncio.timeout(5):
            while far.taken < 8 * 65_536 + 4:
                await asyncio.sleep(0.01)

    run(whole)


def test_a_reader_without_room_pauses_the_process_and_loses_nothing_of_its_end() -> None:
    async def whole() -> None:
        far = Far()
        far.room = 1000
        process = on_pipes(far, "sh", "-c", "head -c 100000 /dev/zero; echo last words")
        await process.child.ended.wait()  # everything fits into the pipe, so it has ended; we have read a hundredth
        waiting = asyncio.create_task(ended(process))
        done, _ = await asyncio.wait([waiting], timeout=1.5)
        assert not done
        assert len(far.out) == 1000
        while not waiting.done():
            far.room = 3000
            process.resume()
            await asyncio.sleep(0)
        assert len(far.out) == 100_000 + 11
        assert far.out.endswith(b"last words\n")

    run(whole)


def test_who_stays_behind_with_the_pipe_does_not_hold_up_the_end_and_is_let_alone() -> None:
    async def whole() -> None:
        far = Far()
        started = time.monotonic()
        assert await ended(on_pipes(far, "sh", "-c", "sleep 60 & echo $!")) == Ended(0, None)
        assert time.monotonic() - started < 5
        left = int(far.out)
        assert alive(left)
        os.kill(left, signal.SIGKILL)

    run(whole)


def test_a_terminal_is_one_and_has_the_size_that_was_asked_for() -> None:
    async def whole() -> None:
        far = Far(100, 30)
        process = on_terminal(far, "sh", "-c", "stty size; test -t 0 && test -t 1 && test -t 2 && tty; stty -a")
        assert await ended(process) == Ended(0, None)
        assert "30 100" in far.text
        assert "/dev/" in far.text
        assert "-iutf8" not in far.text.replace("\n", "") or sys.platform != "linux"

    run(whole)


def test_a_resize_reaches_the_program() -> None:
    async def whole() -> None:
        far = Far()
        process = on_terminal(far, "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
        await far.until(lambda text: "ready" in text, process)
        process.resize(132, 50)
        await far.until(lambda text: "50 132" in text, process)
        await process.end()
        process.release()

    run(whole)


def in_front(process: Process) -> str:
    """Return the name of the program that leads the foreground, ``""`` when it has just gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process._foreground()).name()
    return ""


def test_signals_go_to_the_foreground_and_a_typed_interrupt_too() -> None:
    async def whole() -> None:
        far = Far()
        process = on_terminal(far, "bash", "--norc", "-i")
        assert process.inlet is not None
        await far.until(lambda text: "$" in text or "#" in text, process)
        process.inlet.write(b"sleep 1000\n")
        await far.until(lambda _: in_front(process) == "sleep", process)
        process.send_signal("INT")
        await far.until(lambda _: in_front(process) == "bash", process)
        process.inlet.write(b"echo still $((40 + 2))\n")
        await far.until(lambda text: "still 42" in text, process)
        process.inlet.write(b"cat\n")
        await far.until(lambda _: in_front(process) == "cat", process)
        process.inlet.write(b"\x03")
        await far.until(lambda text: "^C" in text and in_front(process) == "bash", process)
        process.inlet.write(b"exit 3\n")
        assert await ended(process) == Ended(3, None)

    run(whole)


def test_a_killed_program_tells_by_which_signal() -> None:
    async def whole() -> None:
        process = on_pipes(Far(), "sleep", "1000")
        process.send_signal("USR1")
        assert await ended(process) == Ended(None, "USR1")

    run(whole)


@pytest.mark.parametrize("typed", [b"", b"half a line"])
def test_the_end_of_input_ends_a_shell_on_a_terminal(typed: bytes) -> None:
    async def whole() -> None:
        far = Far()
        process = on_terminal(far, "cat")
        assert process.inlet is not None
        if typed:
            process.inlet.write(typed)
        process.inlet.end()
        assert await ended(process) == Ended(0, None)
        assert far.taken == len(typed)

    run(whole)


def test_vim_edits_a_file(tmp_path: Path) -> None:
    async def whole() -> None:
        far, file = Far(90, 20), tmp_path / "poem.txt"
        process = on_terminal(far, tool("vim"), "-Nu", "NONE", "-n", str(file))
        assert process.inlet is not None
        await far.until(lambda text: "poem.txt" in text and "~" in text, process)
        process.inlet.write("iÄpfel, 梨, 🍐\x1b".encode())
        await far.until(lambda text: "Äpfel, 梨" in text.replace("梨 ", "梨"), process)
        process.inlet.write(b":wq\r")
        assert await ended(process) == Ended(0, None)
        assert file.read_text() == "Äpfel, 梨, 🍐\n"

    run(whole)


def test_less_pages(tmp_path: Path) -> None:
    async def whole() -> None:
        far, file = Far(60, 10), tmp_path / "long.txt"
        file.write_text("".join(f"line {number}\n" for number in range(1, 101)))
        process = on_terminal(far, tool("less"), str(file))
        assert process.inlet is not None
        await far.until(lambda text: "line 1\n" in text, process)
        process.inlet.write(b"G")
        await far.until(lambda text: "line 100" in text, process)
        process.inlet.write(b"g")
        await far.until(lambda text: "line 1\n" in text and "line 100" not in text, process)
        process.inlet.write(b"q")
        assert await ended(process) == Ended(0, None)

    run(whole)


STUBBORN = "trap '' HUP TERM INT; echo $$; (trap '' HUP TERM; echo $BASHPID; while :; do sleep 1; done) & wait"


@pytest.mark.parametrize("start", [on_pipes, on_terminal])
def test_a_group_that_does_not_listen_ends_with_all_its_members(start: Callable[..., Process]) -> None:
    async def whole() -> None:
        far = Far()
        process = start(far, "bash", "-c", STUBBORN)
        async with asyncio.timeout(10):
            while len(far.out.split()) < 2:
                await far.news.wait()
                far.news.clear()
        pids = [int(word) for word in far.out.split()]
        members = [member.pid for member in members_of(process.child.pid) or ()]
        assert set(pids) <= set(members)
        await process.end()
        process.release()
        assert gone([*pids, *members])

    run(whole)


def test_a_command_ends_with_the_groups_that_its_shell_made() -> None:
    async def whole() -> None:
        far = Far()
        process = on_pipes(far, "bash", "-c", "set -m; sleep 1000 & echo $!; wait")
        async with asyncio.timeout(10):
            while not far.out.endswith(b"\n"):
                await far.news.wait()
                far.news.clear()
        await process.end()
        process.release()
        assert gone([int(far.out)])

    run(whole)


def test_a_shell_that_is_hung_up_on_takes_its_jobs_with_it() -> None:
    async def whole() -> None:
        far = Far()
        process = on_terminal(far, "bash", "--norc", "-i")
        assert process.inlet is not None
        process.inlet.write(b"sleep 1000 & echo pid=$!.\n")
        await far.until(lambda text: re.search(r"pid=(\d+)\.", text), process)
        job = int(re.findall(r"pid=(\d+)\.", far.text)[0])
        await process.end()
        process.release()
        assert gone([job])

    run(whole)


LATE = "trap 'set -m; sleep 1000 & echo pid=$!.; exit' HUP; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("start", [on_pipes, on_terminal])
def test_a_job_that_begins_when_its_shell_is_hung_up_on_ends_too(start: Callable[..., Process]) -> None:
    async def whole() -> None:
        far = Far()
        process = start(far, "bash", "-c", LATE)
        async with asyncio.timeout(30):
            while b"ready" not in far.out:
                await far.news.wait()
                far.news.clear()
        await process.end()
        for outlet in process.outlets:
            await outlet.drained()
        process.release()
        assert gone([int(bytes(far.out).partition(b"pid=")[2].partition(b".")[0])])

    run(whole)


def test_what_was_ignored_by_the_agent_is_not_ignored_by_its_children() -> None:
    async def whole() -> None:
        far = Far()
        assert await ended(on_pipes(far, "grep", "SigIgn", "/proc/self/status")) == Ended(0, None)
        ignored = int(far.out.split()[1], 16)
        assert not ignored & (1 << (signal.SIGPIPE - 1))

    run(whole)


def test_a_program_that_cannot_be_started_leaves_nothing_open() -> None:
    async def whole() -> None:
        before = open_descriptors()
        for start in (on_pipes, on_terminal):
            for argv in (["/no/such/program"], ["/etc/passwd"], ["/"], ["\0"]):
                with pytest.raises((OSError, ValueError)):
                    start(Far(), *argv)
        assert open_descriptors() == before

    run(whole)


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def zombies() -> list[int]:
    """Return the dead children of this process."""
    return [child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_opening_and_closing_leaks_nothing(count: int) -> None:
    async def whole() -> None:
        await ended(on_terminal(Far(), "true"))
        before = (open_descriptors(), len(psutil.Process().children()), zombies())
        for number in range(count):
            far = Far()
            if number % 3 == 0:
                process = on_terminal(far, "sh", "-c", "echo x; sleep 1000")
                await far.until(lambda text: "x" in text, process)
                await process.end()
                process.release()
            else:
                await ended((on_terminal if number % 3 == 1 else on_pipes)(far, "true"))
        assert (open_descriptors(), len(psutil.Process().children()), zombies()) == before

    run(whole)


# -- whose rights, which environment, who descends -------------------------------------------------------------------


def test_the_environment_is_an_allow_list() -> None:
    given = {
        "HOME": "/home/ann", "USER": "ann", "LANG": "de_DE.UTF-8", "LC_TIME": "C", "LC_x=y": "1", "TZ": "UTC",
        "PATH": ".::/usr/bin:bin:/bin", "TERM": "dumb", "EDITOR": "vi",
        **dict.fromkeys(["LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONHOME"], "/"),
        **dict.fromkeys(["CMDOP_API_KEY", "CMDOP_CONFIG_DIR", "BASH_ENV", "ENV", "PERL5OPT", "NODE_OPTIONS"], "/x"),
        **dict.fromkeys(["GIT_SSH_COMMAND", "IFS", "PS4", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY"], "/x"),
    }  # fmt: skip
    kept = child_environment(source=given)
    assert set(kept) == {"HOME", "USER", "LANG", "LC_TIME", "TZ", "PATH", "LOGNAME", "SHELL"}
    assert kept["PATH"] == "/usr/bin:/bin"
    assert child_environment("vt100", source=given)["TERM"] == "vt100"
    assert child_environment("x\nLD_PRELOAD=/x", source=given)["TERM"] == "xterm-256color"
    assert child_environment(source={})["PATH"].startswith("/usr/local/sbin:")


def test_a_login_shell_is_the_account_s() -> None:
    shell, option = login_shell()
    assert (Path(shell).is_absolute(), option) == (True, "-l")


def test_who_descends_from_whom() -> None:
    me = os.getpid()
    assert is_descendant(me, me)
    assert is_descendant(me, os.getppid())
    assert not is_descendant(os.getppid(), me)
    assert not is_descendant(1, me)
    assert is_descendant(0, me)  # a peer that the system does not name
    assert is_descendant(2**22 + 1, me)  # nor one that is gone


IGNORING = """
import asyncio, ctypes, os, signal, sys
from cmdop_agent.daemon import serve
from cmdop_cli import loops
from cmdop_wire.vocab import GateMode
from tests.agent.relay import Agent, Permissions, facts, own_folder, registration, relay
for number in (signal.SIGUSR1, signal.SIGTSTP, signal.SIGALRM, signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP})
inherited = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(inherited, True)
async def whole():
    async with relay() as there:
        agent = Agent(own_folder(), registration(there.url), facts("0", "w"), say=lambda _: None)
        agent.permissions.write(Permissions(GateMode.BYPASS))
        serving = asyncio.create_task(serve(agent))
        await there.linked()
        for kind in ("command", "session"):
            call = there.call(kind, argv=["sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/$$/fd"])
            await call.ended()
            print(*call.text.split())
        if sys.argv[2:]:
            print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
        os.kill(os.getpid(), signal.SIGUSR1)  # still ignored by the agent itself
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
with asyncio.Runner(loop_factory=loops.fast() if sys.argv[1] == "fast" else None) as runner:
    runner.run(whole())
"""


def _without_the_c_library_s(word: str) -> str:
    """Return a mask of signals without 32 and 33, which nobody but the C library can set: make leaves them ignored."""
    return f"{int(word, 16) & ~(0b11 << 31):016x}" if len(word) == 16 else word


@pytest.mark.parametrize("loop", ["fast", "own"])
def test_children_inherit_no_ignored_or_blocked_signal_and_no_descriptor(loop: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", IGNORING, loop], capture_output=True, text=True, check=False, timeout=30
    )
    held = [[_without_the_c_library_s(word) for word in line.split()] for line in told.stdout.splitlines()]
    nothing = ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    # A shell on a terminal keeps the script's own descriptors above 9.
    assert [[word for word in words if word != "10"] for words in held] == [[*nothing, "0", "1", "2"]] * 2, told


def test_nobody_of_the_same_user_looks_into_the_agent() -> None:
    told = subprocess.run(
        [sys.executable, "-c", IGNORING, "fast", "dumpable"], capture_output=True, text=True, check=False, timeout=30
    )
    assert told.stdout.splitlines()[-1] == "0", told


ADOPTING = """
import os, signal, subprocess, time
from cmdop_agent.children import adopt_orphans, is_descendant, sweep
adopt_orphans()
signal.signal(signal.SIGCHLD, lambda *_: sweep())
read, write = os.pipe()
detached = "setsid sh -c 'sleep 0.3; echo $$; exec sleep 30' & exit"
subprocess.run(["sh", "-c", detached], stdout=write, check=True)
pid = int(os.read(read, 100))
print(os.path.exists(f"/proc/{pid}"), is_descendant(pid, os.getpid()))
os.kill(pid, signal.SIGKILL)
for _ in range(200):
    if not os.path.exists(f"/proc/{pid}"):
        break
    time.sleep(0.02)
print(os.path.exists(f"/proc/{pid}"))
"""


def test_a_process_that_detached_itself_is_still_known_and_is_buried() -> None:
    told = subprocess.run([sys.executable, "-c", ADOPTING], capture_output=True, text=True, check=False)
    assert told.stdout.split() == ["True", "True", "False"], told.stderr
