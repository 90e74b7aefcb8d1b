"""The data directory: private from birth, one server at a time, and the secrets that live in it.

Layout: ``secrets.json``, ``cmdop.sqlite3`` (embedded database), ``mail/`` (spool), ``tls/`` (self-signed pair),
``server.lock``, ``running.json`` (where the running server listens). Nothing here knows Django.
"""

import base64
import binascii
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmdop_server.config import Config
from cmdop_server.refusal import Refusal
from cmdop_server.values import Secret

if TYPE_CHECKING:
    from filelock import FileLock

SETTING = "CMDOP_DATA_DIR"
SECRETS_FILE = "secrets.json"
SEED_BYTES = 32
LEAST_SECRET_LENGTH = 32
LEAST_DIFFERENT_CHARACTERS = 10
EXAMPLES = ("changeme", "change-me", "change_me", "example", "insecure", "placeholder", "your-secret", "xxxxxxxx")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server must never lose or show: Django's key, the credentials' pepper, the audit log's signing seed."""

    secret_key: str = field(repr=False)
    pepper: bytes = field(repr=False)
    audit_key: bytes = field(repr=False)


def database_path(data_dir: Path) -> Path:
    """Return where the embedded database lives."""
    return data_dir / "cmdop.sqlite3"


def make_private_dir(path: Path) -> None:
    """Create ``path`` and what is missing above it, each 0700 whatever the umask says."""
    missing = [path, *path.parents]
    missing = missing[: next(index for index, folder in enumerate(missing) if folder.is_dir())]
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise


