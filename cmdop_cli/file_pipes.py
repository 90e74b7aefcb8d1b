"""Files between a machine and our own stdin or stdout, hashed at both ends.

Files on disk are the business of ``cmdop_sdk.transfers``.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from cmdop_cli.descriptors import Sink, pieces
from cmdop_sdk.dialing import Dialer
from cmdop_sdk.errors import UnexpectedAnswer
from cmdop_sdk.stream import OnNotice, Stream
from cmdop_sdk.transfers import DEFAULT_MODE, OnProgress, Transferred, checked_path


async def to_stdout(
    dialer: Dialer, machine: str, path: str, *, on_notice: OnNotice, on_progress: OnProgress
) -> Transferred:
    """Write a machine's file to stdout as it comes; that it is whole is known at the end."""
    sink, digest, count = Sink(1), hashlib.sha256(), 0
    opening = {"kind": "read_file", "machine": machine, "path": checked_path(path)}
    async with Stream(dialer, opening, on_notice=on_notice) as stream:
        async for piece in stream:
            digest.update(piece.data)
            count += len(piece.data)
            await sink.write(piece.data)
            on_progress(count, stream.opened.get("size"))
        return _whole(stream.exit, count, digest.hexdigest(), stream.opened.get("mode"))


async def from_stdin(
    dialer: Dialer, machine: str, path: str, *, on_notice: OnNotice, on_progress: OnProgress
) -> Transferred:
    """Write stdin to a file on a machine, which is put in its place when stdin has ended."""
    digest, count = hashlib.sha256(), 0
    opening = {"kind": "write_file", "machine": machine, "path": checked_path(path), "mode": DEFAULT_MODE}
    async with Stream(dialer, opening, on_notice=on_notice) as stream:
        async for data in pieces(0):
            digest.update(data)
            count += len(data)
            await stream.send(data)
            on_progress(count, None)
        await stream.end_input()
        async for _ in stream:
            pass  # it says nothing but how it ended
        return _whole(stream.exit, count, digest.hexdigest(), DEFAULT_MODE)


def _whole(ended: Mapping[str, Any] | None, size: int, sha256: str, mode: object) -> Transferred:
    said = ended or {}
    if (said.get("status"), said.get("size"), said.get("sha256")) != (0, size, sha256):
        raise UnexpectedAnswer(
            f"the file differs between here and there: {size} bytes here, {said.get('size')} at the machine"
        )
    return Transferred(size=size, sha256=sha256, mode=(mode if isinstance(mode, int) else DEFAULT_MODE) & 0o777)
