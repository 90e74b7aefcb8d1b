"""Machines, sessions and how hosts join, as the API answers; in the manner of ``models``."""

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from cmdop_sdk.auth import Secret
from cmdop_sdk.models import WorkspaceRef


class ActorRef(Struct, frozen=True):
    """Who did something, as it was then: an account, a key or a join token."""

    id: str
    label: str = ""


class Operator(Struct, frozen=True):
    """Who operates a session: an account or a key (``kind``, ``id``)."""

    kind: str
    id: str
    label: str = ""


class ActiveSession(Struct, frozen=True):
    """The session that runs on a machine."""

    id: str
    operator: Operator
    since: datetime


class Machine(Struct, frozen=True, kw_only=True):
    """A registered host; ``authorized_actions`` are the caller's, what its own gate allows is asked there (D-25).

    ``state`` is online or offline. ``metrics`` are the last heartbeat's.
    """

    id: str
    hostname: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    state: str
    last_seen_at: datetime | None = None
    os: str = ""
    arch: str = ""
    agent_version: str = ""
    gate_mode: str = ""
    metrics: dict[str, Any] | None = None
    registered_at: datetime
    registered_by: ActorRef
    session: ActiveSession | None = None
    authorized_actions: list[str] = field(default_factory=list)


class MachineThen(Struct, frozen=True):
    """The machine of a session as it was called then."""

    id: str
    hostname: str


class Session(Struct, frozen=True, kw_only=True):
    """One interactive terminal: who was on which machine, when, and why it ended (D-26).

    ``state`` is active or ended, ``observers`` how many ever watched.
    """

    id: str
    machine: MachineThen
    operator: Operator
    state: str
    opened_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None
    observers: int = 0
    authorized_actions: list[str] = field(default_factory=list)


class RelayAddress(Struct, frozen=True):
    """Where to connect."""

    url: str


class Seeds(Struct, frozen=True):
    """What a machine's gate begins with."""

    gate_mode: str
    gate_rules: list[dict[str, str]] = field(default_factory=list)


class RegisteredMachine(Struct, frozen=True, kw_only=True):
    """A machine as its registration answers: ``credential`` is here once.

    It is ``None`` when the first answer was lost and this one is a replay: register again, with another
    ``idempotency_key``. ``seeds`` is ``None`` for a machine that has taken them before.
    """

    machine: Machine
    workspace: WorkspaceRef
    credential: Secret | None = None
    relay: RelayAddress
    seeds: Seeds | None = None


class CommandAnswer(Struct, frozen=True, kw_only=True):
    """What a command left, as it travels: each output as text, or as base64 where it is none."""

    exit_code: int
    signal: str | None = None
    timed_out: bool
    duration: float
    stdout: str
    stdout_encoding: str
    stderr: str
    stderr_encoding: str
    truncated: bool


class JoinToken(Struct, frozen=True, kw_only=True):
    """A join token without its text; ``state`` is live, redeemed, expired or revoked.

    ``machine_id`` is what came with it.
    """

    id: str
    name: str = ""
    created_by: ActorRef
    created_at: datetime
    expires_at: datetime
    state: str
    redeemed_at: datetime | None = None
    revoked_at: datetime | None = None
    machine_id: str | None = None


class CreatedJoinToken(JoinToken, frozen=True, kw_only=True):
    """A join token as its creation answers: ``secret`` is its text, here once, and ``None`` in a replay."""

    secret: Secret | None = None


class Ticket(Struct, frozen=True, kw_only=True):
    """What opens one stream within 30 seconds; ``secret`` is its text, here once, and ``None`` in a replay."""

    secret: Secret | None = None
    expires_at: datetime
    relay: RelayAddress