def check_dir(path: Path) -> None:
    """Refuse a data directory that is another's, or that others may read."""
    try:
        found = path.stat()
    except OSError as error:
        raise Refusal(SETTING, f"cannot look at {path}: {error.strerror}", f"mkdir -m 700 -p {path}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Refusal(SETTING, f"{path} is not a directory", f"export {SETTING}=another/path")
    if found.st_uid != os.geteuid():
        raise Refusal(SETTING, f"{path} belongs to another user", f"run as its owner, or: chown -R $(id -u) {path}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Refusal(SETTING, f"other users may enter {path}", f"chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise Refusal(SETTING, f"{path} is read-only", f"chmod 700 {path}")


def open_dir(path: Path) -> None:
    """Make the data directory if there is none, and refuse an unsafe one."""
    if not path.exists():
        try:
            make_private_dir(path)
        except OSError as error:
            message = f"cannot create {path}: {error.strerror or error}"
            raise Refusal(SETTING, message, f"export {SETTING}=$HOME/cmdop-server") from None
    check_dir(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that is 0600 from birth: exclusive temporary, fsync, rename, fsync of the directory."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_private(path: Path, setting: str) -> bytes | None:
    """Return the content of a private file, ``None`` if there is none; refuse links, others' and readable ones."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refusal(setting, f"cannot read {path}: {error.strerror}", f"ls -l {path}") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Refusal(setting, f"{path} is not an ordinary file", f"ls -l {path}")
        if found.st_uid != os.geteuid():
            raise Refusal(setting, f"{path} belongs to another user", f"chown $(id -u) {path}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise Refusal(setting, f"other users may read {path}", f"chmod 600 {path}")
        return file.read(1 << 20)


def check_secret(setting: str, text: str) -> str:
    """Return ``text`` if it can serve as a secret; refuse short, repetitive and example ones without showing them."""
    fix = f"export {setting}=$(openssl rand -base64 32)"
    lowered = text.lower()
    if any(example in lowered for example in EXAMPLES):
        raise Refusal(setting, "is an example, not a secret", fix)
    if len(text) < LEAST_SECRET_LENGTH:
        raise Refusal(setting, f"is shorter than {LEAST_SECRET_LENGTH} characters", fix)
    if len(set(text)) < LEAST_DIFFERENT_CHARACTERS:
        raise Refusal(setting, "repeats itself too much to be a secret", fix)
    return text


def _setting(name: str) -> str:
    return f"CMDOP_{name.upper()}"


def _checked(name: str, text: str) -> str:
    setting = _setting(name)
    if name != "audit_key":
        return check_secret(setting, text)
    fix = f"export {setting}=$(openssl rand -base64 {SEED_BYTES})"
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(setting, "is not base64", fix) from None
    if len(seed) != SEED_BYTES:
        raise Refusal(setting, f"is not {SEED_BYTES} bytes in base64", fix)
    return check_secret(setting, text)


def _stored(data_dir: Path) -> dict[str, Any] | None:
    path = data_dir / SECRETS_FILE
    content = read_private(path, SECRETS_FILE)
    if content is None:
        return None
    try:
        stored = json.loads(content)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise Refusal(SECRETS_FILE, f"{path} is damaged", f"restore {path} from where you keep it")
    return stored


def read_secrets(config: Config) -> Secrets | None:
    """Return the secrets from variables and secrets.json, ``None`` if neither has any; refuse partial or weak ones."""
    given: dict[str, Secret | None] = {
        "secret_key": config.secret_key,
        "pepper": config.pepper,
        "audit_key": config.audit_key,
    }
    found = {name: _checked(name, secret.text) for name, secret in given.items() if secret is not None}
    if len(found) < len(given):
        stored = _stored(config.data_dir)
        if stored is None:
            return None
        for name in given.keys() - found.keys():
            text = stored.get(name)
            if not isinstance(text, str) or not text.strip():
                fix = f"restore {config.data_dir / SECRETS_FILE}, or set {_setting(name)}"
                raise Refusal(_setting(name), f"is neither in the environment nor in {SECRETS_FILE}", fix)
            found[name] = _checked(name, text)
    if len(set(found.values())) != len(found):
        raise Refusal("CMDOP_PEPPER", "is the same as another secret", "export CMDOP_PEPPER=$(openssl rand -base64 32)")
    return Secrets(found["secret_key"], found["pepper"].encode(), base64.b64decode(found["audit_key"]))


def refuse_vanished(config: Config) -> None:
    """Refuse to make new secrets beside a database that was made with others."""
    path = config.data_dir / SECRETS_FILE
    if config.database is None and database_path(config.data_dir).exists():
        raise Refusal(SECRETS_FILE, f"{path} is gone, but the database is there", f"restore {path} from your backup")


def open_secrets(config: Config) -> Secrets:
    """Return the secrets, making them on the first start; never while a database says that there were some.

    A new pepper beside an old database would silently make every key and sign-in unknown.
    """
    existing = read_secrets(config)
    if existing is not None:
        return existing
    from filelock import FileLock  # noqa: PLC0415 - as below

    with FileLock(config.data_dir / "secrets.lock", mode=0o600, timeout=60):
        return read_secrets(config) or _make_secrets(config)  # a start and a ``bootstrap`` at once use the same ones


def _make_secrets(config: Config) -> Secrets:
    path = config.data_dir / SECRETS_FILE
    refuse_vanished(config)
    fresh = {
        "secret_key": secrets.token_urlsafe(48),
        "pepper": secrets.token_urlsafe(48),
        "audit_key": base64.b64encode(secrets.token_bytes(SEED_BYTES)).decode(),
    }
    write_private(path, (json.dumps(fresh, indent=2) + "\n").encode())
    made = read_secrets(config)
    if made is None:
        raise Refusal(SECRETS_FILE, f"{path} vanished while it was made", f"ls -la {config.data_dir}")
    return made


def lock(data_dir: Path) -> "FileLock":
    """Return the lock that a running server holds for life; refuse when another one does."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - brings asyncio, which most commands do without

    held = FileLock(data_dir / "server.lock", mode=0o600)
    try:
        held.acquire(timeout=0)
    except Timeout:
        running = read_running(data_dir)
        who = f" (process {running['pid']})" if running else ""
        fix = f"stop it first{', kill ' + str(running['pid']) if running else ''}; or export {SETTING}=another/path"
        raise Refusal(SETTING, f"another server{who} runs on {data_dir}", fix) from None
    return held


def write_running(data_dir: Path, ready: dict[str, Any]) -> None:
    """Note where the server listens, for ``bootstrap`` and its like in another terminal."""
    write_private(data_dir / "running.json", json.dumps(ready).encode())


def read_running(data_dir: Path) -> dict[str, Any] | None:
    """Return what the running server noted, ``None`` when it left nothing readable."""
    try:
        content = read_private(data_dir / "running.json", SETTING)
        running = json.loads(content) if content else None
    except (Refusal, ValueError):
        return None
    return running if isinstance(running, dict) else None


def forget_running(data_dir: Path) -> None:
    """Remove the note when the server ends."""
    (data_dir / "running.json").unlink(missing_ok=True)
