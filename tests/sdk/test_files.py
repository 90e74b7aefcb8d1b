"""Private files: born private, replaced whole or not at all, and nothing hostile is followed, used or destroyed."""

import errno
import fcntl
import os
import signal
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmdop_sdk.errors import LocalStateError
from cmdop_sdk.files import SIZE_LIMIT, LockedElsewhere, PrivateFile

OLD, NEW = b"old " * 5000, b"new " * 9000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where local state is; not made yet."""
    return tmp_path / "config" / "cmdop"


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The most careless umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def file_in(root: Path, warn: Callable[[str], None] | None = None) -> PrivateFile:
    """Return a file two directories deep."""
    path = root / "accounts" / "one" / "token.json"
    return PrivateFile(root, path, warn) if warn else PrivateFile(root, path)


def put(file: PrivateFile, content: bytes) -> None:
    """Replace the content."""
    with file.locked() as locked:
        locked.write(content)


def modes(root: Path) -> dict[str, int]:
    """Return the mode of everything below ``root``."""
    return {str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in [root, *root.rglob("*")]}


def test_absent_is_none_and_makes_nothing(root: Path) -> None:
    assert file_in(root).read() is None
    assert not root.exists()


@pytest.mark.usefixtures("open_umask")
def test_directories_are_0700_and_files_0600(root: Path) -> None:
    put(file_in(root), NEW)
    assert modes(root) == {
        ".": 0o700,
        "accounts": 0o700,
        "accounts/one": 0o700,
        "accounts/one/token.json": 0o600,
        "accounts/one/token.json.lock": 0o600,
    }
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700
    assert file_in(root).read() == NEW


@pytest.mark.usefixtures("open_umask")
def test_files_are_private_and_exclusive_from_birth(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int, int]] = []
    really = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        opened = really(path, flags, mode, **more)
        if flags & os.O_CREAT and str(path).startswith(str(root)):
            made.append((Path(path).name, flags, stat.S_IMODE(os.fstat(opened).st_mode)))
        return opened

    monkeypatch.setattr(os, "open", watched)
    put(file_in(root), NEW)
    assert len(made) == 2  # the lock and the temporary file
    for name, flags, mode in made:
        assert (name, mode) == (name, 0o600)
        assert flags & os.O_EXCL
        assert flags & os.O_NOFOLLOW


STEPS = ("open", "write", "fsync", "replace", "mkdir", "close", "unlink", "fchmod")


def killed_at(step: int, act: Callable[[], object], *, torn: bool) -> bool:
    """Run ``act`` in a child that dies right before its ``step``-th system call; return whether it lived to the end.

    With ``torn`` a write that is due stores its first half before the child dies.
    """
    child = os.fork()
    if child == 0:
        try:
            _arm(step, torn)
            act()
        except BaseException:
            os._exit(3)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), f"the child failed by itself: {status}"
    return status == 0


def _arm(step: int, torn: bool) -> None:
    left = [step]
    for name in STEPS:
        really = getattr(os, name)

        def counted(*arguments: Any, _really: Any = really, _name: str = name, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if torn and _name == "write":
                    _really(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os._exit(9)
            return _really(*arguments, **more)

        setattr(os, name, counted)


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("before", [None, OLD])
def test_killed_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path, before: bytes | None, torn: bool) -> None:
    outcomes = []
    for step in range(1, 200):
        root = tmp_path / str(step)
        file = file_in(root)
        if before is not None:
            put(file, before)
        lived = killed_at(step, lambda file=file: put(file, NEW), torn=torn)  # type: ignore[misc]
        outcomes.append(file.read())
        put(file, b"next")  # the lock died with its holder, and what lay around is swept
        assert file.read() == b"next"
        assert sorted(path.name for path in file.path.parent.iterdir()) == ["token.json", "token.json.lock"]
        if lived:
            break
    assert lived
    assert set(outcomes) == {before, NEW}
    assert outcomes == sorted(outcomes, key=lambda content: content == NEW)  # once new, always new
    assert len(outcomes) > 8


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_an_error_and_the_old_file_stays(root: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = file_in(root)
    put(file, OLD)

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(LocalStateError, match="no space left on device"):
            put(file, NEW)
    assert file.read() == OLD
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["token.json", "token.json.lock"]


def test_short_writes_are_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.write
    monkeypatch.setattr(os, "write", lambda opened, content: really(opened, bytes(content)[:7]))
    put(file_in(root), NEW)
    assert file_in(root).read() == NEW


@pytest.mark.parametrize("what", ["file", "lock", "directory", "root"])
def test_a_planted_link_is_refused_and_its_target_untouched(root: Path, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    file = file_in(root)
    put(file, OLD)
    planted = {
        "file": file.path,
        "lock": file.path.with_name("token.json.lock"),
        "directory": file.path.parent,
        "root": root,
    }[what]
    planted.rename(elsewhere)
    planted.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()}
    with pytest.raises(LocalStateError, match="is a link, which is refused") as caught:
        put(file, NEW)
    assert caught.value.path == str(planted)
    if what != "lock":
        with pytest.raises(LocalStateError, match="is a link"):
            file.read()
    assert before == {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()}
    assert planted.is_symlink()


def test_a_dangling_link_makes_nothing(root: Path, tmp_path: Path) -> None:
    file = file_in(root)
    put(file, OLD)
    file.path.unlink()
    file.path.symlink_to(tmp_path / "made")
    with pytest.raises(LocalStateError, match="is a link"):
        put(file, NEW)
    assert not (tmp_path / "made").exists()


def test_a_pipe_or_directory_in_place_of_the_file_is_refused_without_waiting(root: Path) -> None:
    file = file_in(root)
    put(file, OLD)
    file.path.unlink()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(LocalStateError, match="not a plain file"):
        file.read()
    file.path.unlink()
    file.path.mkdir(0o700)
    with pytest.raises(LocalStateError, match="not a plain file"):
        file.read()


def test_a_file_in_place_of_a_directory_is_refused(root: Path) -> None:
    root.parent.mkdir()
    root.write_text("no directory")
    with pytest.raises(LocalStateError, match="not a directory"):
        file_in(root).read()
    with pytest.raises(LocalStateError, match="not a directory"):
        put(file_in(root), NEW)


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.EROFS, "export CMDOP_CONFIG_DIR=/some/dir"), (errno.ENOSPC, "df -h {root}"), (errno.EACCES, None)],
)
def test_what_the_system_refuses_comes_with_a_fix(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str | None
) -> None:
    file = file_in(root)
    put(file, OLD)

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    for act in (file.read, lambda: put(file, NEW)):
        with pytest.raises(LocalStateError, match=os.strerror(number).lower()) as caught:
            act()
        assert str(file.path) in caught.value.message
        assert caught.value.hint == (fix or "export CMDOP_CONFIG_DIR=/some/dir").format(root=root)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_file_where_a_directory_should_be_comes_with_a_fix(root: Path, depth: int) -> None:
    in_the_way = [root.parent, root, root / "accounts"][depth]
    in_the_way.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    in_the_way.write_bytes(OLD)
    for act in (file_in(root).read, lambda: put(file_in(root), NEW)):
        with pytest.raises(LocalStateError, match="not a directory") as caught:
            act()
        assert caught.value.hint in (f"mv {in_the_way} {in_the_way}.broken", "export CMDOP_CONFIG_DIR=/some/dir")
    assert in_the_way.read_bytes() == OLD


def test_looser_modes_are_tightened_with_a_warning(root: Path) -> None:
    said: list[str] = []
    put(file_in(root), OLD)
    file = file_in(root, said.append)
    file.path.chmod(0o644)
    root.chmod(0o755)
    assert file.read() == OLD
    assert (modes(root)["."], modes(root)["accounts/one/token.json"]) == (0o700, 0o600)
    assert [sentence.split(" was open")[0] for sentence in said] == [str(root), str(file.path)]
    assert "0644" in said[1]
    said.clear()
    assert file.read() == OLD
    assert said == []


def test_a_file_beyond_the_size_limit_is_refused_and_kept(root: Path) -> None:
    file = file_in(root)
    put(file, b"x" * SIZE_LIMIT)
    assert len(file.read() or b"") == SIZE_LIMIT
    file.path.write_bytes(b"x" * (10 << 20))
    with pytest.raises(LocalStateError, match="larger than 1048576 bytes") as caught:
        file.read()
    assert caught.value.path == str(file.path)
    assert file.path.stat().st_size == 10 << 20


def test_a_lock_that_another_holds_is_waited_for_and_then_named(root: Path) -> None:
    file = file_in(root)
    with file.locked(), pytest.raises(LockedElsewhere, match=r"keeps .* locked"), file_in(root).locked(wait=0.2):
        pass
    with file.locked(wait=0):
        pass


def test_who_holds_the_lock_is_named_and_its_death_frees_it(root: Path) -> None:
    file = file_in(root)
    ready, tell = os.pipe()
    holder = os.fork()
    if holder == 0:
        with file.locked():
            os.write(tell, b".")
            signal.pause()
    os.read(ready, 1)
    try:
        with pytest.raises(LockedElsewhere) as caught, file.locked(wait=0):
            pass
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    assert caught.value.message == f"process {holder} keeps {file.path} locked"
    assert caught.value.hint == f"ps -p {holder}"
    with file.locked(wait=0):  # though its number still stands in the lock file
        pass


def test_a_lock_whose_file_was_removed_keeps_nobody_out_and_is_not_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_in(root)
    put(file, OLD)
    lock = file.path.with_name("token.json.lock")
    really = fcntl.flock
    removed: list[int] = []

    def late(opened: int, operation: int) -> None:
        if not removed:  # between the opening and the locking of it
            removed.append(lock.stat().st_ino)
            lock.rename(lock.with_name("removed"))  # its inode must not be given to the next one
        really(opened, operation)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", late)
        with file.locked(), pytest.raises(LockedElsewhere), file_in(root).locked(wait=0):
            pass
    assert lock.stat().st_ino != removed[0]


def test_reading_needs_no_lock(root: Path) -> None:
    file = file_in(root)
    put(file, OLD)
    with file.locked() as locked:
        assert file_in(root).read() == OLD
        locked.write(NEW)
        assert file_in(root).read() == NEW


def test_remove_tells_whether_there_was_one(root: Path) -> None:
    file = file_in(root)
    put(file, OLD)
    with file.locked() as locked:
        assert locked.remove()
        assert not locked.remove()
    assert file.read() is None


NOBODY = 65534


def unprivileged(act: Callable[[Path], None]) -> None:
    """Run ``act`` in a child that is not root, since root ignores modes, with a directory of its own."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with tempfile.TemporaryDirectory(dir="/tmp") as folder:
                act(Path(folder))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_s_file_or_directory_is_refused(root: Path) -> None:
    file = file_in(root)
    put(file, OLD)
    if os.geteuid() == 0:
        os.chown(file.path, NOBODY, NOBODY)
        foreign = file
    else:
        foreign = PrivateFile(Path("/etc"), Path("/etc/hostname"))
    with pytest.raises(LocalStateError, match="belongs to another user"):
        foreign.read()
    with pytest.raises(LocalStateError, match="belongs to another user"):
        put(foreign, NEW)


