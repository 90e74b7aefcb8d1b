"""One short command that is asked for by plain HTTP: what goes to the relay, and what comes back. No I/O, no rows.

As structs they travel as they are through the relay's private socket; msgspec writes their bytes as base64.
"""

from typing import Any

from msgspec import Struct

from cmdop_server.access.errors import Refused
from cmdop_wire.vocab import ErrorCode

LONGEST_RUN = 30.0  # seconds at the machine; what takes longer has a stream
LONGEST_ARGV = 48 * 1024  # bytes; all of OPEN is one control frame
LONGEST_INPUT = 128 * 1024  # bytes of stdin: less than a machine grants at once
OUTPUT_LIMIT = 1024 * 1024  # bytes kept of each of stdout and stderr


class Order(Struct, frozen=True):
    """A command for a machine, by whom: the credential is named by its id, and asked for again by the relay.

    ``account_id`` is whose command it is, to be counted; a workspace's key acts for nobody, and ``owner_ids`` says who
    the workspace's owners are.
    """

    workspace_id: str
    machine_id: str
    credential_id: str
    address: str
    request_id: str
    argv: list[str]
    account_id: str = ""
    owner_ids: list[str] = []
    cwd: str = ""
    timeout: float = LONGEST_RUN
    stdin: bytes = b""


class Left(Struct, frozen=True):
    """What a command left: ``exit_code`` is its own, 128 + n after a signal, 124 after a time-out.

    ``duration`` is in seconds at the machine; ``truncated`` tells that more was written than ``OUTPUT_LIMIT``.
    """

    exit_code: int
    signal: str | None
    timed_out: bool
    duration: float
    stdout: bytes
    stderr: bytes
    truncated: bool


class Declined(Struct, frozen=True):
    """Why it did not run, or why nobody knows how it ended: a refusal that can be sent."""

    code: ErrorCode
    message: str
    hint: str = ""
    details: dict[str, Any] = {}

    @classmethod
    def by(cls, refused: Refused) -> "Declined":
        """Return a refusal in the form that travels."""
        return cls(refused.code, refused.message, refused.hint, refused.details)

    def as_refused(self) -> Refused:
        """Return the refusal to raise."""
        return Refused(self.code, self.message, hint=self.hint, **self.details)
