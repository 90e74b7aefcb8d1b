"""Private files: directories 0700, files 0600 from birth, replaced atomically under a lock, read without one.

Written for small files of one user. Links, other owners and absurd sizes are refused, and a refused file is left
as it is. Formats live in ``store``; nothing here knows what a token is.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cmdop_sdk.errors import LocalStateError
from cmdop_sdk.locks import Taken, held

SIZE_LIMIT = 1 << 20  # bytes: nothing that we write comes near it
LOCK_WAIT = 15.0  # seconds

Warn = Callable[[str], None]
"""Takes one sentence for people; the store never prints."""

# Windows knows neither; its profile directory is private by inheritance.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_IS_POSIX = os.name == "posix"


def say_nothing(sentence: str) -> None:
    """Drop a warning."""


class PrivateFile:
    """One file below ``root``; directories from ``root`` down are made and checked on the way.

    Reading takes no lock: a rename is atomic, so a reader sees a whole old or a whole new file. Every failure is a
    ``LocalStateError`` that names the path.
    """

    def __init__(self, root: Path, path: Path, warn: Warn = say_nothing) -> None:
        self.root = root
        self.path = path
        self.warn = warn

    def read(self) -> bytes | None:
        """Return the content, or ``None`` when there is no such file; works on a read-only file system."""
        try:
            for directory in self._directories():
                self._check_directory(directory)
            opened = os.open(self.path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT)
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise self._refusal("read", failure) from failure
        try:
            self._check_file(self.path, opened)
            content = b""
            while chunk := os.read(opened, SIZE_LIMIT + 1 - len(content)):
                content += chunk
        except OSError as failure:
            raise self._refusal("read", failure) from failure
        finally:
            os.close(opened)
        if len(content) > SIZE_LIMIT:
            raise LocalStateError(f"{self.path} is larger than {SIZE_LIMIT} bytes", path=self.path, hint=self._remedy)
        return content

    @contextmanager
    def locked(self, wait: float = LOCK_WAIT) -> Iterator["LockedFile"]:
        """Hold the file's lock, waiting at most ``wait`` seconds for it, and yield what may change the file."""
        lock_path = self.path.with_name(self.path.name + ".lock")
        with ExitStack() as stack:
            try:
                self._make_directories()
                with suppress(FileNotFoundError):
                    self._check_file(lock_path)
                stack.enter_context(held(lock_path, wait))
            except Taken as taken:
                raise LockedElsewhere(self.path, taken.holder) from None
            except OSError as failure:
                raise self._refusal("write", failure) from failure
            yield LockedFile(self)

    def _directories(self) -> Iterator[Path]:
        yield self.root
        between = self.path.parent.relative_to(self.root).parts
        for depth in range(len(between)):
            yield self.root.joinpath(*between[: depth + 1])

    def _make_directories(self) -> None:
        for parent in reversed(self.root.parents):
            # Not mkdir(parents=True), which leaves them to the umask: whoever may rename our directory owns it.
            if not parent.exists():
                with suppress(FileExistsError):
                    parent.mkdir(mode=0o700)
        for directory in self._directories():
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                self._check_directory(directory)
            else:
                _sync_directory(directory.parent)

    def _check_directory(self, path: Path) -> None:
        found = path.lstat()
        if not (stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise LocalStateError(f"{path} is not a directory", path=path, hint=f"mv {path} {path}.broken")
        self._check(path, found)

    def _check_file(self, path: Path, opened: int | None = None) -> None:
        found = path.lstat() if opened is None else os.fstat(opened)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise LocalStateError(f"{path} is not a plain file", path=path, hint=f"mv {path} {path}.broken")
        self._check(path, found, opened)

    def _check(self, path: Path, found: os.stat_result, opened: int | None = None) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise LocalStateError(f"{path} is a link, which is refused", path=path, hint=f"rm {path}")
        if not _IS_POSIX:
            return
        if found.st_uid != os.geteuid():
            raise LocalStateError(f"{path} belongs to another user, which is refused", path=path, hint=f"ls -ld {path}")
        if found.st_mode & 0o077:
            self._tighten(path, found, opened)

    def _tighten(self, path: Path, found: os.stat_result, opened: int | None) -> None:
        wanted = stat.S_IMODE(found.st_mode) & 0o700
        try:
            if opened is None:
                path.chmod(wanted)
            else:
                os.fchmod(opened, wanted)
        except OSError:  # a read-only file system: still ours, so still read
            self.warn(f"{path} is open to other users and could not be closed to them")
        else:
            self.warn(
                f"{path} was open to other users (mode {stat.S_IMODE(found.st_mode):04o}); it is {wanted:04o} now"
            )

    def _refusal(self, verb: str, failure: OSError) -> LocalStateError:
        if failure.errno == errno.ELOOP:
            return LocalStateError(f"{self.path} is a link, which is refused", path=self.path, hint=f"rm {self.path}")
        reason = (failure.strerror or str(failure)).lower()
        return LocalStateError(f"cannot {verb} {self.path}: {reason}", path=self.path, hint=self._fix(failure))

    def _fix(self, failure: OSError) -> str:
        """Return what may help where the system refuses: room, rights to what is ours, or another place."""
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"df -h {self.root}"
        if failure.errno in (errno.EACCES, errno.EPERM):
            for each in (self.path, *self._directories()):
                with suppress(OSError):
                    is_directory = each.is_dir()
                    if not os.access(each, os.R_OK | os.W_OK | (os.X_OK if is_directory else 0)) and _is_ours(each):
                        return f"chmod u+rwX {each}"
        return "export CMDOP_CONFIG_DIR=/some/dir"

    @property
    def _remedy(self) -> str:
        return f"mv {self.path} {self.path}.broken"


class LockedElsewhere(LocalStateError):
    """Another process holds the file's lock: ``holder`` is its id, where that is known."""

    def __init__(self, path: Path, holder: int | None = None) -> None:
        who = "another process" if holder is None else f"process {holder}"
        super().__init__(f"{who} keeps {path} locked", path=path, hint=f"ps -p {holder}" if holder else "")


class LockedFile:
    """A private file whose lock this process holds; the only thing that writes."""

    def __init__(self, file: PrivateFile) -> None:
        self._file = file

    def read(self) -> bytes | None:
        """Return the content as ``PrivateFile.read`` does."""
        return self._file.read()

    def write(self, content: bytes) -> None:
        """Replace the content: temporary file, sync, rename, sync of the directory.

        A process killed anywhere in here leaves the old file or the new one; what else it leaves is swept by the
        next writer.
        """
        path = self._file.path
        try:
            with suppress(FileNotFoundError):
                self._file._check_file(path)
            self._sweep()
            temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
            opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
            try:
                try:
                    remaining = memoryview(content)
                    while remaining:
                        remaining = remaining[os.write(opened, remaining) :]
                    os.fsync(opened)
                finally:
                    os.close(opened)
                temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _sync_directory(path.parent)
        except OSError as failure:
            raise self._file._refusal("write", failure) from failure

    def set_aside(self) -> Path:
        """Rename a file that cannot be used to ``<name>.broken``, say so, and return where it is now."""
        aside = self._file.path.with_name(self._file.path.name + ".broken")
        try:
            self._file._check_file(self._file.path)
            self._file.path.replace(aside)
        except OSError as failure:
            raise self._file._refusal("set aside", failure) from failure
        self._file.warn(f"{self._file.path} cannot be used; it was kept as {aside.name}")
        return aside

    def remove(self) -> bool:
        """Remove the file; return whether there was one."""
        try:
            self._file.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as failure:
            raise self._file._refusal("remove", failure) from failure
        _sync_directory(self._file.path.parent)
        return True

    def _sweep(self) -> None:
        # We hold the lock, so nobody is writing: every temporary file of this name was left by a killed process.
        for left in self._file.path.parent.glob(f".{self._file.path.name}.*.tmp"):
            left.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    return path.lstat().st_uid == os.geteuid() if _IS_POSIX else True


def _sync_directory(directory: Path) -> None:
    if not _IS_POSIX:
        return
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
