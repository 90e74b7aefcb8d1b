"""``config.toml``: what the user edits. Read with the environment's say on top; changed key by key, comments kept."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmdop_cli import environment, paths
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.options import OUTPUTS
from cmdop_sdk import documents
from cmdop_sdk.files import PrivateFile

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")
STORES = ("auto", "keyring", "file", "env")
_NOT_THERE = {"encrypted-file": "; nothing encrypts a file here, which is what keyrings are for"}


class Setting(NamedTuple):
    """One key of config.toml: its type, what it may be, its built-in value, the variable that beats it."""

    kind: type
    default: Any
    variable: str | None
    text: str
    choices: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """Return what a value must be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return {bool: "true or false", int: "a whole number", str: "a text"}[self.kind]

    def accepts(self, value: Any) -> bool:
        """Tell whether a value of config.toml is one; ``True`` is no number."""
        return type(value) is self.kind and (not self.choices or value in self.choices)

    def read(self, text: str | None, name: str) -> Any:
        """Return the value that ``text`` spells, ``None`` for none; ``name`` says whose fault a wrong one is."""
        if text is None:
            return None
        word = text.strip()
        if self.kind is bool and word.lower() in (*_YES, *_NO):
            return word.lower() in _YES
        if self.kind is int and word.isascii() and word.isdigit() and len(word) < 7:
            return int(word)
        if self.kind is str and word and self.accepts(word):
            return word
        message = f"{name} must be {self.wanted}{_NOT_THERE.get(word, '')}"
        if name == self.variable:
            raise Failure(Code.LOCAL_STATE, message, hint=f"unset {name}")
        raise usage(message, hint=f"cmdop config set {name} {self._meant_by(word)}")

    def _meant_by(self, word: str) -> str:
        from difflib import get_close_matches

        if self.choices:
            return next(iter(get_close_matches(word, self.choices, n=1)), self.choices[0])
        return "true" if self.kind is bool else str(self.default or "VALUE")


SETTINGS = {
    "output": Setting(str, None, environment.OUTPUT, "form of output when none is asked for", OUTPUTS),
    "color": Setting(bool, False, None, "bold headings on terminals"),
    "no_input": Setting(bool, False, environment.NO_INPUT, "never ask a question"),
    "require_workspace": Setting(
        bool, False, environment.REQUIRE_WORKSPACE, "refuse changes in a workspace that is merely active"
    ),
    "credential_store": Setting(
        str, "auto", environment.CREDENTIAL_STORE, "where sign-ins are kept; env: nowhere, a key alone acts", STORES
    ),
    "timeout": Setting(int, 30, environment.TIMEOUT, "seconds to wait for an answer"),
    "retries": Setting(int, 4, environment.RETRIES, "how often a safe request is tried again"),
    "pager": Setting(str, None, environment.PAGER, "program that tables longer than the screen are shown with"),
}


class Value(NamedTuple):
    """A setting in force, and where it came from: ``environment``, ``config.toml`` or ``built in``."""

    name: str
    value: Any
    origin: str


class Settings:
    """The settings of one user; the file is read once, when first asked for."""

    def __init__(self, file: PrivateFile) -> None:
        self.file = file
        self._document: Mapping[str, Any] | None = None

    @property
    def document(self) -> Mapping[str, Any]:
        """Return the file's content, checked; ``{}`` when there is none."""
        if self._document is None:
            content = self.file.read()
            self._document = {} if content is None else documents.parse_toml(self.file.path, content)
            for name, value in self._document.items():
                self._check(name, value)
        return self._document

    def value(self, name: str, environ: Mapping[str, str] = os.environ) -> Value:
        """Return the setting called ``name``."""
        setting = known(name)
        if setting.variable is not None and environ.get(setting.variable):
            return Value(name, setting.read(environ[setting.variable], setting.variable), setting.variable)
        if name in self.document:
            return Value(name, self.document[name], self.file.path.name)
        return Value(name, setting.default, "built in")

    def set(self, name: str, text: str | None) -> Value:
        """Write one setting, or remove it (``None``); the rest of the file stays as its author wrote it."""
        import tomlkit

        setting = known(name)
        value = setting.read(text, name)
        with self.file.locked() as locked:
            content = locked.read() or b""
            documents.parse_toml(self.file.path, content)  # tomlkit's own complaints name no file
            document = tomlkit.parse(content.decode())
            if value is None:
                document.pop(name, None)
            else:
                document[name] = value
            fresh = tomlkit.dumps(document).encode()
            if fresh != content:
                locked.write(fresh)
        self._document = None
        return self.value(name, {})

    def stamp(self) -> str:
        """Return what changes whenever the file does: ``-`` when there is none."""
        return paths.stamp_of(os.fspath(self.file.path))

    def _check(self, name: str, value: Any) -> None:
        setting = SETTINGS.get(name)
        path = self.file.path
        if setting is None:
            raise Failure(Code.LOCAL_STATE, f"{path} has an unknown setting {name}", hint="cmdop config list")
        if not setting.accepts(value):
            raise Failure(
                Code.LOCAL_STATE,
                f"{path} has a wrong value for {name}: it must be {setting.wanted}",
                hint=f"cmdop config set {name} --unset",
            )


def known(name: str) -> Setting:
    """Return the setting called ``name``; an unknown one is a usage failure with a suggestion."""
    if name in SETTINGS:
        return SETTINGS[name]
    from difflib import get_close_matches

    near = get_close_matches(name, SETTINGS, n=1)
    raise usage(f"there is no setting {name}", hint=f"cmdop config get {near[0]}" if near else "cmdop config list")
