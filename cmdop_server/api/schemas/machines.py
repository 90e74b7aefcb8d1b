"""Machines, how one registers, join tokens, tickets."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from ninja import Field
from pydantic import StrictBool, StrictInt

from cmdop_server.access.actor import Actor
from cmdop_server.api.schemas.common import (
    LONGEST_TEXT,
    Answer,
    Body,
    BodyText,
    PageQuery,
    QueryText,
    SecretText,
    Time,
    WorkspaceRef,
)
from cmdop_server.machines.join_tokens import LONGEST_LIFE, SHORTEST_LIFE
from cmdop_server.machines.join_tokens import NAME_LENGTH as TOKEN_NAME_LENGTH
from cmdop_server.machines.models import JoinToken, Machine
from cmdop_server.machines.names import HOSTNAME, HOSTNAME_LENGTH, NAME_LENGTH
from cmdop_server.machines.queries import machine_actions, state_of, state_of_token
from cmdop_server.machines.services import Host, Registered
from cmdop_server.sessions.queries import Operating
from cmdop_server.sessions.tickets import RIGHTS
from cmdop_wire.vocab import Action, GateMode, JoinTokenState, MachineState

# What the services accept is decided there; the extras only tell readers of the document about it.
HostnameText = Annotated[
    str,
    Field(
        max_length=LONGEST_TEXT,
        json_schema_extra={"pattern": f"^{HOSTNAME.pattern}$", "maxLength": HOSTNAME_LENGTH},
    ),
]
NameText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[!-.0-~]", "maxLength": NAME_LENGTH})
]
TokenNameText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": "^[ -~]*$", "maxLength": TOKEN_NAME_LENGTH})
]
FactText = Annotated[str, Field(max_length=200)]  # what a host says of itself; the service cuts it
RightText = Annotated[str, Field(max_length=60, json_schema_extra={"enum": [str(right) for right in RIGHTS]})]
TokenLife = Annotated[StrictInt, Field(json_schema_extra={"minimum": SHORTEST_LIFE, "maximum": LONGEST_LIFE})]
Tags = Annotated[dict[str, str], Field(max_length=100)]


class ActorRef(Answer):
    """Who did something, as it was then: an account, a key or a join token."""

    id: str
    label: str


class OperatorRef(Answer):
    """Who operates a session: an account or a key."""

    kind: str
    id: str
    label: str


class ActiveSession(Answer):
    """The session that runs on a machine."""

    id: str
    operator: OperatorRef
    since: Time


class MachineAnswer(Answer):
    """A machine as the caller sees it; what may really be done on it, its own gate decides."""

    id: str
    hostname: str
    name: str
    tags: dict[str, str]
    state: MachineState
    last_seen_at: Time | None
    os: str
    arch: str
    agent_version: str
    gate_mode: GateMode
    metrics: dict[str, Any] | None
    registered_at: Time
    registered_by: ActorRef
    session: ActiveSession | None
    authorized_actions: list[Action]


class MachinePage(Answer):
    """A page of machines, by name."""

    items: list[MachineAnswer]
    next: str | None


class MachineQuery(PageQuery):
    """Which machines: online or not, with each of these tags (``key:value``), with this text in a name."""

    online: bool | None = None
    tag: list[QueryText] = Field([], max_length=20)
    q: QueryText | None = None


class MachineChanges(Body):
    """What to change; absent or null fields stay as they are, ``tags`` replace all."""

    name: NameText | None = None
    hostname: HostnameText | None = None
    tags: Tags | None = None


class Destination(Body):
    """Where a machine goes: a workspace, by id or slug."""

    to: BodyText


class NewMachine(Body):
    """A host that registers, with what it says of itself.

    ``credential`` is the one it holds from before, ``replace`` takes the hostname of a machine that is offline,
    ``accept_bypass`` says that somebody at the machine agreed to a gate that lets everything through. ``workspace`` is
    the one that is meant, by id or slug: the credential, or the join token, must be of that one.
    """

    hostname: HostnameText
    name: NameText | None = None
    os: FactText = ""
    arch: FactText = ""
    version: FactText = ""
    boot_id: FactText = ""
    credential: SecretText | None = None
    join_token: SecretText | None = None
    replace: StrictBool = False
    accept_bypass: StrictBool = False
    workspace: BodyText | None = None

    def host(self) -> Host:
        """Return what the service takes."""
        return Host(self.hostname, self.name, self.os, self.arch, self.version, self.boot_id)


class RelayAnswer(Answer):
    """Where to connect."""

    url: str


class SeedsAnswer(Answer):
    """What the machine's gate begins with."""

    gate_mode: GateMode
    gate_rules: list[dict[str, str]]