def test_a_read_only_home_is_read_and_a_write_is_a_plain_error() -> None:
    def act(folder: Path) -> None:
        file = file_in(folder / "cmdop")
        put(file, OLD)
        for directory in (file.path.parent, file.path.parent.parent, file.root):
            directory.chmod(0o500)
        assert file.read() == OLD
        with pytest.raises(LocalStateError, match=r"cannot write .*: permission denied") as caught:
            put(file, NEW)
        assert caught.value.path == str(file.path)
        assert caught.value.hint == f"chmod u+rwX {file.root}"
        with pytest.raises(LocalStateError, match="permission denied"):
            put(PrivateFile(file.root, file.root / "other.json"), NEW)
        assert file.read() == OLD
        for directory in (file.root, file.path.parent.parent, file.path.parent):
            directory.chmod(0o700)

    unprivileged(act)


def test_an_unreadable_file_is_a_plain_error() -> None:
    def act(folder: Path) -> None:
        file = file_in(folder / "cmdop")
        put(file, OLD)
        file.path.chmod(0)
        with pytest.raises(LocalStateError, match=r"cannot read .*: permission denied") as caught:
            file.read()
        assert caught.value.hint == f"chmod u+rwX {file.path}"

    unprivileged(act)


def test_loose_modes_that_cannot_be_tightened_are_said_and_read() -> None:
    said: list[str] = []

    def refuse(self: Path, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    def act(folder: Path) -> None:
        put(file_in(folder / "cmdop"), OLD)
        (folder / "cmdop").chmod(0o755)
        Path.chmod = refuse  # type: ignore[method-assign]  # in this child only: a read-only file system
        assert file_in(folder / "cmdop", said.append).read() == OLD
        assert said == [f"{folder / 'cmdop'} is open to other users and could not be closed to them"]

    unprivileged(act)
