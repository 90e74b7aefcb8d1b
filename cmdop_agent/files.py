"""Files under one root: read and write without ever leaving it.

Every folder on the way is opened relative to the one before, refusing links, so nothing can be swapped in between:
what was checked is what is open. Devices, pipes and sockets are refused.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cmdop_agent.refusals import Refusal
from cmdop_wire.frames import LIMITS, Kind

if TYPE_CHECKING:
    from cmdop_agent.channels import Channels, Open

LONGEST_PATH = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_below(root: str, path: str) -> list[str]:
    """Return the folders and the name that lead from ``root`` to ``path`` (relative to it, or absolute inside it).

    ``Refusal`` when the path leaves the root, has ``..``, NUL, is empty or is longer than 4096 characters.
    """
    if not path or "\0" in path or len(path) > LONGEST_PATH:
        raise Refusal("invalid", "a path has 1 to 4096 characters and no NUL")
    if path.startswith("/"):
        prefix = root.rstrip("/") + "/"
        if not path.startswith(prefix):
            raise Refusal("outside_root", f"only files below {root} can be reached")
        path = path[len(prefix) :]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise Refusal("outside_root", "a path may not go up, and names a file")
    return parts


@contextmanager
def folder_of(root: str, parts: list[str]) -> Iterator[int]:
    """Open the folder that holds the last of ``parts``, one step at a time, following no link."""
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
        raise Refusal("not_a_file", "only plain files can be read")
    return opened, found


async def serve_file(channels: "Channels", each: "Open", root: str) -> None:
    """Send or take one file over its channel and answer with its size and SHA-256."""
    opening = each.channel.opening
    parts = parts_below(root, opening.path)
    try:
        if opening.kind == "read_file":
            await _send(channels, each, root, parts)
        else:
            await _take(channels, each, root, parts)
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal("no_such_file", f"no such file below {root}: {'/'.join(parts)}") from None
    except OSError as error:
        if error.errno in (40, 62):  # ELOOP: Linux, macOS
            raise Refusal("outside_root", "links are not followed") from None
        raise Refusal("cannot_open", f"the machine cannot do it: {error.strerror}") from None


async def _send(channels: "Channels", each: "Open", root: str, parts: list[str]) -> None:
    channel = each.channel
    opened, found = await asyncio.to_thread(open_for_reading, root, parts)
    try:
        has_room = asyncio.Event()
        each.on_room = has_room.set
        channels.outbox.put(channel.opened(size=found.st_size, mode=stat.S_IMODE(found.st_mode)))
        digest, size = hashlib.sha256(), 0
        while True:
            room = channels.room(each, Kind.OUTPUT)
            if room <= 0:
                has_room.clear()
                await has_room.wait()
                continue
            data = await asyncio.to_thread(os.read, opened, min(room, LIMITS.chunk))
            if not data:
                break
            digest.update(data)
            size += len(data)
            channels.outbox.put(channel.output(Kind.OUTPUT, data))
        channels.outbox.put(channel.exit(status=0, size=size, sha256=digest.hexdigest()))
    finally:
        os.close(opened)


async def _take(channels: "Channels", each: "Open", root: str, parts: list[str]) -> None:
    channel, opening = each.channel, each.channel.opening
    temporary = f".{parts[-1][:100]}.{secrets.token_hex(8)}.part"
    with folder_of(root, parts) as folder:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise Refusal("not_a_file", "only plain files can be written")
        opened = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            waiting: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the window that we grant
            each.on_input = waiting.put_nowait
            each.on_input_end = lambda: waiting.put_nowait(None)
            for data in each.early:
                waiting.put_nowait(data)
            channels.outbox.put(channel.opened())
            if each.is_input_ended:
                waiting.put_nowait(None)
            digest, size = hashlib.sha256(), 0
            while (piece := await waiting.get()) is not None:
                await asyncio.to_thread(_write_all, opened, piece)
                digest.update(piece)
                size += len(piece)
                channels.outbox.put(channel.consumed(len(piece)))
            os.fchmod(opened, opening.mode & 0o777)
            await asyncio.to_thread(os.fsync, opened)
            os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            temporary = ""
        finally:
            os.close(opened)
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
    channels.outbox.put(channel.exit(status=0, size=size, sha256=digest.hexdigest()))


def _write_all(opened: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(opened, remaining) :]
