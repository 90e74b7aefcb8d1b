"""A lock that one process holds at a time, on a file that stays: removing it would split those who wait for it.

``flock`` where the system has it, in few lines, since every command that writes pays for the import; else filelock.
The lock ends with its holder, however that dies.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST_NAP = 0.05  # seconds between two tries; the first ones come sooner


class Taken(Exception):
    """The time was up; ``holder`` is the process id of whoever has the lock, where that is known."""

    def __init__(self, holder: int | None = None) -> None:
        super().__init__("the lock is taken")
        self.holder = holder


if sys.platform == "win32":

    @contextmanager
    def held(path: Path, wait: float) -> Iterator[None]:
        """Hold the lock file at ``path``, waiting at most ``wait`` seconds for it; else ``Taken``."""
        from filelock import FileLock, Timeout

        # Not thread-local: an asynchronous caller may be resumed on another thread.
        lock = FileLock(path, timeout=wait, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise Taken from None
        try:
            yield
        finally:
            lock.release()

else:
    import fcntl

    @contextmanager
    def held(path: Path, wait: float) -> Iterator[None]:
        """Hold the lock file at ``path``, waiting at most ``wait`` seconds for it; else ``Taken``.

        Made with mode 0600 where there is none; a link is not followed. ``OSError`` when it cannot be opened.
        """
        deadline, nap = time.monotonic() + wait, 0.001
        while (lock := _taken(path)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Taken(_holder(path))
            time.sleep(min(nap, left))
            nap = min(2 * nap, _LONGEST_NAP)
        try:
            with suppress(OSError):  # a full disk: then those who wait in vain are not told who has it
                os.ftruncate(lock, 0)
                os.write(lock, b"%d\n" % os.getpid())
            yield
        finally:
            os.close(lock)

    def _taken(path: Path) -> int | None:
        """Return the open lock file if nobody else had it, else ``None``."""
        opened = _open(path)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed it between the two calls: a lock on a file without a name keeps nobody out.
            named = path.stat(follow_symlinks=False)
            if os.path.samestat(os.fstat(opened), named):
                return opened
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(opened)
            raise
        os.close(opened)
        return None

    def _open(path: Path) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        while True:
            try:
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                with suppress(FileNotFoundError):  # removed in between
                    return os.open(path, flags)

    def _holder(path: Path) -> int | None:
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            noted = os.read(opened, 32).strip()
        finally:
            os.close(opened)
        return int(noted) if noted.isdigit() else None
