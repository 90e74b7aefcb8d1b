"""The doors to machines: rows leave through one of these, actor first; and who a machine's credential stands for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.db.models.lookups import GreaterThan
from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import NotFound
from cmdop_server.access.policy import Facts, authorized_actions
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.machines.models import JoinToken, Machine
from cmdop_server.machines.names import folded
from cmdop_server.prepared import Prepared
from cmdop_server.texts import has_control_characters
from cmdop_server.workspaces.queries import Seen, workspace_for
from cmdop_wire.ids import is_id, token_kind
from cmdop_wire.vocab import Action, JoinTokenState, MachineState, WorkspaceState

OFFLINE_AFTER = timedelta(seconds=90)  # three heartbeats (D-28)
ACTIONS = frozenset(
    {
        Action.MACHINE_UPDATE,
        Action.MACHINE_MOVE,
        Action.MACHINE_REMOVE,
        Action.SESSION_OBSERVE,
        Action.SESSION_OPERATE,
        Action.COMMAND_EXECUTE,
        Action.FILE_READ,
        Action.FILE_WRITE,
    }
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which machines; ``None`` and nothing mean any. ``text`` is looked for inside names and hostnames."""

    online: bool | None = None
    tags: tuple[tuple[str, str], ...] = ()
    text: str | None = None


def machine_by_credential(text: str) -> Machine | None:
    """Return the machine whose agent holds this credential, its workspace at hand, or ``None``.

    A text of the wrong shape or checksum costs no query, any other one. A workspace that is pending deletion has no
    machines to let in (D-29).
    """
    if token_kind(text) != "machine":
        return None
    return (
        Machine.objects.select_related("workspace")
        .filter(credential_hash=keyed_hash(text), workspace__state=WorkspaceState.ACTIVE)
        .first()
    )


def machine_for(actor: Actor, ref: str, machine_ref: str, action: Action) -> Machine:
    """Return the machine with this id, exact hostname or exact name, for an actor who may do ``action`` there.

    ``NotFound`` when it is unknown or another workspace's, ``Forbidden`` when only the right is missing (D-9).
    """
    return seen_machine(actor, ref, machine_ref, action)[1]


def seen_machine(actor: Actor, ref: str, machine_ref: str, action: Action) -> tuple[Seen, Machine]:
    """Return what ``machine_for`` does, with the workspace and the facts it was decided on."""
    seen = workspace_for(actor, ref, action)
    machine = _one(seen.workspace.pk, machine_ref)
    if machine is None:
        raise NotFound("machine", workspace=seen.workspace.slug)
    machine.workspace = seen.workspace
    return seen, machine


def _one(workspace_pk: int, machine_ref: str) -> Machine | None:
    """Return what ``named`` does, by a query that is ready."""
    if is_id(machine_ref, "machine"):
        return _WITH_ID.first(workspace=workspace_pk, ref=machine_ref)
    fold = folded(machine_ref)
    return _WITH_NAME.first(workspace=workspace_pk, ref=fold) if _is_askable(fold) else None


def _with_id(workspace: int, ref: str) -> QuerySet[Machine]:
    return Machine.objects.filter(workspace=workspace, public_id=ref)


def _with_name(workspace: int, ref: str) -> QuerySet[Machine]:
    return Machine.objects.filter(Q(hostname_fold=ref) | Q(name_fold=ref), workspace=workspace)


_WITH_ID = Prepared(_with_id, workspace=int, ref=str)
_WITH_NAME = Prepared(_with_name, workspace=int, ref=str)


def _is_askable(fold: str) -> bool:
    return bool(fold) and not has_control_characters(fold)  # no database is asked about a NUL or a surrogate


def named(workspace_pk: int, machine_ref: str) -> QuerySet[Machine]:
    """Return the machine of this workspace that ``machine_ref`` names, at most one: names exclude each other (D-5)."""
    if is_id(machine_ref, "machine"):
        return _with_id(workspace_pk, machine_ref)
    fold = folded(machine_ref)
    return _with_name(workspace_pk, fold) if _is_askable(fold) else Machine.objects.none()


def hostname_of(workspace_id: str, machine_id: str) -> str:
    """Return the hostname of a machine for an event's label; nothing when it is gone or another workspace's."""
    rows = Machine.objects.filter(workspace__public_id=workspace_id, public_id=machine_id)
    return rows.values_list("hostname", flat=True).first() or ""


