"""Keyring backends of every temper, chosen by ``PYTHON_KEYRING_BACKEND=tests.sdk.keyrings.<Name>``."""

import time
from typing import Any

from keyring.backend import KeyringBackend
from keyring.backends import fail, null


class Honest(KeyringBackend):
    """Keeps what it is given, in this process."""

    priority = 1  # type: ignore[assignment]
    kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        """Return what is kept."""
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it."""
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Forget it."""
        del self.kept[service, username]


class Lying(Honest):
    """Accepts everything and gives back nothing."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return nothing."""
        return None


class Hanging(Honest):
    """Waits for a dialog that nobody sees."""

    def get_password(self, service: str, username: str) -> str | None:
        """Wait."""
        time.sleep(30)
        return None

    set_password = get_password  # type: ignore[assignment]


class Locked(Honest):
    """Refuses, and puts the secret into its complaint."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Complain."""
        raise RuntimeError(f"cannot store {password}")


class Null(null.Keyring):
    """The library's own silent loss, by another name."""


class Fail(fail.Keyring):
    """The library's own refusal, by another name."""


def use(backend: type[Any]) -> Any:
    """Make ``backend`` the process's keyring and return what was before."""
    import keyring

    before = keyring.get_keyring()
    keyring.set_keyring(backend())
    return before
