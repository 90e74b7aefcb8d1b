"""Files against a small real relay: whole or not at all, at both ends."""

import hashlib
import os
import random
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import InvalidRequest, LocalStateError, MachineRefused, StreamClosed, UnexpectedAnswer
from cmdop_sdk.transfers import get, put
from cmdop_wire.frames import LIMITS, Kind
from tests.sdk.relaying import OPENED, Peer, Script, relaying, run
from tests.sdk.test_running import hear

CONTENT = random.Random(1).randbytes(300_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def dialled(script: Script, use: Callable[[Dialer], Awaitable[None]]) -> None:
    """Run ``script`` against what ``use`` does with a dialer."""

    async def test() -> None:
        async with relaying(script) as relay:
            await use(relay.dialer())

    run(test)


def sending(content: bytes = CONTENT, mode: int = 0o640, **said: Any) -> Script:
    """Return a machine that sends a file, and at its end says ``said`` of it."""

    async def script(peer: Peer) -> None:
        asked = await peer.open(size=len(content), mode=mode)
        assert asked == {"kind": "read_file", "machine": "web-1", "path": "notes.txt"}
        for offset in range(0, len(content), 70_000):
            await peer.output(offset, content[offset : offset + 70_000])
        ending = {"status": 0, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        await peer.word(Kind.EXIT, **{**ending, "sent": {"OUTPUT": len(content), "ERROR": 0}, **said})

    return script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with nothing in it."""
    made = tmp_path / "place"
    made.mkdir()
    return made


def left(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_as_a_value() -> None:
    async def use(dialer: Dialer) -> None:
        got = await get(dialer, "web-1", "notes.txt")
        assert (got.content, got.size, got.sha256, got.mode) == (CONTENT, len(CONTENT), SHA256, 0o640)

    dialled(sending(), use)


def test_a_file_comes_to_a_path_and_replaces_what_was_there(folder: Path) -> None:
    to = folder / "notes.txt"
    to.write_bytes(b"old")
    seen: list[tuple[int, int | None]] = []

    async def use(dialer: Dialer) -> None:
        got = await get(dialer, "web-1", "notes.txt", to, on_progress=lambda *count: seen.append(count))
        assert (got.content, got.size, got.sha256) == (None, len(CONTENT), SHA256)

    dialled(sending(), use)
    assert to.read_bytes() == CONTENT
    assert stat.S_IMODE(to.stat().st_mode) == 0o640 & ~_umask()
    assert left(folder) == ["notes.txt"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_a_machine_cannot_make_a_file_open_to_everybody(folder: Path) -> None:
    async def use(dialer: Dialer) -> None:
        before = os.umask(0o027)
        try:
            await get(dialer, "web-1", "notes.txt", folder / "tool")
        finally:
            os.umask(before)

    dialled(sending(mode=0o106777), use)
    assert stat.S_IMODE((folder / "tool").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    "said", [{"sha256": "0" * 64}, {"size": 5}, {"status": 1}, {"sha256": None}, {"status": None, "signal": "KILL"}]
)
def test_a_file_that_differs_leaves_what_was_there(folder: Path, said: dict[str, Any]) -> None:
    to = folder / "notes.txt"
    to.write_bytes(b"old")

    async def use(dialer: Dialer) -> None:
        with pytest.raises(UnexpectedAnswer, match="differs"):
            await get(dialer, "web-1", "notes.txt", to)
        with pytest.raises(UnexpectedAnswer, match="differs"):
            await get(dialer, "web-1", "notes.txt")

    dialled(sending(**said), use)
    assert to.read_bytes() == b"old"
    assert left(folder) == ["notes.txt"]


def test_a_file_that_breaks_off_leaves_nothing(folder: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open(size=10)
        await peer.output(0, b"12345")
        await peer.word(Kind.CLOSE, reason="machine_removed")
        await peer.close(4404)

    async def use(dialer: Dialer) -> None:
        with pytest.raises(StreamClosed):
            await get(dialer, "web-1", "notes.txt", folder / "new")

    dialled(script, use)
    assert left(folder) == []


def test_a_value_has_a_limit() -> None:
    async def use(dialer: Dialer) -> None:
        with pytest.raises(InvalidRequest, match="give a path"):
            await get(dialer, "web-1", "notes.txt", content_limit=100_000)

    dialled(sending(), use)


def test_places_that_cannot_be_written(folder: Path) -> None:
    (folder / "folder").mkdir()

    async def use(dialer: Dialer) -> None:
        for to in (folder / "folder", folder / "missing" / "x", folder / ("n" * 300)):
            with pytest.raises(LocalStateError) as refused:
                await get(dialer, "web-1", "notes.txt", to)
            assert str(to) in str(refused.value)

    dialled(sending(), use)
    assert left(folder) == ["folder"]


def taking(taken: list[Any], **said: Any) -> Script:
    """Return a machine that takes a file, and at its end says ``said`` of it."""

    async def script(peer: Peer) -> None:
        taken.append(await peer.expect(Kind.OPEN))
        await peer.word(Kind.OPENED, **OPENED)
        content = await hear(peer)
        taken.append(content)
        ending = {"status": 0, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        await peer.word(Kind.EXIT, **{**ending, **said})

    return script


@pytest.mark.parametrize("size", [0, 1, LIMITS.chunk, LIMITS.chunk + 1, 300_001])
def test_a_file_goes_as_bytes(size: int) -> None:
    taken: list[Any] = []

    async def use(dialer: Dialer) -> None:
        sent = await put(dialer, "web-1", "a/b", CONTENT[:size])
        assert (sent.size, sent.mode, sent.content) == (size, 0o644, None)
        assert sent.sha256 == hashlib.sha256(CONTENT[:size]).hexdigest()

    dialled(taking(taken), use)
    opening = {"kind": "write_file", "machine": "web-1", "path": "a/b", "size": size, "mode": 0o644}
    assert taken == [opening, CONTENT[:size]]


def test_a_file_goes_from_a_path_with_its_mode(folder: Path) -> None:
    taken: list[Any] = []
    source = folder / "tool"
    source.write_bytes(CONTENT)
    source.chmod(0o755)

    async def use(dialer: Dialer) -> None:
        assert (await put(dialer, "web-1", "tool", source)).mode == 0o755
        assert (await put(dialer, "web-1", "tool", str(source), mode=0o7700)).mode == 0o700

    dialled(taking(taken), use)
    assert [asked["mode"] for asked in taken[::2]] == [0o755, 0o700]
    assert taken[1::2] == [CONTENT, CONTENT]


@pytest.mark.parametrize("said", [{"sha256": "0" * 64}, {"size": 0}, {"status": 1}])
def test_what_arrives_otherwise_is_an_error(said: dict[str, Any]) -> None:
    async def use(dialer: Dialer) -> None:
        with pytest.raises(UnexpectedAnswer, match="differs"):
            await put(dialer, "web-1", "a", CONTENT)

    dialled(taking([], **said), use)


def test_a_disk_that_is_full_there_is_told(folder: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open()
        await peer.frame()
        await peer.word(Kind.EXIT, status=None, signal="KILL", code="cannot_open", message="no space left on device")

    async def use(dialer: Dialer) -> None:
        with pytest.raises(MachineRefused, match="no space"):
            await put(dialer, "web-1", "a", CONTENT * 5)

    dialled(script, use)


def test_sources_that_cannot_be_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    async def use(dialer: Dialer) -> None:
        for source in (folder / "missing", folder, folder / "pipe"):
            with pytest.raises(LocalStateError) as refused:
                await put(dialer, "web-1", "a", source)
            assert str(source) in str(refused.value)
        for path in ("", "a\0b", "x" * 5000):
            with pytest.raises(InvalidRequest):
                await put(dialer, "web-1", path, b"x")
            with pytest.raises(InvalidRequest):
                await get(dialer, "web-1", path)

    async def nothing(peer: Peer) -> None:
        raise AssertionError("nothing may be sent")

    dialled(nothing, use)