def machines_of(seen: Seen, wanted: Filters, *, after: str | None = None, limit: int) -> list[Machine]:
    """Return the first machines after a folded name, by name, of a workspace whose door was passed to view them."""
    if wanted == Filters():
        given = {} if after is None else {"after": after}
        return _all_of(limit, bool(given))(workspace=seen.workspace.pk, **given)
    rows = _matching(seen.workspace.pk, wanted)
    return list((rows if after is None else rows.filter(name_fold__gt=after))[:limit])


@lru_cache(maxsize=32)
def _all_of(limit: int, goes_on: bool) -> Prepared[Machine]:
    def rows(workspace: int, after: str | None = None) -> QuerySet[Machine]:
        found = _matching(workspace, Filters())
        return (found.filter(name_fold__gt=after) if goes_on else found)[:limit]

    return Prepared(rows, workspace=int, **({"after": str} if goes_on else {}))


def _matching(workspace_pk: int, wanted: Filters) -> QuerySet[Machine]:
    rows = Machine.objects.filter(workspace=workspace_pk).order_by("name_fold")
    if wanted.online is not None:
        now = timezone.now()
        rows = rows.filter(is_online(now) if wanted.online else is_offline(now))
    for key, value in wanted.tags:
        rows = rows.filter(_has_tag(key, value))
    if wanted.text:
        fold = folded(wanted.text)
        rows = rows.filter(Q(name_fold__contains=fold) | Q(hostname_fold__contains=fold))
    return rows


def _has_tag(key: str, value: str) -> GreaterThan:
    """Look for the pair in the column's text: in a JSON path, a key of digits would be a place in an array.

    Both databases write ``"key": "value"``, and neither part can hold a quotation mark.
    """
    return GreaterThan(StrIndex(Cast("tags", TextField()), Value(f'"{key}": "{value}"')), 0)


def is_online(now: datetime) -> Q:
    """Return the condition that a machine is online at ``now``; ``state_of`` says the same of one row."""
    has_not_stopped = Q(stopped_at=None) | Q(stopped_at__lt=F("last_seen_at"))
    return Q(last_seen_at__gt=now - OFFLINE_AFTER) & has_not_stopped


def is_offline(now: datetime) -> Q:
    """Return the opposite of ``is_online``, spelled out because a missing time is neither."""
    return Q(last_seen_at=None) | Q(last_seen_at__lte=now - OFFLINE_AFTER) | Q(stopped_at__gte=F("last_seen_at"))


def state_of(machine: Machine, now: datetime) -> MachineState:
    """Return whether the machine's agent was heard of within 90 s and has not said goodbye since (D-28)."""
    heard, stopped = machine.last_seen_at, machine.stopped_at
    is_there = heard is not None and heard > now - OFFLINE_AFTER and (stopped is None or stopped < heard)
    return MachineState.ONLINE if is_there else MachineState.OFFLINE


def machine_actions(actor: Actor, facts: Facts) -> list[Action]:
    """Return what the actor may do to machines of a workspace, and on them as far as the machine's gate agrees."""
    return authorized_actions(actor, facts, ACTIONS)


def actor_of(machine: Machine) -> Actor:
    """Return the actor of what a machine itself tells: its gate's decisions, its link."""
    return Actor(
        kind=ActorKind.MACHINE,
        label=machine.hostname,
        credential_id=machine.public_id,
        workspace_id=machine.workspace.public_id,
    )


def join_tokens_for(actor: Actor, ref: str) -> tuple[Seen, QuerySet[JoinToken]]:
    """Return the workspace and its join tokens, newest first."""
    seen = workspace_for(actor, ref, Action.MACHINE_ENROLL)
    return seen, JoinToken.objects.filter(workspace=seen.workspace.pk).order_by("-pk")


def live_join_token(text: str) -> JoinToken | None:
    """Return the join token with this text if it can still be redeemed, its workspace at hand; or ``None``."""
    if token_kind(text) != "join":
        return None
    return (
        JoinToken.objects.select_related("workspace")
        .filter(is_live(timezone.now()), secret_hash=keyed_hash(text))
        .first()
    )


def is_live(now: datetime) -> Q:
    """Return the condition that a join token can be redeemed at ``now``; ``state_of_token`` says it of one row."""
    return Q(revoked_at=None, redeemed_at=None, expires_at__gt=now)


def state_of_token(token: JoinToken, now: datetime) -> JoinTokenState:
    """Return what became of a join token."""
    if token.redeemed_at is not None:
        return JoinTokenState.REDEEMED
    if token.revoked_at is not None:
        return JoinTokenState.REVOKED
    return JoinTokenState.LIVE if token.expires_at > now else JoinTokenState.EXPIRED
