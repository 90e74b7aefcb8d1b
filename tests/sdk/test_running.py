"""Commands and terminals against a small real relay: what is asked for, what comes back, what is refused here."""

import asyncio
import math
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cmdop_sdk import running
from cmdop_sdk.attached import Terminal
from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import CMDOPError, InvalidRequest, MachineRefused, StreamClosed, TimedOut
from cmdop_sdk.running import CommandResult, RunningCommand, execute
from cmdop_wire import frames
from cmdop_wire.exits import Exit, exit_of
from cmdop_wire.frames import LIMITS, STREAM, Kind
from tests.sdk.relaying import OPENED, Peer, Script, relaying, run


def dialled(script: Script, use: Callable[[Dialer], Awaitable[None]]) -> None:
    """Run ``script`` against what ``use`` does with a dialer."""

    async def test() -> None:
        async with relaying(script) as relay:
            await use(relay.dialer())

    run(test)


def executed(script: Script, *argv: str, **options: Any) -> CommandResult:
    """Return what a command left that a script ran."""
    results: list[CommandResult] = []

    async def use(dialer: Dialer) -> None:
        results.append(await execute(dialer, "web-1", list(argv) or ["true"], **options))

    dialled(script, use)
    return results[0]


async def hear(peer: Peer) -> bytes:
    """Return all input up to its end."""
    heard = bytearray()
    while (frame := await peer.frame()).kind is not Kind.END:
        if frame.kind is Kind.INPUT:
            heard += frames.data_of(frame)[1]
            await peer.send(frames.encode_window(STREAM, Kind.INPUT, len(heard) + LIMITS.input_window))
    return bytes(heard)


def test_a_command_gets_its_input_and_gives_its_output() -> None:
    asked: list[dict[str, Any]] = []
    stdin = bytes(range(256)) * 4000

    async def script(peer: Peer) -> None:
        asked.append(await peer.open())
        assert await hear(peer) == stdin
        await peer.output(0, b"out\xff")
        await peer.output(0, b"err", Kind.ERROR)
        await peer.word(
            Kind.EXIT, status=3, signal=None, timed_out=False, duration=0.25, sent={"OUTPUT": 4, "ERROR": 3}
        )

    result = executed(script, "sort", "-u", stdin=stdin, timeout=5, cwd="/tmp")
    assert (result.exit_code, result.stdout, result.stderr, result.duration) == (3, b"out\xff", b"err", 0.25)
    assert (result.text, result.signal, result.timed_out, result.truncated) == ("out\ufffd", None, False, False)
    assert asked == [
        {"kind": "command", "machine": "web-1", "argv": ["sort", "-u"], "shell": False, "timeout": 5, "cwd": "/tmp"}
    ]


def test_without_input_its_end_is_said() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        assert await hear(peer) == b""
        await peer.word(Kind.EXIT, status=0)

    assert executed(script).exit_code == 0


def test_output_beyond_the_limit_is_read_and_left_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        for offset in range(0, 1000, 100):
            await peer.output(offset, b"x" * 100)
        await peer.output(0, b"y" * 250, Kind.ERROR)
        await peer.word(Kind.EXIT, status=0, sent={"OUTPUT": 1000, "ERROR": 250})

    result = executed(script, output_limit=250)
    assert (len(result.stdout), len(result.stderr), result.truncated) == (250, 250, True)
    assert not executed(script, output_limit=1000).truncated


@pytest.mark.parametrize(
    ("body", "exit_code", "name"),
    [
        ({"status": 0}, 0, None),
        ({"status": 255}, 255, None),
        ({"status": None, "signal": "TERM"}, 128 + signal.SIGTERM, "TERM"),
        ({"status": None, "signal": "KILL", "timed_out": True}, 124, "KILL"),
        ({"status": None, "signal": "NONSENSE"}, 128, "NONSENSE"),
        ({"status": None, "signal": "TERM" * 1000}, 128, None),
        ({"status": 256}, 128, None),
        ({"status": True, "duration": "long", "signal": 7}, 128, None),
        ({"status": 0, "duration": 10**400}, 0, None),
        ({}, 128, None),
    ],
)
def test_an_end_is_a_number_whatever_a_machine_says(body: dict[str, Any], exit_code: int, name: str | None) -> None:
    ended = exit_of(body)
    assert (ended.exit_code, ended.signal, ended.timed_out) == (exit_code, name, body.get("timed_out", False))


def test_a_machine_that_fails_midway_says_why() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"so far")
        body = {"status": None, "signal": "KILL", "code": "cannot_open", "message": "no space left on device"}
        await peer.word(Kind.EXIT, **body, sent={"OUTPUT": 6, "ERROR": 0})

    with pytest.raises(MachineRefused, match="no space left"):
        executed(script)


def test_a_stream_that_is_closed_is_no_result() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.word(Kind.CLOSE, reason="revoked")
        await peer.close(4401, "revoked")

    with pytest.raises(StreamClosed, match="the credential was revoked"):
        executed(script, stdin=b"x" * 1_000_000)


