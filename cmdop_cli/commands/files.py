"""``cmdop connect get | put``: one file from or to a machine, whole or not at all."""

import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.results import Column, Record
from cmdop_wire.vocab import ErrorCode, MachineCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.progress import Progress
    from cmdop_sdk.dialing import Dialer
    from cmdop_sdk.transfers import Transferred

COLUMNS = (
    Column("machine"),
    Column("path"),
    Column("local"),
    Column("size", kind="number"),
    Column("sha256", kind="id"),
)
PIPE = "-"
_ON = ("cmdop", "connect", "exec")


@verb(needs="workspace")
def get(
    ctx: Ctx,
    source: Annotated[str, typer.Argument(metavar="MACHINE:PATH", help="a file on a machine, named exactly")],
    local: Annotated[
        str | None, typer.Argument(metavar="LOCAL", help="where to keep it; - is stdout, a folder keeps its name")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace a local file that is there")] = False,
) -> Record | None:
    """Bring a file from a machine.

    Paths are relative to the folder that the machine shares, or absolute inside it. What is kept here appears at once,
    when everything has come and its SHA-256 is the machine's.

    cmdop connect get web-1:logs/app.log
    cmdop connect get web-1:/home/deploy/app.toml - | less
    """
    call = ctx.call
    machine, path = _place(source)
    if local == PIPE:
        if call.output.is_json:
            raise usage("stdout cannot carry both the file and JSON", hint=f"cmdop connect get {source}")
        _transferred(call, machine, path, lambda dialer, progress: _to_stdout(call, dialer, machine, path, progress))
        return None
    if local is not None and _is_place(local):
        at = len(call.arguments) - 1 - call.arguments[::-1].index(local)  # the first may be the same word, a machine's
        raise usage(f"{local} reads like a place on a machine, and files come here", hint=_here(call, at))
    to = _kept_at(local, PurePosixPath(path).name)
    if to.exists() and not to.is_file():  # a device or a pipe would be replaced by a file, and nobody wants that
        line = shlex.join(["cmdop", "connect", "get", source, PIPE])
        raise usage(f"{to} is no plain file, and stays what it is", hint=f"{line} > {shlex.quote(str(to))}")
    if not force and (to.exists() or to.is_symlink()):
        raise Failure(Code.CONFIRMATION_REQUIRED, f"{to} is there already", hint=f"{call.line} --force")

    async def bring(dialer: "Dialer", progress: "Progress") -> "Transferred":
        from cmdop_sdk import transfers

        return await transfers.get(
            dialer, machine, path, to, on_notice=lambda notice: call.note(notice.message), on_progress=progress
        )

    return _record(machine, path, str(to), _transferred(call, machine, path, bring))


@verb(needs="workspace", mutates=True)
def put(
    ctx: Ctx,
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="a local file; - is stdin")],
    target: Annotated[str, typer.Argument(metavar="MACHINE:PATH", help="where it goes; a file there is replaced")],
) -> Record:
    """Send a file to a machine.

    The machine puts it in its place at once, when everything has come and its SHA-256 is ours; until then what was
    there stays. Permission bits travel with it.

    cmdop connect put app.toml web-1:app.toml
    tar c site | cmdop connect put - web-1:site.tar
    """
    call = ctx.call
    if _is_place(local):
        first_bring = shlex.join(["cmdop", "connect", "get", local])
        fix = _here(call, call.arguments.index(local)) if Path(local).exists() else first_bring
        raise usage(f"{local} reads like a place on a machine, and files are sent from here", hint=fix)
    machine, path = _place(target, default="" if local == PIPE else Path(local).name)
    if local != PIPE and not Path(local).is_file():
        here = Path(local)
        found = "a folder: only files are sent" if here.is_dir() else "no file here"
        fix = f"tar c {shlex.quote(local)} | cmdop connect put - {shlex.quote(f'{machine}:{here.name}.tar')}"
        hint = fix if here.is_dir() else f"ls -a {shlex.quote(str(here.parent))}"
        raise Failure(ErrorCode.NOT_FOUND, f"{local} is {found}", hint=hint)
    if call.is_dry_run:
        size = None if local == PIPE else Path(local).stat().st_size
        fields = {"machine": machine, "path": path, "local": local, "size": size, "sha256": None}
        return Record("file", fields, columns=COLUMNS, identifier="path", planned=True)

    async def send(dialer: "Dialer", progress: "Progress") -> "Transferred":
        from cmdop_cli import file_pipes
        from cmdop_sdk import transfers
        from cmdop_sdk.stream_state import Notice

        def noticed(notice: Notice) -> None:
            call.note(notice.message)

        if local == PIPE:
            return await file_pipes.from_stdin(dialer, machine, path, on_notice=noticed, on_progress=progress)
        return await transfers.put(dialer, machine, path, Path(local), on_notice=noticed, on_progress=progress)

    return _record(machine, path, local, _transferred(call, machine, path, send, is_put=True))


