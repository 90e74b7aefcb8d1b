"""Where this machine's agent listens for its own user: a local socket in the agent's private folder.

Both ends of it use this: the agent listens, ``local`` connects.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmdop_sdk.errors import LocalStateError

AGENT_FOLDER = "agent"
SOCKET_NAME = "control.sock"
LONGEST_ADDRESS = 100  # bytes: the system's limit is 108 on Linux, 104 on macOS


def socket_path(config_dir: Path) -> Path:
    """Return where the agent of this configuration directory listens."""
    return config_dir / AGENT_FOLDER / SOCKET_NAME


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give what to bind or connect to in place of ``path``, which may be longer than an address can be.

    ``FileNotFoundError`` when the folder is not there, ``LocalStateError`` where there is no way around the limit.
    """
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    if sys.platform != "linux":
        raise LocalStateError(
            f"{path} is too long for the address of a local socket", hint="export CMDOP_CONFIG_DIR=/a/shorter/path"
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
