"""What a disk says when it takes no more, told from every other failure: full, over a quota, read-only, broken.

Knows no Django: whatever wraps the error, the driver's own is looked for below it.
"""

import errno
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from cmdop_server.config import read
from cmdop_server.refusal import Refusal

SETTING = "CMDOP_DATA_DIR"
NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
CODES = frozenset({8, 10, 13})  # SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL


def refusal(error: BaseException, environ: Mapping[str, str] = os.environ) -> Refusal | None:
    """Return how to say that the disk of the data directory refused, ``None`` when that is not what ``error`` means."""
    reason = next((said for each in _with_causes(error) if (said := _reason(each)) is not None), None)
    if reason is None:
        return None
    config, _ = read(environ)
    folder = Path.home() if config is None else config.data_dir
    return Refusal(SETTING, f"cannot write to {folder}: {reason}", shlex.join(["df", "-h", str(folder)]))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _reason(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return os.strerror(error.errno).lower()
    sqlite3 = sys.modules.get("sqlite3")  # never imported only to ask: what was not loaded was not raised
    code = getattr(error, "sqlite_errorcode", None) if sqlite3 and isinstance(error, sqlite3.Error) else None
    return str(error) if isinstance(code, int) and code & 0xFF in CODES else None
