"""Effects: lower apps announce what happened, upper apps react, without the lower knowing the upper.

Handlers are registered in ``AppConfig.ready`` and run, in the order of registration, inside the announcing
transaction: if one fails, the change does not happen. A handler that must push to the outside does so with
``transaction.on_commit``. A test lists every effect with its handlers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cmdop_server.access.actor import Actor


@dataclass(frozen=True, slots=True)
class Effect:
    """Base of all effects; ``actor`` is who caused it."""

    actor: Actor


@dataclass(frozen=True, slots=True)
class AccountCreated(Effect):
    """A new account exists, without workspaces yet (D-4)."""

    account_id: str


@dataclass(frozen=True, slots=True)
class PasswordChanged(Effect):
    """The account's other sign-ins end; ``keep_sign_in_id`` survives when the change came through it (D-16)."""

    account_id: str
    keep_sign_in_id: str | None = None


@dataclass(frozen=True, slots=True)
class AccountChanged(Effect):
    """What ``event`` names happened to the account itself, and all that follows from it has: it remains to be told."""

    account_id: str
    event: str


@dataclass(frozen=True, slots=True)
class MemberRemoved(Effect):
    """The account is no longer in the workspace: everything of theirs there ends for ever (D-17)."""

    workspace_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class RoleChanged(Effect):
    """The account's role in the workspace is another now."""

    workspace_id: str
    account_id: str
    role: str


@dataclass(frozen=True, slots=True)
class CredentialRevoked(Effect):
    """A key (``key_…``), token family (``fam_…``) or sign-in (``sig_…``) is dead."""

    workspace_id: str | None
    credential_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class MachineRemoved(Effect):
    """The machine is about to be no more: its link, its sessions and its credential end."""

    workspace_id: str
    machine_id: str


@dataclass(frozen=True, slots=True)
class MachineMoved(Effect):
    """The machine belongs to workspace ``target_id`` now: its sessions end, its link is made anew there (D-20)."""

    workspace_id: str  # where it was
    target_id: str
    machine_id: str


@dataclass(frozen=True, slots=True)
class MachineCredentialChanged(Effect):
    """The machine's old credential is dead, and with it a link that was opened with it (D-5).

    ``is_replaced``: another machine, or a wiped one, took the name over; nothing of the old one lives on.
    """

    workspace_id: str
    machine_id: str
    is_replaced: bool


@dataclass(frozen=True, slots=True)
class SessionTerminated(Effect):
    """Somebody ended the session on purpose, an admin or who operates it: whoever is in it is out at once."""

    workspace_id: str
    session_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class EventRecorded(Effect):
    """An event was written to a workspace's audit log: what tells the outside of it will hang here (D-33)."""

    workspace_id: str
    event_id: str


E = TypeVar("E", bound=Effect)
_handlers: dict[type[Effect], list[Callable[[Any], None]]] = {}


def on(effect: type[E], handler: Callable[[E], None]) -> None:
    """Register ``handler`` for ``effect``; registering the same one twice is ignored, so ``ready`` may rerun."""
    registered = _handlers.setdefault(effect, [])
    if handler not in registered:
        registered.append(handler)


def announce(effect: Effect) -> None:
    """Run every handler of the effect, in order, in the caller's transaction."""
    for handler in _handlers.get(type(effect), ()):
        handler(effect)


def registered() -> dict[str, list[str]]:
    """Return effect name → handlers' dotted names, for the test and the docs."""
    return {
        effect.__name__: [f"{handler.__module__}.{handler.__qualname__}" for handler in handlers]
        for effect, handlers in _handlers.items()
    }
