"""``check``, ``migrate``, ``restored``, ``backup``, ``purge``: what an operator does to a server, people aside."""

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from cmdop_server import checks, data_dir, stamp
from cmdop_server.config import VARIABLES, Config, read, suspicious
from cmdop_server.management import opening
from cmdop_server.management.say import answer, answer_json, note
from cmdop_server.refusal import Refusal
from cmdop_wire.vocab import Exit

Line = dict[str, str | bool]


def check(*, as_json: bool) -> int:
    """Ask everything that ``start`` asks, and print each answer; changes nothing."""
    opening.private_process()
    config, refusals = read(os.environ)
    refused = {refusal.setting: refusal for refusal in refusals}
    lines: list[Line] = []
    for variable in VARIABLES:
        if variable.name in refused:
            lines.append(_refused_line(variable.name, refused[variable.name]))
        elif variable.name in os.environ:
            lines.append({"check": variable.name, "ok": True, "note": "set"})
    if config is not None:
        lines += _ask(checks.CHECKS, config)
        # Neither makes sense in an unsafe directory or without the right secrets.
        if all(line["ok"] for line in lines):
            lines += _ask((("server", _server), ("database", _database)), config)
    warnings = [f"{name} is no setting of the server; {meant} was meant?" for name, meant in suspicious(os.environ)]
    passed = all(line["ok"] for line in lines)
    if as_json:
        answer_json("server-check", ok=passed, items=lines, warnings=warnings)
    else:
        for line in lines:
            if line["ok"]:
                answer(f"ok       {line['check']}: {line['note']}")
            else:
                answer(f"refused  {line['check']}: {line['message']}")
                answer(f"         fix: {line['hint']}")
        for warning in warnings:
            answer(f"warning  {warning}")
    return Exit.DONE if passed else Exit.LOCAL_STATE


def _ask(questions: Iterable[tuple[str, Callable[[Config], str]]], config: Config) -> list[Line]:
    lines: list[Line] = []
    for name, question in questions:
        try:
            lines.append({"check": name, "ok": True, "note": question(config)})
        except Refusal as refusal:
            lines.append(_refused_line(name, refusal))
    return lines


def _refused_line(name: str, refusal: Refusal) -> Line:
    message = refusal.message if refusal.setting == name else f"{refusal.setting} {refusal.message}"
    return {"check": name, "ok": False, "setting": refusal.setting, "message": message, "hint": refusal.fix}


def _server(config: Config) -> str:
    """Tell whether a server runs on this data directory."""
    if not config.data_dir.exists():
        return "none runs here"
    try:
        data_dir.lock(config.data_dir).release()
    except Refusal:
        running = data_dir.read_running(config.data_dir) or {}
        return f"one runs here, process {running.get('pid', 'unknown')}, at {running.get('public_url', 'unknown')}"
    return "none runs here"


def _database(config: Config) -> str:
    """Look at the schema without touching it; refuse a newer one."""
    if config.database is None and not data_dir.database_path(config.data_dir).exists():
        return "an SQLite database will be made"
    from cmdop_server import schema  # noqa: PLC0415 - needs Django, which only a present database does

    opening.set_up_django()
    found = schema.state()
    schema.refuse_newer(found)
    if found.is_new:
        return "reachable and empty"
    if not found.pending:
        schema.check_secrets()
    from cmdop_server.restored import copied  # noqa: PLC0415 - needs Django

    origin = copied()
    condition = f"{len(found.pending)} migrations to apply" if found.pending else "reachable, schema current"
    return f"{condition}; restored from {origin}: the next start ends every key and sign-in" if origin else condition


def migrate(*, as_json: bool) -> int:
    """Bring the schema up to date; on the embedded database only while no server runs."""
    with opening.alone() as config:
        changed = opening.django_ready(config, migrate=True)
    if as_json:
        answer_json("server-migrate", changed=changed)
    else:
        answer("the schema is up to date now" if changed else "the schema was up to date")
    return Exit.DONE


