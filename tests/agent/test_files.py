"""Files below one root, over a real link: whole, in place, and never outside of it, whatever is swapped meanwhile."""

import asyncio
import contextlib
import hashlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_agent.environment import Account
from cmdop_agent.files import Replacement, open_for_reading, parts_below
from cmdop_agent.refusals import Refusal
from cmdop_agent.rights import acting_as, can_act
from cmdop_agent.rules import Rule
from cmdop_wire.frames import LIMITS, Kind
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict
from tests.agent.relay import Call, Relay, run, running

SECRET = "nobody may read this"


@pytest.fixture
def home() -> Path:
    """The root of files."""
    return Path(os.environ["HOME"])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the root with a secret in it."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_text(SECRET)
    return made


async def put(there: Relay, path: str, content: bytes, **fields: Any) -> Call:
    """Write a file and return the call, which has ended or was refused."""
    call = there.call("write_file", path=path, **fields)
    kind, body = await call.told.get()
    if kind is Kind.REFUSED:
        call.opened = body
        return call
    for start in range(0, len(content), LIMITS.chunk):
        piece = content[start : start + LIMITS.chunk]
        await call.until(lambda call, piece=piece: call.input.room >= len(piece))
        call.type(piece)
    call.end_input()
    await call.ended()
    return call


async def get(there: Relay, path: str, **fields: Any) -> Call:
    """Read a file and return the call, which has ended or was refused."""
    call = there.call("read_file", path=path, **fields)
    kind, body = await call.told.get()
    if kind is Kind.REFUSED:
        call.opened = body
    else:
        await call.ended()
    return call


@pytest.mark.parametrize("size", [0, 1, LIMITS.chunk, 3 * LIMITS.window + 17])
def test_what_is_put_can_be_got(home: Path, size: int) -> None:
    content = os.urandom(size)
    digest = hashlib.sha256(content).hexdigest()

    async def whole() -> None:
        async with running() as (_, there):
            written = await put(there, "new.bin", content, mode=0o4755)
            assert written.exit == {"status": 0, "size": size, "sha256": digest, "sent": {"OUTPUT": 0, "ERROR": 0}}
            assert (home / "new.bin").read_bytes() == content
            assert (home / "new.bin").stat().st_mode & 0o7777 == 0o755
            read = await get(there, "~/new.bin")
            assert read.exit is not None
            assert (read.exit["sha256"], read.exit["size"]) == (digest, size)
            assert read.opened["size"] == size
            assert read.opened["mode"] == 0o755
            assert bytes(read.out[Kind.OUTPUT]) == content
            assert [path.name for path in home.iterdir() if path.name.endswith(".part")] == []

    run(whole)


def test_an_upload_that_is_given_up_leaves_the_old_file(home: Path) -> None:
    (home / "kept").write_text("old")

    async def whole() -> None:
        async with running() as (_, there):
            call = there.call("write_file", path="kept")
            await call.next(Kind.OPENED)
            call.type(b"new")
            call.close()
            assert (await get(there, "kept")).text == "old"
            assert sorted(path.name for path in home.iterdir()) == ["cmdop", "kept"]

    run(whole)


