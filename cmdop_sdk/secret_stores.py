"""Where secrets of token pairs are kept when not in the token file itself.

A store has four verbs: probe, get, set, delete. The choice is made once at sign-in (``choose_store``), pinned by
the caller and in every token file; no read or write ever changes to another store on its own.
"""

import os
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cmdop_sdk.errors import LocalCode, LocalStateError

KEYRING_WAIT = 3.0  # seconds for one call; a locked collection waits for a dialog that nobody may see
SERVICE = "cmdop"
CHOICES = ("auto", "keyring", "file", "env")

T = TypeVar("T")


class SecretStore(Protocol):
    """Keeps texts under names. Every failure is a ``LocalStateError``; ``None`` means there is no such item."""

    def probe(self) -> None:
        """Write, read back and delete an item of no worth; raise if that does not work."""

    def get(self, item: str) -> str | None:
        """Return the text of ``item``."""

    def set(self, item: str, text: str) -> None:
        """Keep ``text`` under ``item``."""

    def delete(self, item: str) -> None:
        """Remove ``item``; nothing happens when there is none."""


class KeyringStore:
    """The operating system's keyring. Each call runs in a daemon thread, since a stuck call cannot be cancelled."""

    def __init__(self, wait: float = KEYRING_WAIT) -> None:
        self._wait = wait
        self._is_stuck = False

    def probe(self) -> None:
        """Write, read back and delete; a backend that forgets what it was given is refused."""
        item, text = f"probe/{secrets.token_hex(8)}", secrets.token_hex(16)
        self.set(item, text)
        found = self.get(item)
        self.delete(item)
        if found != text:
            raise _unusable("it does not give back what it was given")

    def get(self, item: str) -> str | None:
        """Return the text of ``item``."""
        return self._call(lambda backend: _text_or_none(backend.get_password(SERVICE, item)))

    def set(self, item: str, text: str) -> None:
        """Keep ``text`` under ``item``."""
        self._call(lambda backend: backend.set_password(SERVICE, item, text))

    def delete(self, item: str) -> None:
        """Remove ``item`` if it is there."""

        def remove(backend: Any) -> None:
            if backend.get_password(SERVICE, item) is not None:
                backend.delete_password(SERVICE, item)

        self._call(remove)

    def _call(self, act: Callable[[Any], T]) -> T:
        if self._is_stuck:
            raise _unusable(f"it did not answer within {self._wait:g} seconds")
        answers: list[T] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                answers.append(act(_backend()))
            except BaseException as failure:  # whatever a foreign backend raises is carried over to the caller
                failures.append(failure)

        thread = threading.Thread(target=work, name="cmdop-keyring", daemon=True)
        thread.start()
        thread.join(self._wait)
        if answers:
            return answers[0]
        if failures and isinstance(failures[0], LocalStateError):
            raise failures[0]
        if failures:
            raise _unusable(f"{type(failures[0]).__name__}") from failures[0]
        self._is_stuck = True
        raise _unusable(f"it did not answer within {self._wait:g} seconds")


def secret_store(kind: str) -> SecretStore:
    """Return the store of ``kind``; only ``keyring`` is one, since ``file`` is the token file itself."""
    if kind != "keyring":
        raise LocalStateError(f"unknown credential store {kind!r}", hint=f"CMDOP_CREDENTIAL_STORE={'|'.join(CHOICES)}")
    return _KEYRING


def choose_store(wanted: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return (kind, why) for a new sign-in, having tried it; ``why`` is ``""`` unless ``auto`` fell back to a file.

    A sentence in ``why`` is shown *before* the secret is written in plain text. A store that was named and does not
    work is a ``LocalStateError``, never a fall-back.
    """
    if wanted == "file":
        return "file", ""
    if wanted == "env":
        raise LocalStateError(
            "the credential store is env, which keeps nothing: there is no sign-in, only CMDOP_API_KEY",
            hint="CMDOP_CREDENTIAL_STORE=file cmdop login",
        )
    if wanted != "auto":
        secret_store(wanted).probe()
        return wanted, ""
    if not keyring_is_likely(environ):
        return "file", "this session has no keyring"
    try:
        _KEYRING.probe()
    except LocalStateError as unusable:
        return "file", unusable.message
    return "keyring", ""


def keyring_is_likely(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether asking for a keyring makes sense: on Linux it needs a session bus, which CI and containers lack."""
    if environ.get("PYTHON_KEYRING_BACKEND") or not sys.platform.startswith("linux"):
        return True
    return (
        bool(environ.get("DBUS_SESSION_BUS_ADDRESS"))
        or Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere", "bus").exists()
    )


def _backend() -> Any:
    import keyring
    from keyring.backends import chainer, fail, null

    backend = keyring.get_keyring()
    if isinstance(backend, null.Keyring | fail.Keyring) or type(backend).__module__.startswith("keyrings.alt"):
        raise _unusable(f"{type(backend).__module__} keeps nothing safely")
    if isinstance(backend, chainer.ChainerBackend) and not backend.backends:
        raise _unusable("there is no backend")
    return backend


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unusable(reason: str) -> LocalStateError:
    return LocalStateError(
        f"the keyring cannot be used: {reason}",
        code=LocalCode.STORE_UNREACHABLE,
        hint="CMDOP_CREDENTIAL_STORE=file cmdop login",
    )


_KEYRING = KeyringStore()
