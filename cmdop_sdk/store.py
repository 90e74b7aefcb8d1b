"""Local state that the SDK shares with the command line: where it is, and the token pairs in it.

``accounts/<hash of origin and account id>/<workspace id>/token_<mode>.json`` holds one pair, or with the keyring
store everything but its secrets. How files are kept private is in ``files``, what stands in them in ``token_files``
and ``profiles``.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cmdop_sdk import documents
from cmdop_sdk.auth import Refresh, TokenPair
from cmdop_sdk.errors import AuthenticationError, LocalCode, LocalStateError
from cmdop_sdk.files import LockedElsewhere, LockedFile, PrivateFile, Warn, say_nothing
from cmdop_sdk.secret_stores import secret_store
from cmdop_sdk.token_files import (
    StoredToken,
    account_hash,
    described,
    from_document,
    pair_from,
    secrets_of,
    to_document,
)
from cmdop_wire.ids import is_id

REFRESH_WAIT = 90.0  # seconds: the holder of the lock may be repeating a refresh against a slow server
MODES = ("prod", "dev")


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of all local state: ``CMDOP_CONFIG_DIR``, else the platform's (``~/.config/cmdop``)."""
    if "CMDOP_CONFIG_DIR" in environ:
        chosen = environ["CMDOP_CONFIG_DIR"]
        # A relative one would let the working directory decide whose tokens are used (D-23).
        if "\0" in chosen or not Path(chosen).is_absolute():
            raise LocalStateError("CMDOP_CONFIG_DIR is set but is no absolute path", hint="unset CMDOP_CONFIG_DIR")
        return Path(chosen)
    if os.name == "nt" and environ.get("APPDATA"):
        return Path(environ["APPDATA"], "cmdop")
    if Path(environ.get("XDG_CONFIG_HOME", "")).is_absolute():
        return Path(environ["XDG_CONFIG_HOME"], "cmdop")
    try:
        home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise LocalStateError("there is no home directory to keep state in", hint="export CMDOP_CONFIG_DIR=/some/dir")
    return home / ".config" / "cmdop"


