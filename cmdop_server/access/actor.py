"""The actor: who asks, with which credential. Every door and service takes one first."""

from dataclasses import dataclass
from enum import StrEnum

from cmdop_wire.vocab import Reach, Scope


class ActorKind(StrEnum):
    """What sort of caller acts."""

    ACCOUNT = "account"  # a person: access token or cabinet session
    PERSONAL_KEY = "personal_key"
    WORKSPACE_KEY = "workspace_key"
    JOIN_TOKEN = "join_token"  # registers one machine, nothing else  # noqa: S105 - a kind, no secret
    MACHINE = "machine"  # an agent on its own link: tells what happened there, may ask for nothing
    OPERATOR = "operator"  # someone on the server's host (D-5a)
    SYSTEM = "system"  # background work


@dataclass(frozen=True, slots=True)
class Actor:
    """One caller, as proved by its credential at the start of the request.

    ``workspace_id`` (a ``ws_…`` id) is what the credential is bound to: everything else is an unknown id to it.
    ``None`` means a cabinet session or the operator, who name the workspace at every call.
    Role and workspace state are *not* here: they are read at decision time (D-10).
    """

    kind: ActorKind
    account_id: str | None = None
    label: str = ""  # e-mail or key name, for the audit log
    credential_id: str | None = None  # key_…, fam_…, jtk_…, mch_… or None
    workspace_id: str | None = None
    scopes: frozenset[Scope] | None = None  # None: not a key, no narrowing
    sign_in_id: str | None = None
    reach: Reach | None = None  # of the sign-in: what its holder may list and exchange for (D-16)
    request_id: str = ""
    address: str = ""

    @property
    def is_key(self) -> bool:
        """Tell whether a key acts; keys never mint, promote or configure (D-13)."""
        return self.kind in (ActorKind.PERSONAL_KEY, ActorKind.WORKSPACE_KEY)

    @property
    def id(self) -> str:
        """Return the id that the audit log and the rate limiter know this actor by."""
        if self.is_key or self.kind in (ActorKind.JOIN_TOKEN, ActorKind.MACHINE):
            return self.credential_id or ""
        return self.account_id or self.kind.value


def operator() -> Actor:
    """Return the actor of a command run on the server's host."""
    return Actor(kind=ActorKind.OPERATOR, label="operator")


SYSTEM = Actor(kind=ActorKind.SYSTEM, label="system")
