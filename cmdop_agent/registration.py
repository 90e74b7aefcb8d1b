"""What this machine knows of itself: its registration and its credential, in the agent's own private directory."""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from cmdop_sdk.errors import LocalStateError
from cmdop_sdk.files import PrivateFile


@dataclass(frozen=True, slots=True)
class Registration:
    """One registered machine: where, as what, and the credential that opens nothing but its own link."""

    server: str
    relay_url: str
    mode: str
    workspace_id: str
    workspace_slug: str
    machine_id: str
    hostname: str
    name: str
    credential: str
    ca_pin: str | None = None
    ca_file: str | None = None
    accept_bypass: bool = False  # whoever registered agreed, here, to a gate that lets everything through (D-25)
    is_seeded: bool = False  # the workspace's defaults for the gate were taken, once

    def __repr__(self) -> str:
        return f"Registration({self.machine_id} in {self.workspace_slug})"


class RegistrationFile:
    """``machine.json``: read at start, replaced at registration and rotation."""

    def __init__(self, directory: Path) -> None:
        self._file = PrivateFile(directory, directory / "machine.json")

    def read(self) -> Registration | None:
        """Return the registration, ``None`` before the first; ``LocalStateError`` when the file is not usable."""
        content = self._file.read()
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Registration)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LocalStateError(
                f"{self._file.path} is not a machine's registration: {error}",
                path=self._file.path,
                hint="cmdop connect --replace",
            ) from None

    def write(self, registration: Registration) -> None:
        """Replace the registration, atomically and privately."""
        with self._file.locked() as locked:
            locked.write(msgspec.json.encode(asdict(registration)))
