"""Files under one root: read and write without ever leaving it.

Every folder on the way is opened relative to the one before, refusing links, so nothing can be swapped in between:
what was checked is what is open. Devices, pipes and sockets are refused.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from cmdop_agent.environment import Account
from cmdop_agent.refusals import Refusal
from cmdop_agent.rights import acting_as
from cmdop_wire.frames import LIMITS, Kind
from cmdop_wire.vocab import ErrorCode, MachineCode

if TYPE_CHECKING:
    from cmdop_agent.channels import Channels, Open

T = TypeVar("T")
LONGEST_PATH = 4096
AHEAD = 1024 * 1024  # bytes that are read and hashed at a time, aside: a thread for each frame would cost as much again
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_below(root: str, path: str) -> list[str]:
    """Return the folders and the name that lead from ``root`` to ``path`` (relative to it, or absolute inside it).

    ``Refusal`` when the path leaves the root, has ``..``, NUL, is empty or is longer than 4096 characters.
    """
    if not path or "\0" in path or len(path) > LONGEST_PATH:
        raise Refusal(ErrorCode.INVALID, f"a path has 1 to {LONGEST_PATH} characters and no NUL")
    path = "" if path == "~" else path.removeprefix("~/")
    if path.startswith("/"):
        prefix = root.rstrip("/") + "/"
        if not path.startswith(prefix):
            raise Refusal(MachineCode.OUTSIDE_ROOT, f"only files below {root} can be reached")
        path = path[len(prefix) :]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise Refusal(MachineCode.OUTSIDE_ROOT, "a path may not go up, and names a file")
    return parts


@contextmanager
def folder_of(root: str, parts: list[str]) -> Iterator[int]:
    """Open the folder that holds the last of ``parts``, one step at a time, following no link."""
    opened = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)


def open_for_reading(root: str, parts: list[str]) -> tuple[int, os.stat_result]:
    """Return a descriptor and the facts of a plain file; ``OSError`` or ``Refusal`` otherwise."""
    with folder_of(root, parts) as folder:
        # Without waiting: opening a pipe would hang before it can be refused.
        opened = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode):
        os.close(opened)
        raise Refusal(MachineCode.NOT_A_FILE, "only plain files can be read")
    return opened, found


class Replacement:
    """A new content for one file, written beside it under another name until ``keep`` puts it in its place."""

    def __init__(self, root: str, parts: list[str], account: Account | None = None) -> None:
        self._name = parts[-1]
        self._temporary = f".{self._name.encode()[:100].decode(errors='ignore')}.{secrets.token_hex(8)}.part"
        self._account = account
        with acting_as(account), folder_of(root, parts) as folder:
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(self._name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise Refusal(MachineCode.NOT_A_FILE, "only plain files can be written")
            self._folder = os.dup(folder)
            try:
                self.opened = os.open(self._temporary, _NEW, 0o600, dir_fd=folder)
            except OSError:
                os.close(self._folder)
                raise

    def keep(self, mode: int) -> None:
        """Put it in its place, complete and on the disk, with the rights ``mode``."""
        with acting_as(self._account):
            os.fchmod(self.opened, mode & 0o777)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._temporary = ""

    def close(self) -> None:
        """Let go; what was not kept disappears."""
        os.close(self.opened)
        if self._temporary:
            with contextlib.suppress(OSError), acting_as(self._account):
                os.unlink(self._temporary, dir_fd=self._folder)
        os.close(self._folder)


async def serve_file(channels: "Channels", each: "Open", root: str, account: Account | None) -> None:
    """Send or take one file over its channel and answer with its size and SHA-256."""
    opening = each.channel.opening
    parts = parts_below(root, opening.path)
    try:
        if opening.kind == "read_file":
            await _send(channels, each, root, parts, account)
        else:
            await _take(channels, each, root, parts, account)
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal(MachineCode.NO_SUCH_FILE, f"no such file below {root}: {'/'.join(parts)}") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refusal(MachineCode.OUTSIDE_ROOT, "links are not followed") from None
        reason = (error.strerror or str(error)).lower()
        raise Refusal(MachineCode.CANNOT_OPEN, f"the machine cannot do it: {reason}") from None


async def _send(channels: "Channels", each: "Open", root: str, parts: list[str], account: Account | None) -> None:
    channel = each.channel
    with acting_as(account):
        opened, found = open_for_reading(root, parts)
    try:
        has_room = asyncio.Event()
        each.on_room = has_room.set
        channels.outbox.put(channel.opened(size=found.st_size, mode=stat.S_IMODE(found.st_mode)))
        digest, size, ahead = hashlib.sha256(), 0, memoryview(b"")
        while True:
            room = channels.room(each, Kind.OUTPUT)
            if room <= 0:
                has_room.clear()
                await has_room.wait()
                continue
            if not ahead:
                ahead = memoryview(await _aside(_read_ahead, opened, digest))
                if not ahead:
                    break
                continue  # the room may be another by now
            data, ahead = bytes(ahead[: min(room, LIMITS.chunk)]), ahead[min(room, LIMITS.chunk) :]
            size += len(data)
            channels.outbox.put(channel.output(Kind.OUTPUT, data), data)
        channels.outbox.put(channel.exit(status=0, size=size, sha256=digest.hexdigest()))
    finally:
        os.close(opened)


async def _take(channels: "Channels", each: "Open", root: str, parts: list[str], account: Account | None) -> None:
    channel = each.channel
    replacement = Replacement(root, parts, account)
    try:
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the window that we grant
        each.on_input = waiting.put_nowait
        each.on_input_end = lambda: waiting.put_nowait(None)
        channels.outbox.put(channel.opened())
        digest, size = hashlib.sha256(), 0
        is_whole = False
        while not is_whole:
            pieces = [await waiting.get()]
            while not waiting.empty():  # all that is there at once: a thread costs more than a copy
                pieces.append(waiting.get_nowait())
            is_whole = pieces[-1] is None
            taken = b"".join(piece for piece in pieces if piece is not None)
            await _aside(_write_all, replacement.opened, taken, digest)
            size += len(taken)
            channels.outbox.put(channel.consumed(len(taken)))
        await _aside(os.fsync, replacement.opened)
        replacement.keep(channel.opening.mode)
    finally:
        replacement.close()
    channels.outbox.put(channel.exit(status=0, size=size, sha256=digest.hexdigest()))


async def _aside(work: Callable[..., T], *arguments: object) -> T:
    """Run ``work`` in a thread; who is cancelled waits for it, because it uses a descriptor that is closed next."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _read_ahead(opened: int, digest: "hashlib._Hash") -> bytes:
    data = os.read(opened, AHEAD)
    digest.update(data)
    return data


def _write_all(opened: int, data: bytes, digest: "hashlib._Hash") -> None:
    digest.update(data)
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(opened, remaining) :]
