"""Files on the machines of the client's workspace."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmdop_sdk.dialing import Dialer
    from cmdop_sdk.transfers import Transferred


class FilesResource:
    """``client.files``; paths on a machine are relative to the folder that it shares, or absolute inside it.

    ``MachineRefused`` tells what is wrong with a path (``no_such_file``, ``outside_root``, ``not_a_file``);
    ``GateDenied`` that the machine's gate is against it.
    """

    def __init__(self, dialer: "Callable[[], Dialer]") -> None:
        self._dialer = dialer

    async def get(self, machine: str, path: str, to: "os.PathLike[str] | str | None" = None) -> "Transferred":
        """Bring a file, and return its ``content`` (64 MiB at most), or keep it at ``to`` if that is given.

        A file at ``to`` is replaced at once when everything is there and its SHA-256 is the machine's; what fails
        before leaves it as it was. ``UnexpectedAnswer`` when the hashes differ.
        """
        from cmdop_sdk import transfers

        return await transfers.get(self._dialer(), machine, path, to)

    async def put(
        self, machine: str, path: str, source: "bytes | os.PathLike[str] | str", *, mode: int | None = None
    ) -> "Transferred":
        """Send ``source``, bytes or the path of a local file, and return what arrived: size and SHA-256.

        The machine replaces ``path`` at once when everything is there. ``mode`` are permission bits; by default the
        local file's, or 0644 for bytes.
        """
        from cmdop_sdk import transfers

        return await transfers.put(self._dialer(), machine, path, source, mode=mode)
