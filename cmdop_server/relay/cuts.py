"""What ends a stream: causes, as effects of lower apps or by the clock, and the cut of each. One line a cause."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from cmdop_server.access import effects
from cmdop_server.access.actor import Actor
from cmdop_server.relay.streams import Holder, Stream
from cmdop_wire.frames import LIMITS, CloseCode


@dataclass(frozen=True, slots=True)
class Cut:
    """What ends, and why. A stream is touched when everything that is given here matches.

    ``is_final``: the credential or machine is dead, nothing needs to be asked; else the right is decided anew.
    """

    reason: str
    workspace_id: str | None = None
    account_id: str | None = None
    credential_id: str | None = None  # key_…, fam_… or sig_…
    machine_id: str | None = None
    session_id: str | None = None
    is_final: bool = True
    ends_link: bool = False
    comes_back: bool = False  # the machine dials anew at once: it is only its link that is out of date
    keeps_streams: bool = False  # the machine comes back with another credential, and they with it
    code: CloseCode = CloseCode.AUTH

    def touches(self, stream: Stream, holder: Holder) -> bool:
        """Tell whether this holder of this stream is meant."""
        actor = holder.actor
        return (
            self.workspace_id in (None, stream.workspace_id)
            and self.account_id in (None, actor.account_id)
            and (self.credential_id is None or self.credential_id in (actor.credential_id, actor.sign_in_id))
            and self.machine_id in (None, stream.machine_id)
            and self.session_id in (None, stream.id)
        )


# Effect → the cut that it means. One line a cause.
CAUSES: dict[type[effects.Effect], Callable[..., Cut]] = {
    effects.CredentialRevoked: lambda e: Cut(e.cause, credential_id=e.credential_id),
    effects.MemberRemoved: lambda e: Cut("member_removed", workspace_id=e.workspace_id, account_id=e.account_id),
    effects.RoleChanged: lambda e: Cut(
        "role_lowered", e.workspace_id, e.account_id, is_final=False, code=CloseCode.FORBIDDEN
    ),
    effects.MachineRemoved: lambda e: Cut(
        "machine_removed", machine_id=e.machine_id, ends_link=True, code=CloseCode.GONE
    ),
    effects.MachineMoved: lambda e: Cut(
        "machine_moved", machine_id=e.machine_id, ends_link=True, comes_back=True, code=CloseCode.GONE
    ),
    effects.MachineCredentialChanged: lambda e: Cut(
        "machine_replaced" if e.is_replaced else "credential_changed",
        machine_id=e.machine_id,
        ends_link=True,
        comes_back=not e.is_replaced,
        keeps_streams=not e.is_replaced,
    ),
    effects.SessionTerminated: lambda e: Cut(e.cause, session_id=e.session_id, code=CloseCode.POLICY),
}

# When rights cannot be read any more, silence means deny: everybody is out.
LOST_DATABASE = Cut("unavailable", code=CloseCode.UNAVAILABLE)


def by_the_clock(actor: Actor, token_ends_at: datetime | None, ends_at: datetime | None) -> tuple[datetime, Cut] | None:
    """Return when a stream of ``actor`` ends though nobody does anything, and the cut that it is; ``None`` for never.

    A key's stream ends with the key, a sign-in's with the sign-in, or when no fresh token came in time (D-14).
    """
    credential, ends = actor.sign_in_id or actor.credential_id, []
    if ends_at is not None:
        ends.append((ends_at, Cut("key_expired" if actor.is_key else "sign_in_expired", credential_id=credential)))
    if token_ends_at is not None and not actor.is_key:
        late = token_ends_at + timedelta(seconds=LIMITS.reauth)
        ends.append((late, Cut("reauth_missed", credential_id=credential)))
    return min(ends, key=lambda each: each[0], default=None)


def cut_from(told: dict[str, Any]) -> Cut:
    """Return the cut that another process told of; ``ValueError`` when it is none."""
    known = {field.name for field in fields(Cut)}
    if not isinstance(told, dict) or set(told) - known or not isinstance(told.get("reason"), str):
        raise ValueError("not a cut")
    return Cut(**{**told, "code": CloseCode(told.get("code", CloseCode.AUTH))})
