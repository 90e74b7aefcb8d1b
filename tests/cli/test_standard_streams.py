"""Our stdin, stdout and stderr as others hand them over: shared, closed, full, unread; and signals from outside."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from cmdop_wire.vocab import Exit
from tests.fleet import Fleet, unique
from tests.terminal import COMMAND, Cmdop, Ran, Terminal, eventually

ECHO = ("connect", "exec", "web-1", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 3")


def redirected(cmdop: Cmdop, how: str, *arguments: str) -> Ran:
    """Run it with redirections as a shell writes them; what is not redirected is read."""
    line = ["sh", "-c", f'exec "$@" {how}', "sh", str(COMMAND), *arguments]
    done = subprocess.run(
        line, input="typed\n", env=cmdop.environ, cwd=cmdop.folder, capture_output=True, text=True, timeout=60
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("how", "code", "out", "err"),
    [
        ("<&-", 3, "out\n", "err\n"),
        ("</dev/null", 3, "out\n", "err\n"),
        ("<file", 3, "in the file\nout\n", "err\n"),
        (">&-", Exit.REMOTE, "", "error: cannot write: bad file descriptor"),
        (">/dev/full", Exit.REMOTE, "", "error: cannot write: no space left on device"),
        ("2>&-", Exit.REMOTE, "typed\nout\n", ""),
        ("<&- >&- 2>&-", Exit.REMOTE, "", ""),
    ],
)
def test_a_command_with_streams_like_these(member: Cmdop, how: str, code: int, out: str, err: str) -> None:
    (member.folder / "file").write_text("in the file\n")
    ran = redirected(member, how, *ECHO)
    assert (ran.code, ran.out) == (code, out), ran
    assert err in ran.err


def test_what_writes_nothing_needs_no_streams(member: Cmdop) -> None:
    assert redirected(member, "<&- >&- 2>&-", "connect", "exec", "web-1", "--", "true").code == 0


def test_a_closed_stdin_is_no_empty_file(member: Cmdop, fleet: Fleet) -> None:
    name = unique("kept")
    (fleet.home / name).write_text("kept")
    ran = redirected(member, "<&-", "connect", "put", "-", f"web-1:{name}")
    assert ran.code == Exit.USAGE
    assert "error: cannot read standard input: bad file descriptor" in ran.err
    assert (fleet.home / name).read_text() == "kept"
    into_nothing = redirected(member, ">&-", "connect", "get", f"web-1:{name}", "-")
    assert into_nothing.code == Exit.BUG
    assert "error: cannot write: bad file descriptor" in into_nothing.err


def test_pipes_stay_blocking_for_who_shares_them(member: Cmdop) -> None:
    feed, typed = os.pipe()
    shown, show = os.pipe()
    process = member.start(
        "connect", "exec", "web-1", "--", "sh", "-c", "cat; yes | head -c 3000000", stdin=feed, stdout=show
    )
    with open(typed, "wb", buffering=0) as typing, open(shown, "rb", buffering=0) as reading:
        typing.write(b"typed\n")
        assert reading.read(6) == b"typed\n"  # by now it has waited for stdin
        typing.close()
        full = select.poll()
        full.register(show, select.POLLOUT)
        eventually(lambda: full.poll(0), lambda writable: not writable)  # from here on it waits for stdout
        count = 0
        while count < 3_000_000:
            count += len(reading.read(65536))
        assert process.wait(60) == 0
        assert (os.get_blocking(feed), os.get_blocking(show)) == (True, True)
    os.close(feed)
    os.close(show)


def test_a_terminal_stays_blocking_for_the_shell_that_has_it(member: Cmdop, terminal: Callable[..., Terminal]) -> None:
    told = f"{sys.executable} -c 'import os; print(*(os.get_blocking(each) for each in range(3)))'"
    shown = terminal(["sh", "-c", f"{COMMAND} connect web-1; {told}"], member.environ)
    shown.until("Ctrl-D ends the shell")
    shown.type("echo typed-$((40+2))\r")
    shown.until("typed-42")
    shown.type("exit\r")
    shown.until("True True True")


def test_a_pipe_that_nobody_reads_and_that_is_closed_ends_it(member: Cmdop) -> None:
    process = member.start("connect", "exec", "web-1", "--", "yes", text=False)
    assert process.stdout is not None
    capacity = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
    unread = bytes(4)
    eventually(
        lambda: struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, unread))[0],
        lambda count: count >= min(capacity, 65536) - select.PIPE_BUF,
    )
    process.stdout.close()
    assert process.wait(60) == Exit.DONE
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_hang_up_ends_what_was_begun(member: Cmdop, fleet: Fleet) -> None:
    name = unique("half")
    process = member.start("connect", "put", "-", f"web-1:{name}", stdin=subprocess.PIPE, text=False)
    assert process.stdin is not None
    process.stdin.write(bytes(1000))
    process.stdin.flush()
    eventually(lambda: [*fleet.home.glob(f".{name}.*")], bool)  # it is being written
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == Exit.TERMINATED
    eventually(lambda: [*fleet.home.glob(f".{name}.*")], lambda left: not left, seconds=20)  # less than the grace
    process.stdin.close()
    assert not (fleet.home / name).exists()


def test_under_nohup_a_hang_up_is_nothing(member: Cmdop) -> None:
    process = subprocess.Popen(
        ["nohup", COMMAND, "connect", "exec", "web-1", "--", "sh", "-c", "echo begun; read line; echo $line"],
        env=member.environ, cwd=member.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate("ended\n", timeout=60)[0] == "ended\n"
    assert process.returncode == 0