def restored(*, as_json: bool) -> int:
    """End every credential, for a copy that nobody marked; on the embedded database only while no server runs."""
    with opening.alone() as config:
        opening.django_ready(config, migrate=False)
        from cmdop_server.restored import end_all  # noqa: PLC0415 - needs Django

        ended = end_all()
        if as_json:
            answer_json("server-restored", workspaces=ended.workspaces, keys=ended.keys, sign_ins=ended.sign_ins)
        else:
            answer(f"{ended.keys} keys and {ended.sign_ins} sign-ins have ended in {ended.workspaces} workspaces")
    return Exit.DONE


def backup(*, path: str, as_json: bool) -> int:
    """Copy the embedded database, also under a running server, to a new private file."""
    opening.private_process()
    config = opening.configuration()
    if config.database is not None:
        note("error: PostgreSQL backs itself up")
        note(f'fix: pg_dump --format=custom --file={path} "$CMDOP_DATABASE_URL"')
        return Exit.USAGE
    data_dir.check_dir(config.data_dir)
    source, target = data_dir.database_path(config.data_dir), Path(path).absolute()
    if not source.exists():
        raise Refusal("CMDOP_DATA_DIR", f"there is no database in {config.data_dir}", "cmdop server start")
    if os.path.lexists(target):
        raise Refusal("PATH", f"{target} exists already", f"choose another name, or: rm {target}")
    size = _copy(source, target)
    if as_json:
        answer_json("server-backup", path=str(target), bytes=size, secrets_included=False)
        return Exit.DONE
    answer(f"{target}: {size} bytes")
    note(f"keep {config.data_dir / data_dir.SECRETS_FILE} apart from it: it is not in the backup, and without it")
    note("the backup is worthless: every key and sign-in in it would be unknown")
    return Exit.DONE


def _mark(copy: sqlite3.Connection) -> None:
    """Write into the copy that it is one: whoever starts it ends what may have been revoked after this moment."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with copy:
        copy.execute(stamp.CREATE)
        copy.execute(f"INSERT OR REPLACE INTO {stamp.TABLE} (name, value) VALUES (?, ?)", [stamp.BACKUP, now])  # noqa: S608 - a constant


def purge(*, now: bool, as_json: bool) -> int:
    """Count what is past its time, or with ``now`` delete it, also beside a running server."""
    opening.private_process()
    config = opening.configuration()
    opening.django_ready(config, migrate=False)
    from cmdop_server import purging  # noqa: PLC0415 - needs Django

    found = purging.purge() if now else purging.count()
    if as_json:
        answer_json("server-purge", purged=now, items=[{"what": name, "rows": rows} for name, rows in found.items()])
        return Exit.DONE
    for name, rows in found.items():
        answer(f"{rows:>9}  {name.replace('_', ' ')}")
    if not now and any(found.values()):
        note("to delete them: cmdop server purge --now")
    return Exit.DONE


def _copy(source: Path, target: Path) -> int:
    """Write a consistent copy under a temporary name, sync it, and give it its name only when it is whole."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as original,
            closing(sqlite3.connect(temporary)) as copy,
        ):
            original.backup(copy, pages=1024)
            # One file, no -wal beside it; and nobody keeps a broken backup.
            copy.execute("PRAGMA journal_mode=DELETE")
            _mark(copy)
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Refusal("CMDOP_DATA_DIR", f"the database is damaged: {verdict}", "restore the last good backup")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a rename, this never replaces what somebody put there meanwhile
        return target.stat().st_size
    except FileExistsError:
        raise Refusal("PATH", f"{target} exists already", f"choose another name, or: rm {target}") from None
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise Refusal("PATH", f"cannot write {target}: {reason}", f"ls -ld {target.parent}") from None
    finally:
        temporary.unlink(missing_ok=True)
