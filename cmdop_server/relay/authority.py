"""The only place where the relay meets the database: at hello, open, resume, re-authentication, fence and close.

Everything here is a plain function, run on a few threads of the relay's own, never per frame. Each decision asks the
same doors as the API.
"""

import asyncio
import logging
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Refused, Unauthenticated
from cmdop_server.audit.services import record_denial
from cmdop_server.credentials.authenticate import actor_from_credential, note_use, prove, standing_of
from cmdop_server.database import refusal_of
from cmdop_server.machines import queries as machines
from cmdop_server.machines import services as machine_services
from cmdop_server.machines.models import Machine
from cmdop_server.relay.turns import Turns
from cmdop_server.sessions import executions
from cmdop_server.sessions import queries as sessions
from cmdop_server.sessions import services as session_services
from cmdop_server.sessions.tickets import redeem_ticket
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import Action, ErrorCode

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="relay")
_turns = Turns(THREADS)


async def ask(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function of this module on one of the relay's threads, when it is our turn.

    ``Refused`` with ``unavailable`` when the database cannot do it.
    """

    def run() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        except Refused as refusal:
            if refusal.code is ErrorCode.FORBIDDEN:
                record_denial(refusal)  # type: ignore[arg-type] # FORBIDDEN is Forbidden's alone
            raise
        except (DatabaseError, InterfaceError) as failure:
            if (busy := refusal_of(failure)) is None:
                raise
            log.warning("the database was busy or away", exc_info=failure)
            raise busy from failure

    async with _turns.turn():
        return await asyncio.get_running_loop().run_in_executor(_threads, run)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a client's credential stands for, and how long: that text, and the key or sign-in behind it."""

    actor: Actor
    expires_at: datetime | None
    ends_at: datetime | None
    only: tuple[str, Action] | None = None  # a ticket: this machine, this right


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an opening may do: the machine it is about, and the session that was recorded for it."""

    machine_id: str
    workspace_id: str
    hostname: str
    session_id: str | None = None


def machine_of_credential(text: str) -> Machine:
    """Return the machine with this credential, its workspace at hand; ``Unauthenticated`` when there is none."""
    machine = machines.machine_by_credential(text)
    if machine is None:
        raise Unauthenticated("no usable machine credential")
    return machine


def caller_of(text: str, *, address: str, request_id: str) -> Caller:
    """Return who a key, access token or ticket stands for; a ticket is used up by this."""
    if text.startswith("cmdtk_"):
        ticket = redeem_ticket(text, address=address, request_id=request_id)
        return Caller(ticket.actor, ticket.expires_at, ticket.ends_at, (ticket.machine_id, ticket.action))
    proof = prove(text, address=address, request_id=request_id)
    note_use(proof)
    return Caller(proof.actor, proof.expires_at, proof.ends_at)


def caller_by_id(credential_id: str, *, address: str, request_id: str) -> Caller:
    """Return who a key or a family of tokens stands for that a worker has proved a moment ago.

    It is for less than two minutes: the token that was shown is not asked for again, what ends the key or sign-in is.
    """
    standing = standing_of(credential_id, address=address, request_id=request_id)
    return Caller(standing.actor, None, standing.ends_at)


def admit(caller: Caller, machine_ref: str, action: Action) -> Admitted:
    """Return the machine when the caller may do ``action`` on it now; ``NotFound`` or ``Forbidden`` otherwise.

    The credential is asked for again: since it was proved, at the upgrade, it may have been revoked.
    """
    actor = caller.actor
    actor_from_credential(actor.credential_id or "", address=actor.address, request_id=actor.request_id)
    machine = machines.machine_for(actor, actor.workspace_id or "", machine_ref, action)
    if caller.only is not None and caller.only != (machine.public_id, action):
        raise Unauthenticated("this ticket is for something else")
    return Admitted(machine.public_id, machine.workspace.public_id, machine.hostname)


def admit_take_over(caller: Caller, machine_id: str) -> None:
    """Ask whether a caller who was admitted to operate the machine may end whoever does so now (D-26).

    A ticket for operating it will do: taking over is how the session is opened, and the role decides.
    """
    admit(replace(caller, only=None), machine_id, Action.SESSION_TERMINATE_ANY)


def machine_of_session(caller: Caller, session_id: str) -> str:
    """Return the id of the machine on which a session runs that the caller may see."""
    session = sessions.session_for(caller.actor, caller.actor.workspace_id or "", session_id, Action.SESSION_LIST)
    return session.machine.public_id if session.machine is not None else ""


def resumable_session(caller: Caller, session_id: str, secret: str) -> str:
    """Return the machine of an active session that this caller operated and has the resume secret of."""
    return session_services.machine_to_resume(caller.actor, session_id, secret)


def begin_session(
    caller: Caller,
    machine_id: str,
    session_id: str,
    *,
    resume: str,
    opening: dict[str, Any],
    taken_over_from: str | None,
) -> None:
    """Record a session before it is opened; ``session_conflict`` when the machine has an active one (D-26)."""
    session_services.open_session(
        caller.actor,
        machine_id=machine_id,
        session_id=session_id,
        resume=resume,
        opening=opening,
        taken_over_from=taken_over_from,
    )


def begin_execution(
    caller: Caller,
    machine_ref: str,
    action: Action,
    *,
    stream_id: str,
    kind: str,
    opening: dict[str, Any],
    link_of: Callable[[str, str], object | None],
) -> Admitted:
    """Do what ``admit`` does, and write down what is about to run: unwritten it must not (D-30).

    Nothing is written, and ``agent_offline`` raised, when the machine has no link there: then nobody is asked.
    """
    admitted = admit(caller, machine_ref, action)
    if link_of(admitted.machine_id, admitted.workspace_id) is None:
        raise offline(admitted.hostname)
    what = executions.Execution(stream_id, admitted.machine_id, kind, opening)
    executions.record_start(caller.actor, what, admitted.hostname)
    return admitted


def offline(hostname: str) -> Refused:
    """Return the refusal to raise when a machine has no link."""
    return Refused(
        ErrorCode.AGENT_OFFLINE, f"{hostname} is not connected", hint=shlex.join(["cmdop", "connect", "show", hostname])
    )


def may_still(actor: Actor, machine_id: str, action: Action) -> bool:
    """Tell whether the right still holds, everything read anew; the credential itself is judged by the cut."""
    try:
        machines.machine_for(actor, actor.workspace_id or "", machine_id, action)
    except Refused:
        return False
    return True


def reauthenticate(actor: Actor, text: str) -> Caller:
    """Return the same actor for as long as a fresh token of the sign-in, or the key, is good; ``Unauthenticated``.

    A ticket will do, which is used up by this: a relay at another address than the server's is shown no token (D-23).
    """
    fresh = caller_of(text, address=actor.address, request_id=actor.request_id)
    if _bound_to(fresh.actor) != _bound_to(actor):
        raise Unauthenticated("this token belongs to another sign-in")
    return Caller(actor, fresh.expires_at, fresh.ends_at)


def _bound_to(actor: Actor) -> tuple[str | None, ...]:
    """Return what a stream is bound to: the sign-in, whatever its family, or the one key (D-14)."""
    return actor.account_id, actor.sign_in_id or actor.credential_id, actor.workspace_id


def greeting(machine_id: str, hello: dict[str, Any]) -> dict[str, Any] | None:
    """Note what a machine says of itself, and return the workspace's defaults if it has not taken them yet."""
    return machine_services.greeted(machine_id, hello)


def active_sessions() -> list[str]:
    """Return the ids of the sessions that have not ended: after a start, those of an earlier life of the relay."""
    return session_services.active_sessions()


def end_forgotten(session_id: str) -> None:
    """End a session that nobody resumed after the relay restarted."""
    session_services.end_session(session_id, reason="relay_restarted")


def is_reachable() -> bool:
    """Tell whether the database answers."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True


def looks_like_session(text: str) -> bool:
    """Tell whether a name is a session's id rather than a machine's."""
    return is_id(text, "session")