def test_a_machine_that_does_not_keep_its_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.1)
    said: list[Kind] = []

    async def script(peer: Peer) -> None:
        await peer.open()
        while True:
            said.append((await peer.frame()).kind)

    with pytest.raises(TimedOut, match="did not end"):
        executed(script, timeout=0.1)
    assert said == [Kind.END, Kind.CLOSE]


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ("uptime", {}),
        ([], {}),
        ([""], {}),
        (["a", 5], {}),
        (["a\0b"], {}),
        (["\ud800"], {}),
        (["x" * 100_000], {}),
        (["a"], {"timeout": 0}),
        (["a"], {"timeout": -1}),
        (["a"], {"timeout": math.inf}),
        (["a"], {"timeout": math.nan}),
    ],
)
def test_what_cannot_be_a_command_is_refused_here(argv: Any, options: dict[str, Any]) -> None:
    async def use(dialer: Dialer) -> None:
        with pytest.raises(InvalidRequest):
            await execute(dialer, "web-1", argv, **options)

    dialled(_nothing, use)


async def _nothing(peer: Peer) -> None:
    raise AssertionError("nothing may be sent")


def test_a_shell_takes_one_line() -> None:
    asked: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.open())
        await peer.word(Kind.EXIT, status=0)

    executed_line: list[CommandResult] = []

    async def use(dialer: Dialer) -> None:
        executed_line.append(await execute(dialer, "web-1", "ls | wc -l", shell=True))

    dialled(script, use)
    assert (asked[0]["argv"], asked[0]["shell"]) == (["ls | wc -l"], True)


def test_a_running_command_is_read_as_it_writes_and_signalled() -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.output(0, b"ready\n")
        assert await peer.expect(Kind.SIGNAL) == {"name": "INT"}
        await peer.output(0, b"interrupted\n", Kind.ERROR)
        await peer.word(Kind.EXIT, status=None, signal="INT", sent={"OUTPUT": 6, "ERROR": 12})

    async def use(dialer: Dialer) -> None:
        async with RunningCommand(dialer, "web-1", ["sleep", "9"]) as command:
            with pytest.raises(InvalidRequest, match="not ended"):
                command.exit  # noqa: B018
            said = []
            async for where, data in command:
                said.append((where, bytes(data)))
                if len(said) == 1:
                    await command.signal("INT")
        assert said == [("stdout", b"ready\n"), ("stderr", b"interrupted\n")]
        assert command.exit == Exit(exit_code=128 + signal.SIGINT, signal="INT")

    dialled(script, use)


def test_an_operator_types_resizes_and_reads() -> None:
    async def script(peer: Peer) -> None:
        asked = await peer.open()
        assert asked == {"kind": "session", "machine": "web-1", "cols": 100, "rows": 30, "term": "vt100"}
        assert bytes(frames.data_of(await peer.frame())[1]) == "exit ü\r".encode()
        assert await peer.expect(Kind.RESIZE) == {"cols": 90, "rows": 20}
        await peer.output(0, b"bye")
        await peer.word(Kind.EXIT, status=0, sent={"OUTPUT": 3, "ERROR": 0})

    async def use(dialer: Dialer) -> None:
        async with Terminal(dialer, "web-1", cols=100, rows=30, term="vt100") as terminal:
            assert (terminal.session_id, terminal.machine_id) == (OPENED["stream_id"], OPENED["machine"])
            assert (terminal.operator, terminal.exit) == (None, None)
            await terminal.send("exit ü\r")
            await terminal.resize(90, 20)
            for size in ((0, 10), (10, 1001)):
                with pytest.raises(InvalidRequest):
                    await terminal.resize(*size)
            assert [data async for data in terminal] == [b"bye"]
            assert terminal.exit is not None
            assert terminal.exit.exit_code == 0

    dialled(script, use)


def test_an_observer_sees_who_operates() -> None:
    async def script(peer: Peer) -> None:
        assert await peer.expect(Kind.OPEN) == {"kind": "observe", "machine": "ses_1"}
        await peer.word(Kind.OPENED, stream_id="ses_1", observing="ana@example.com", **{"from": {"OUTPUT": 5}})
        await peer.output(5, b"$ ")
        await peer.word(Kind.CLOSE, reason="closed")
        await peer.close(1000)

    async def use(dialer: Dialer) -> None:
        async with Terminal(dialer, "ses_1", mode="observer") as terminal:
            assert terminal.operator == "ana@example.com"
            assert [data async for data in terminal] == [b"$ "]
            with pytest.raises(InvalidRequest, match="only watches"):
                await terminal.send("rm")

    dialled(script, use)


def test_a_mode_that_is_none_is_refused() -> None:
    async def use(dialer: Dialer) -> None:
        with pytest.raises(InvalidRequest, match="operator or observer"):
            Terminal(dialer, "web-1", mode="admin")  # type: ignore[arg-type]

    dialled(_nothing, use)


def test_a_caller_who_is_cancelled_ends_the_command() -> None:
    said: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.open()
        while (frame := await peer.frame()).kind is not Kind.CLOSE:
            pass
        said.append(frames.body_of(frame)["reason"])

    async def use(dialer: Dialer) -> None:
        task = asyncio.create_task(execute(dialer, "web-1", ["sleep", "99"]))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)

    dialled(script, use)
    assert said == ["closed"]


def test_errors_are_all_of_one_root() -> None:
    assert issubclass(StreamClosed, CMDOPError)
    assert issubclass(MachineRefused, CMDOPError)