class RegisteredMachine(Answer):
    """A machine and its credential, here and never again, and null in a replay of this answer.

    ``seeds`` is null for a machine that has taken them before.
    """

    machine: MachineAnswer
    workspace: WorkspaceRef
    credential: str | None
    relay: RelayAnswer
    seeds: SeedsAnswer | None


class JoinTokenAnswer(Answer):
    """A join token without its text; ``machine_id`` is what came with it."""

    id: str
    name: str
    created_by: ActorRef
    created_at: Time
    expires_at: Time
    state: JoinTokenState
    redeemed_at: Time | None
    revoked_at: Time | None
    machine_id: str | None


class CreatedJoinToken(JoinTokenAnswer):
    """A new join token; ``secret`` is its text, here and never again, and null in a replay of this answer."""

    secret: str | None


class JoinTokenPage(Answer):
    """A page of join tokens, newest first."""

    items: list[JoinTokenAnswer]
    next: str | None


class NewJoinToken(Body):
    """A join token to be; ``expires_in`` is in seconds, an hour when absent."""

    name: TokenNameText = ""
    expires_in: TokenLife | None = None


class NewTicket(Body):
    """What a ticket is to open: one stream with this right."""

    right: RightText


class TicketAnswer(Answer):
    """A ticket's text, here and never again, when it ends, and where it is taken."""

    secret: str | None
    expires_at: Time
    relay: RelayAnswer


def shown_machine(
    actions: Sequence[Action], machine: Machine, operating: Mapping[int, Operating], now: datetime
) -> MachineAnswer:
    """Return a machine as who may do ``actions`` sees it; ``operating`` has the active sessions by machines' keys."""
    session = operating.get(machine.pk)
    return MachineAnswer(
        id=machine.public_id,
        hostname=machine.hostname,
        name=machine.name,
        tags=machine.tags,
        state=state_of(machine, now),
        last_seen_at=machine.last_seen_at,
        os=machine.os,
        arch=machine.arch,
        agent_version=machine.agent_version,
        gate_mode=GateMode(machine.gate_mode),
        metrics=machine.metrics,
        registered_at=machine.registered_at,
        registered_by=ActorRef(id=machine.registered_by, label=machine.registered_by_label),
        session=None if session is None else shown_operating(session),
        authorized_actions=list(actions),
    )


def shown_operating(session: Operating) -> ActiveSession:
    """Return who operates a machine."""
    operator = OperatorRef(kind=session.operator_kind, id=session.operator_id, label=session.operator_label)
    return ActiveSession(id=session.session_id, operator=operator, since=session.since)


def shown_registered(actor: Actor, made: Registered, relay_url: str, now: datetime) -> RegisteredMachine:
    """Return what a host that registered needs from now on."""
    workspace, seeds = made.machine.workspace, made.seeds
    return RegisteredMachine(
        machine=shown_machine(machine_actions(actor, made.facts), made.machine, {}, now),
        workspace=WorkspaceRef(id=workspace.public_id, slug=workspace.slug, name=workspace.name),
        credential=made.credential,
        relay=RelayAnswer(url=relay_url),
        seeds=None if seeds is None else SeedsAnswer(gate_mode=seeds.gate_mode, gate_rules=seeds.gate_rules),
    )


def shown_join_token(token: JoinToken, now: datetime) -> JoinTokenAnswer:
    """Return a join token for those who may see it."""
    return JoinTokenAnswer(
        id=token.public_id,
        name=token.name,
        created_by=ActorRef(id=token.created_by, label=token.created_by_label),
        created_at=token.created_at,
        expires_at=token.expires_at,
        state=state_of_token(token, now),
        redeemed_at=token.redeemed_at,
        revoked_at=token.revoked_at,
        machine_id=token.machine_id or None,
    )