class Store:
    """The token files below one configuration directory. ``warn`` takes what a person should be told."""

    def __init__(self, root: Path | None = None, *, warn: Warn = say_nothing) -> None:
        self.root = root or config_dir()
        self.warn = warn

    def file(self, *parts: str) -> PrivateFile:
        """Return the private file at ``parts`` below the root, such as ``file("state.json")``."""
        return PrivateFile(self.root, self.root.joinpath(*parts), self.warn)

    def token_file(self, *, origin: str, account_id: str, workspace_id: str, mode: str) -> PrivateFile:
        """Return the file of one pair; ids and mode are checked, so nothing in them can leave the directory."""
        if not is_id(account_id, "account") or not is_id(workspace_id, "workspace") or mode not in MODES:
            raise LocalStateError(f"there are no tokens for {account_id!r} in {workspace_id!r} and mode {mode!r}")
        return self.file("accounts", account_hash(origin, account_id), workspace_id, f"token_{mode}.json")

    def token(self, *, origin: str, account_id: str, workspace_id: str, mode: str) -> StoredToken | None:
        """Return what is known of a pair, or ``None``; its secrets, and so the keyring, are left alone."""
        file = self.token_file(origin=origin, account_id=account_id, workspace_id=workspace_id, mode=mode)
        found = self._read(file)
        return None if found is None else found[0]

    def pair(self, *, origin: str, account_id: str, workspace_id: str, mode: str) -> TokenPair | None:
        """Return a pair with its secrets, or ``None`` when there is no such file."""
        file = self.token_file(origin=origin, account_id=account_id, workspace_id=workspace_id, mode=mode)
        found = self._read(file)
        return None if found is None else self._with_secrets(*found)

    def tokens(
        self, account: str = "*", workspace_id: str = "*", mode: str = "*"
    ) -> Iterator[StoredToken | LocalStateError]:
        """Yield every stored pair in a stable order, and in place of an unusable file what is wrong with it.

        ``account`` is an ``account_hash``; ``*`` is any.
        """
        for path in sorted(self.root.glob(f"accounts/{account}/{workspace_id}/token_{mode}.json")):
            try:
                found = self._read(PrivateFile(self.root, path, self.warn))
            except LocalStateError as wrong:
                yield wrong
            else:
                if found is not None:
                    yield found[0]

    def save(self, pair: TokenPair, store: str) -> StoredToken:
        """Write ``pair`` with its secrets into the store of that kind, replacing what was there; under the lock."""
        with self._file_of(pair).locked() as file:
            return self.save_locked(file, pair, store)

    def save_locked(self, file: LockedFile, pair: TokenPair, store: str) -> StoredToken:
        """Write ``pair`` into its file, whose lock is held; a broken file is set aside, a newer one refused."""
        stored = described(self._file_of(pair).path, pair, store)
        earlier = self._replaceable(file, stored.path)
        secrets = secrets_of(pair)
        if store != "file":
            # Its item first: it carries its own times and family, so a crash between the two writes loses nothing.
            secret_store(store).set(stored.item, documents.to_json(secrets).decode())
        file.write(documents.to_json(to_document(stored, secrets if store == "file" else {})))
        if earlier is not None and earlier.store not in (store, "file"):
            secret_store(earlier.store).delete(earlier.item)
        return stored

    def forget(self, stored: StoredToken) -> bool:
        """Remove a pair from file and store; return whether there was one."""
        with self._file_of(stored).locked() as file:
            if stored.store != "file":
                secret_store(stored.store).delete(stored.item)
            return file.remove()

    def _file_of(self, place: StoredToken | TokenPair) -> PrivateFile:
        return self.token_file(
            origin=place.origin, account_id=place.account_id, workspace_id=place.workspace_id, mode=place.mode
        )

    def _read(self, file: PrivateFile) -> tuple[StoredToken, documents.Document] | None:
        content = file.read()
        if content is None:
            return None
        document = documents.parse_json(file.path, content)
        stored = from_document(file.path, document)
        # A copied or edited file must not make a token travel to another origin, mode or workspace (D-23).
        try:
            agrees = self._file_of(stored).path == file.path
        except LocalStateError:
            agrees = False
        if not agrees:
            raise LocalStateError(
                f"{file.path} does not belong here: it names another origin, account, workspace or mode",
                path=file.path,
                hint=f"rm {file.path}",
            )
        return stored, document

    def _replaceable(self, file: LockedFile, path: Path) -> StoredToken | None:
        try:
            content = file.read()
            document = None if content is None else documents.parse_json(path, content)
        except LocalStateError:
            # A broken file never keeps anybody from signing in; a link or another's file still does.
            file.set_aside()
            return None
        if document is None:
            return None
        documents.check_writable(path, document)
        try:
            return from_document(path, document)
        except LocalStateError:
            file.set_aside()
            return None

    def _with_secrets(self, stored: StoredToken, document: documents.Document) -> TokenPair:
        if stored.store == "file":
            return pair_from(stored, document)
        item = secret_store(stored.store).get(stored.item)
        if item is None:
            raise _signed_out(stored.workspace_slug, f"the {stored.store} has no tokens for it")
        return pair_from(stored, documents.parse_json(stored.path, item.encode()))


class FileTokenSource:
    """Shares one stored pair among all processes of a user: a lock around the refresh, a re-read before it.

    Ten processes that find the token stale make one rotation: whoever gets the lock second finds a newer pair. A
    lost answer is safe, because the server accepts the old refresh token again for a while (D-16).
    """

    def __init__(self, store: Store, *, origin: str, account_id: str, workspace_id: str, mode: str) -> None:
        self._store = store
        self._place = {"origin": origin, "account_id": account_id, "workspace_id": workspace_id, "mode": mode}
        self._file = store.token_file(**self._place)
        self._pair: TokenPair | None = None

    async def pair(self) -> TokenPair:
        """Return the stored pair; read once, since a keyring may ask a person at every look."""
        if self._pair is None:
            self._pair = self._stored()
        return self._pair

    async def refreshed(self, stale: TokenPair, refresh: Refresh) -> TokenPair:
        """Return a pair newer than ``stale``: another process's, or the one that ``refresh`` brings."""
        import asyncio

        deadline = time.monotonic() + REFRESH_WAIT
        while True:
            # Polled without blocking, so that other tasks of this loop go on and a cancelled one leaves no lock.
            try:
                with self._file.locked(wait=0) as file:
                    self._pair = self._stored()
                    if self._pair.access_token == stale.access_token or self._pair.has_ended:
                        fresh = self._pair.check_successor(await refresh(self._pair))
                        stored = self._store.token(**self._place)
                        self._store.save_locked(file, fresh, stored.store if stored else "file")
                        self._pair = fresh
                    return self._pair
            except LockedElsewhere:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    def _stored(self) -> TokenPair:
        pair = self._store.pair(**self._place)
        if pair is None:
            raise _signed_out(self._place["workspace_id"], "there are no tokens for it")
        return pair


def _signed_out(workspace: str, reason: str) -> AuthenticationError:
    return AuthenticationError(
        f"not signed in to workspace {workspace}: {reason}",
        code=LocalCode.SIGNED_OUT,
        hint=f"cmdop login --workspace {workspace}",
    )