async def _to_stdout(call: "Call", dialer: "Dialer", machine: str, path: str, progress: "Progress") -> "Transferred":
    from cmdop_cli import file_pipes

    return await file_pipes.to_stdout(
        dialer, machine, path, on_notice=lambda notice: call.note(notice.message), on_progress=progress
    )


def _transferred(
    call: "Call",
    machine: str,
    path: str,
    move: "Callable[[Dialer, Progress], Awaitable[Transferred]]",
    *,
    is_put: bool = False,
) -> "Transferred":
    """Return what ``move`` did, with progress; what is wrong with a local file is no matter of local state."""
    from cmdop_cli import machine_dialer, unreached
    from cmdop_cli.progress import Progress
    from cmdop_sdk.errors import LocalStateError, MachineRefused

    progress = Progress(f"{machine}:{path}", is_shown=call.output.shows_progress)

    async def run() -> "Transferred":
        return await move(await machine_dialer.dialer(call), progress)

    try:
        with unreached.explained(call, machine):
            return call.run(run(), waiting=None)
    except MachineRefused as refused:
        if is_put and refused.code == "no_such_file":  # the file is to be made: it is its folder that is not there
            above = str(PurePosixPath(path).parent)
            refused.message = f"there is no folder {above} on {machine}"
            refused.hint = refused.hint or shlex.join([*_ON, machine, "--", "mkdir", "-p", above])
        refused.hint = refused.hint or _looking(machine, path, refused.code)
        raise
    except LocalStateError as wrong:
        if wrong.path is None or str(call.local.root) in wrong.path:
            raise
        folder = Path(wrong.path).parent
        look = ["ls", "-ld", str(folder)] if folder.is_dir() else ["mkdir", "-p", str(folder)]
        raise Failure(Code.OUTPUT, wrong.message, hint=shlex.join(look)) from None
    finally:
        progress.close()


def _looking(machine: str, path: str, code: str) -> str:
    """Return the line that shows what is there instead of ``path``, in the folder that files are relative to."""
    if code == MachineCode.NOT_A_FILE:
        return shlex.join([*_ON, machine, "--", "ls", "-la", path])
    there = "." if code == MachineCode.OUTSIDE_ROOT else str(PurePosixPath(path).parent)
    return shlex.join([*_ON, machine, "--", "ls", "-la", there])


def _place(text: str, default: str = "") -> tuple[str, str]:
    """Return machine and path of ``MACHINE:PATH``; a folder as path gets the name ``default``."""
    machine, _, path = text.partition(":")
    if not _is_place(text):
        raise usage(f"{text} is no place on a machine: write MACHINE:PATH", hint="cmdop connect list")
    if path == "" or path.endswith("/"):
        path += default
    if path == "" or path.endswith("/"):
        raise usage(f"{text} names no file", hint=shlex.join([*_ON, machine, "--", "ls", "-la", path or "."]))
    return machine, path


def _is_place(text: str) -> bool:
    """Tell whether ``text`` is of the form ``MACHINE:PATH``; a file here that is called so is written ``./a:b``."""
    machine, colon, _ = text.partition(":")
    return bool(machine and colon) and "/" not in machine


def _here(call: "Call", at: int) -> str:
    """Return the line of ``call`` with its word at ``at`` as a file here."""
    words = call.arguments
    return shlex.join(["cmdop", *words[:at], f"./{words[at]}", *words[at + 1 :]])


def _kept_at(local: str | None, name: str) -> Path:
    if local is None:
        return Path(name)
    to = Path(local)
    return to / name if to.is_dir() or local.endswith("/") else to


def _record(machine: str, path: str, local: str, done: "Transferred") -> Record:
    fields = {
        "machine": machine,
        "path": path,
        "local": local,
        "size": done.size,
        "sha256": done.sha256,
        "mode": f"{done.mode:04o}",
    }
    return Record("file", fields, columns=COLUMNS, identifier="local")