def test_a_transfer_goes_on_after_a_lost_link(home: Path) -> None:
    content = os.urandom(5_000_000)
    (home / "big").write_bytes(content)

    async def whole() -> None:
        async with running() as (_, there):
            call = there.call("read_file", path="big")
            for cut in range(1, 4):
                await call.until(lambda call, cut=cut: len(call.out[Kind.OUTPUT]) > cut * 1_000_000)
                there.cut()
                await there.until(lambda there, cut=cut: len(there.hellos) == cut + 1)
                there.resume(call)
            await call.ended()
            assert bytes(call.out[Kind.OUTPUT]) == content

    run(whole)


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret",
        "x/../../outside/secret",
        "/etc/passwd",
        "/",
        "",
        ".",
        "..",
        "~",
        "~root/x",
        "link",
        "folder-link/secret",
        "a\0b",
        "x" * 5000,
        "fifo",
        "socket",
        "folder",
        "loop",
        "/proc/self/environ",
        "folder/../../outside/secret",
        "%2e%2e/outside/secret",
        "\u2025/outside/secret",
    ],
)
@pytest.mark.parametrize("kind", ["read_file", "write_file"])
def test_nothing_outside_and_nothing_but_files(
    home: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    (home / "link").symlink_to(outside / "secret")
    (home / "folder-link").symlink_to(outside)
    (home / "loop").symlink_to(home / "loop")
    (home / "folder").mkdir()
    os.mkfifo(home / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(home)  # the path may be longer than an address
        listening.bind("socket")

        async def whole() -> None:
            async with running() as (_, there):
                call = await (put(there, path, b"changed") if kind == "write_file" else get(there, path))
                assert call.exit is None, call.exit
                assert call.opened["code"] in ("outside_root", "not_a_file", "no_such_file", "invalid", "cannot_open")

        run(whole)
    assert (outside / "secret").read_text() == SECRET
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_the_agent_s_own_files_are_out_of_reach_in_every_mode() -> None:
    everything = [Rule(GateVerdict.ALLOW, operation) for operation in GateOperation]

    async def whole() -> None:
        async with running(GateMode.BYPASS, *everything) as (_, there):
            for path in ("cmdop/agent/permissions.yaml", "~/cmdop/agent/machine.json", "./cmdop//state.json"):
                for call in (await get(there, path), await put(there, path, b"mode: bypass")):
                    assert call.opened["code"] == "gate_denied"
                    assert "never allowed" in call.opened["message"]

    run(whole)


def test_files_pass_the_gate_by_their_real_path(home: Path) -> None:
    rules = [
        Rule(GateVerdict.ALLOW, GateOperation.READ_FILE, "~/notes/**"),
        Rule(GateVerdict.DENY, GateOperation.READ_FILE, f"{home}/notes/private/*"),
    ]
    (home / "notes" / "private").mkdir(parents=True)
    for name in ("notes/a", "notes/private/b", "c"):
        (home / name).write_text(name)

    async def whole() -> None:
        async with running(GateMode.STRICT, *rules) as (_, there):
            assert (await get(there, "notes/a")).text == "notes/a"
            assert (await get(there, "notes//./a")).text == "notes/a"
            for path in ("notes/private/b", "notes/./private//b", f"{home}/notes/private/b", "c", "notes/../c"):
                assert (await get(there, path)).exit is None
            assert (await put(there, "notes/a", b"x")).opened["code"] == "gate_denied"

    run(whole)


@given(st.text(max_size=40))
def test_parts_never_lead_up(path: str) -> None:
    try:
        parts = parts_below("/home/ann", path)
    except Refusal:
        return
    assert parts
    assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)


def test_a_thousand_swaps_never_lead_outside(home: Path, outside: Path) -> None:
    """While another process keeps swapping folders and files for links, every read and write stays inside."""
    inside = home / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "secret").write_text("inside")
    (home / "links").mkdir()
    (home / "links" / "b").symlink_to(outside)
    (home / "links" / "secret").symlink_to(outside / "secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for real, link in (
                (home / "a" / "b", home / "links" / "b"),
                (inside / "secret", home / "links" / "secret"),
            ):
                aside = home / "aside"
                try:
                    real.rename(aside)
                    real.symlink_to(link.readlink())
                    real.unlink()
                    aside.rename(real)
                except OSError:  # the replacement that is being made has moved something, too
                    with contextlib.suppress(OSError):
                        aside.rename(real)

    swapping = threading.Thread(target=swap)
    swapping.start()
    number = read = 0
    deadline = time.monotonic() + 60
    try:
        while number < 1000 or read < 10:
            number += 1
            assert time.monotonic() < deadline, f"{read} of {number} read"
            parts = ["a", "b", "secret"]
            try:
                opened, _ = open_for_reading(str(home), parts)
                content = os.read(opened, 100)
                os.close(opened)
                assert content == b"inside", content
                read += 1
                if number % 10 == 0:
                    replacement = Replacement(str(home), ["a", "b", f"new-{number}"])
                    replacement.keep(0o600)
                    replacement.close()
            except (Refusal, OSError):
                continue
    finally:
        stop.set()
        swapping.join()
    assert (outside / "secret").read_text() == SECRET
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_a_transfer_that_is_cut_short_lets_its_descriptor_go_only_when_nobody_uses_it(home: Path) -> None:
    (home / "big").write_bytes(b"x" * 50_000_000)

    async def whole() -> None:
        async with running() as (agent, there):
            await get(there, "no-such-file")
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(30):
                call = there.call("read_file", path="big")
                await call.next(Kind.OPENED)
                call.close()
                other = there.call("write_file", path="other")
                await other.next(Kind.OPENED)
                other.type(b"y" * 100_000)
                other.close()
            async with asyncio.timeout(10):
                while len(agent.channels):
                    await asyncio.sleep(0.01)
            assert len(list(Path("/proc/self/fd").iterdir())) == before

    run(whole)


def test_files_are_touched_with_the_account_s_rights_where_there_is_one(tmp_path: Path) -> None:
    nobody = Account("nobody", 65534, 65534, (65534,), str(tmp_path), "/bin/sh")
    tmp_path.chmod(0o777)
    (tmp_path / "private").write_text("root's")
    (tmp_path / "private").chmod(0o600)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    if not can_act():
        with pytest.raises(OSError, match=r"rights|groups"), acting_as(nobody):
            raise AssertionError("an account's rights are taken by root only")
        return
    with pytest.raises(PermissionError), acting_as(nobody):
        open_for_reading(str(tmp_path), ["private"])
    opened, _ = open_for_reading(str(tmp_path), ["private"])
    os.close(opened)
    replacement = Replacement(str(tmp_path), ["made"], nobody)
    replacement.keep(0o640)
    replacement.close()
    assert ((tmp_path / "made").stat().st_uid, (tmp_path / "made").stat().st_gid) == (65534, 65534)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o640
