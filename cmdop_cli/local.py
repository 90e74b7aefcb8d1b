"""The local files below one directory: state.json, profiles.toml, config.toml. Reads and writes; decides nothing.

How a file is kept private, locked and replaced atomically is ``cmdop_sdk.files``'. A file that cannot be understood
is left as it is, and the failure (exit 78) names it.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmdop_cli import paths
from cmdop_cli.failures import Code, Failure
from cmdop_cli.state import State, parsed
from cmdop_cli.state_draft import Draft
from cmdop_cli.state_shape import SCHEMA
from cmdop_sdk import documents
from cmdop_sdk.files import PrivateFile, Warn, say_nothing

if TYPE_CHECKING:
    from cmdop_cli.profiles import Profiles
    from cmdop_cli.settings import Settings

LOCK_WAIT = 60.0  # seconds: many writers may queue up on a slow machine, and none of them holds it for long


class Local:
    """The files of one user. Nothing is read before it is asked for, and nothing is made before it is written."""

    def __init__(self, environ: Mapping[str, str] = os.environ, *, warn: Warn = say_nothing) -> None:
        self.root = paths.config_dir(environ)
        self.warn = warn
        self._profiles: Profiles | None = None
        self._settings: Settings | None = None

    def file(self, name: str) -> PrivateFile:
        """Return the private file called ``name`` in the directory."""
        return PrivateFile(self.root, self.root / name, self.warn)

    def state(self) -> State:
        """Return what state.json holds; an absent file is the empty state."""
        file = self.file(paths.STATE)
        content = file.read()
        return State() if content is None else _understood(file.path, documents.parse_json(file.path, content))

    def check_schema(self) -> None:
        """Raise if state.json is a newer cmdop's, before anything is done that would have to be noted there."""
        file = self.file(paths.STATE)
        content = file.read()
        if content is not None:
            documents.check_writable(file.path, documents.parse_json(file.path, content))

    def change_state(self, change: Callable[[Draft], None]) -> State:
        """Apply ``change`` to state.json under its lock, and return the new state; an equal one is not written."""
        file = self.file(paths.STATE)
        with file.locked(wait=LOCK_WAIT) as locked:
            content = locked.read()
            document = {} if content is None else documents.parse_json(file.path, content)
            documents.check_writable(file.path, document)
            _understood(file.path, document)
            draft = Draft(document)
            change(draft)
            fresh = documents.to_json(document)
            state = draft.state
            if fresh != content:
                locked.write(fresh)
        return state

    def profiles(self) -> "Profiles":
        """Return what profiles.toml holds; read once, and again after it was written."""
        if self._profiles is None:
            from cmdop_cli.profiles import Profiles

            self._profiles = Profiles(self.file(paths.PROFILES))
        return self._profiles

    def settings(self) -> "Settings":
        """Return what config.toml holds; read once, and again after it was written."""
        if self._settings is None:
            from cmdop_cli.settings import Settings

            self._settings = Settings(self.file(paths.CONFIG))
        return self._settings


def _understood(path: Path, document: Mapping[str, Any]) -> State:
    try:
        return parsed(document)
    except ValueError as wrong:
        newer = document.get("schema", SCHEMA) > SCHEMA
        raise Failure(
            Code.LOCAL_STATE,
            f"{path} {'was written by a newer cmdop' if newer else 'cannot be used'}: {wrong}",
            hint="pip install -U cmdop-cli" if newer else f"mv {path} {path}.broken",
        ) from None
