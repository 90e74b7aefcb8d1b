"""Files to and from a machine, each over a websocket of its own, with SHA-256 compared at the end.

Loads no HTTP client; ``client.files`` and the command line both stand on it.
"""

import asyncio
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import InvalidRequest, LocalStateError, UnexpectedAnswer
from cmdop_sdk.stream import OnNotice, Stream, ignore
from cmdop_wire.frames import LIMITS

CONTENT_LIMIT = 64 * 1024 * 1024  # bytes returned as a value; larger files go to a path
DEFAULT_MODE = 0o644
AT_ONCE = LIMITS.window // 2  # bytes of a file for which one thread is worth its while

OnProgress = Callable[[int, int | None], None]
"""Takes how many bytes have gone and how many there are, if that is known; called in the event loop."""


def unwatched(_: int, __: int | None) -> None:
    """Take no notice of progress."""


class Transferred(Struct, frozen=True, kw_only=True):
    """A file that went over, whole: ``sha256`` (hex) was computed at both ends and is the same.

    ``mode`` are its permission bits; ``content`` is set when it was asked for as a value.
    """

    size: int
    sha256: str
    mode: int
    content: bytes | None = None


async def get(
    dialer: Dialer,
    machine: str,
    path: str,
    to: "os.PathLike[str] | str | None" = None,
    *,
    content_limit: int = CONTENT_LIMIT,
    on_notice: OnNotice = ignore,
    on_progress: OnProgress = unwatched,
) -> Transferred:
    """Bring a file; see ``FilesResource.get``."""
    opening = {"kind": "read_file", "machine": machine, "path": checked_path(path)}
    async with Stream(dialer, opening, on_notice=on_notice) as stream:
        size, mode = _count(stream.opened, "size"), _count(stream.opened, "mode") or DEFAULT_MODE
        if to is None:
            content = bytearray()

            def keep(data: memoryview) -> None:
                if len(content) + len(data) > content_limit:
                    raise InvalidRequest(f"the file has more than {content_limit} bytes; give a path to keep it at")
                content.extend(data)

            done = await _received(stream, keep, size, on_progress)
            return Transferred(size=done[0], sha256=done[1], mode=mode & 0o777, content=bytes(content))
        with Replacement(Path(to), mode & 0o777) as replacement:
            done = await _received(stream, replacement.write, size, on_progress, is_slow=True)
            await asyncio.to_thread(replacement.keep)
        return Transferred(size=done[0], sha256=done[1], mode=mode & 0o777)


async def _received(
    stream: Stream, keep: Callable[[memoryview], None], size: int | None, on_progress: OnProgress, is_slow: bool = False
) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    waiting: list[memoryview] = []

    def take() -> None:
        for data in waiting:
            digest.update(data)
            keep(data)
        waiting.clear()

    async for piece in stream:
        waiting.append(piece.data)
        count += len(piece.data)
        if not is_slow:
            take()
        elif sum(map(len, waiting)) >= AT_ONCE:
            await asyncio.to_thread(take)  # a slow disk holds up nobody else
        on_progress(count, size)
    if waiting:
        await asyncio.to_thread(take)
    _compare(stream.exit, count, digest.hexdigest())
    return count, digest.hexdigest()


async def put(
    dialer: Dialer,
    machine: str,
    path: str,
    source: "bytes | os.PathLike[str] | str",
    *,
    mode: int | None = None,
    on_notice: OnNotice = ignore,
    on_progress: OnProgress = unwatched,
) -> Transferred:
    """Send a file; see ``FilesResource.put``."""
    if isinstance(source, bytes):
        return await _sent(
            dialer, machine, path, memoryview(source), len(source), mode, on_notice=on_notice, on_progress=on_progress
        )
    with _opened(Path(source)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise LocalStateError(f"{source} is not a plain file", path=source)
        mode = stat.S_IMODE(found.st_mode) & 0o777 if mode is None else mode
        return await _sent(
            dialer, machine, path, file, found.st_size, mode, on_notice=on_notice, on_progress=on_progress
        )


async def _sent(
    dialer: Dialer,
    machine: str,
    path: str,
    source: memoryview | BinaryIO,
    size: int,
    mode: int | None,
    *,
    on_notice: OnNotice,
    on_progress: OnProgress,
) -> Transferred:
    mode = DEFAULT_MODE if mode is None else mode & 0o777
    opening = {"kind": "write_file", "machine": machine, "path": checked_path(path), "size": size, "mode": mode}
    digest, count = hashlib.sha256(), 0

    def read(file: BinaryIO) -> bytes:
        data = file.read(AT_ONCE)
        digest.update(data)
        return data

    async with Stream(dialer, opening, on_notice=on_notice) as stream:
        while True:
            if isinstance(source, memoryview):
                piece = bytes(source[count : count + LIMITS.chunk])
                digest.update(piece)
            else:
                piece = await asyncio.to_thread(read, source)
            if not piece:
                break
            count += len(piece)
            await stream.send(piece)
            on_progress(count, size)
        await stream.end_input()
        async for _ in stream:
            pass  # it says nothing but how it ended
        _compare(stream.exit, count, digest.hexdigest())
    return Transferred(size=count, sha256=digest.hexdigest(), mode=mode)


def _opened(path: Path) -> BinaryIO:
    try:
        # Without waiting: opening a pipe would hang before it can be refused.
        return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)), "rb")
    except OSError as failure:
        raise _unusable("read", path, failure) from failure


def _compare(ended: Mapping[str, Any] | None, size: int, sha256: str) -> None:
    said = ended or {}
    if (said.get("status"), said.get("size"), said.get("sha256")) != (0, size, sha256):
        raise UnexpectedAnswer(
            f"the file differs between here and there: {size} bytes here, {said.get('size')} at the machine",
            details={"size": size, "sha256": sha256},
        )


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    return value if type(value) is int and value >= 0 else None


def checked_path(path: str) -> str:
    """Return a path on a machine: absolute, or relative to the folder that the machine shares."""
    if not path or "\0" in path or len(path) > 4096:
        raise InvalidRequest("a path has 1 to 4096 characters and no NUL", details={"field": "path"})
    return path


class Replacement:
    """A file written beside its place under another name, and put there by ``keep``; else nothing is left of it."""

    def __init__(self, path: Path, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")

    def __enter__(self) -> "Replacement":
        try:
            if self._path.is_dir():
                raise LocalStateError(f"{self._path} is a folder", path=self._path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._opened = os.open(self._temporary, flags, self._mode)  # less what the umask takes away
        except OSError as failure:
            raise _unusable("write", self._path, failure) from failure
        return self

    def write(self, data: memoryview) -> None:
        """Append; ``LocalStateError`` when the disk does not take it."""
        try:
            while data:
                data = data[os.write(self._opened, data) :]
        except OSError as failure:
            raise _unusable("write", self._path, failure) from failure

    def keep(self) -> None:
        """Put it in its place, complete and on the disk; whatever was there before is replaced at once."""
        try:
            os.fsync(self._opened)
            os.close(self._opened)
            self._opened = -1
            self._temporary.replace(self._path)
        except OSError as failure:
            raise _unusable("write", self._path, failure) from failure

    def __exit__(self, *_: object) -> None:
        if self._opened >= 0:
            os.close(self._opened)
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def _unusable(verb: str, path: Path, failure: OSError) -> LocalStateError:
    return LocalStateError(f"cannot {verb} {path}: {(failure.strerror or str(failure)).lower()}", path=path)
