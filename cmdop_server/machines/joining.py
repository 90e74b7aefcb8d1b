"""How a machine joins a workspace, comes back, or takes over a name on purpose (D-5, D-21, D-25)."""

from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.effects import MachineCredentialChanged, announce
from cmdop_server.access.errors import Conflict, Invalid
from cmdop_server.access.policy import Facts
from cmdop_server.credentials.secrets import keyed_hash
from cmdop_server.machines import names
from cmdop_server.machines.join_tokens import redeem
from cmdop_server.machines.models import Machine, new_machine_id
from cmdop_server.machines.queries import named, state_of
from cmdop_server.machines.reports import plain
from cmdop_server.workspaces.changes import Change, changing
from cmdop_server.workspaces.models import Workspace
from cmdop_server.workspaces.plans import LIMITS
from cmdop_wire.ids import make_token, token_kind
from cmdop_wire.vocab import Action, ErrorCode, GateMode, MachineState, Plan


@dataclass(frozen=True, slots=True)
class Host:
    """What a host says of itself when it registers; ``name`` is absent unless somebody chose one."""

    hostname: str
    name: str | None = None
    os: str = ""
    arch: str = ""
    version: str = ""
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class Seeds:
    """The workspace's defaults for the gate of a machine that has not taken them yet (D-25)."""

    gate_mode: GateMode
    gate_rules: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Registered:
    """A machine with its credential, whose text exists here and in the answer only."""

    machine: Machine
    facts: Facts
    credential: str = field(repr=False)
    seeds: Seeds | None


def register(
    actor: Actor,
    ref: str,
    host: Host,
    *,
    previous: str | None = None,
    replace: bool = False,
    accept_bypass: bool = False,
    meant: str | None = None,
) -> Registered:
    """Bring a host into the workspace and return it with its credential, which is shown never again.

    ``previous`` is the credential that the host holds from an earlier registration: with it the same machine comes
    back, and gets another one; a copy of a machine that is online does not, it is a host like any other. ``replace``
    takes the hostname of a machine that is offline. ``accept_bypass``: whoever registers agreed, there, to a gate that
    is ``bypass``. ``meant`` is the workspace that they mean, by id or slug: when the credential is of another one
    nothing happens (``Invalid``). Refuses with ``Conflict`` (``hostname_taken``, ``name_taken``, ``limit_reached``) and
    leaves the machine that has the name undisturbed (D-5).
    """
    hostname = names.checked_hostname(host.hostname)
    chosen = None if host.name is None else names.checked_name(host.name)
    now, text = timezone.now(), make_token("machine")
    with changing(actor, ref, Action.MACHINE_REGISTER) as change:
        if meant is not None and meant not in (change.workspace.public_id, change.workspace.slug):
            what = "join token" if actor.kind is ActorKind.JOIN_TOKEN else "credential"
            raise Invalid(f"the {what} is of another workspace than {meant}", field="workspace")
        own = _holder_of(previous, change.workspace)
        if own is not None and _is_copy(own, host, hostname, now):
            own = None
        other = named(change.workspace.pk, hostname).exclude(pk=own.pk if own is not None else 0).first()
        machine = own or other or Machine(public_id=new_machine_id(), workspace=change.workspace, registered_at=now)
        if actor.kind is ActorKind.JOIN_TOKEN:
            redeem(change, machine.public_id, now)
        if other is not None and not (replace and own is None and _is_free(other, hostname, now)):
            raise hostname_taken(other, hostname, may_replace=own is None)
        if own is None and other is None:
            check_room(change.workspace)
            machine.tags = dict(change.workspace.onboarding_tags)
        machine.hostname, machine.hostname_fold = hostname, names.folded(hostname)
        machine.name = _name_for(change.workspace, machine, chosen)
        machine.name_fold = names.folded(machine.name)
        _describe(machine, host)
        machine.registered_by, machine.registered_by_label = actor.id, actor.label
        machine.credential_hash, machine.credential_at = keyed_hash(text), now
        machine.bypass_accepted = accept_bypass or (own is not None and own.bypass_accepted)
        if own is None and other is None:
            machine.save(force_insert=True)
        else:
            _take_again(change, machine, now, is_replaced=own is None)
        event = "reregistered" if own is not None else "replaced" if other is not None else "registered"
        _record(change, f"machine.{event}", machine, accept_bypass=accept_bypass)
    machine.workspace = change.workspace
    return Registered(machine, change.facts, text, seeds_of(machine))


def seeds_of(machine: Machine) -> Seeds | None:
    """Return what the machine's gate begins with, or ``None`` when it has taken it already.

    ``bypass`` only where whoever registered the machine agreed to it there; else ``strict`` (D-25).
    """
    if machine.seeded_at is not None:
        return None
    mode = GateMode(machine.workspace.onboarding_gate_mode)
    if mode is GateMode.BYPASS and not machine.bypass_accepted:
        mode = GateMode.STRICT
    return Seeds(mode, list(machine.workspace.onboarding_gate_rules))


_REGISTERED = (
    "hostname", "hostname_fold", "name", "name_fold", "os", "arch", "agent_version", "boot_id", "registered_by",
    "registered_by_label", "credential_hash", "credential_at", "bypass_accepted", "stopped_at",
)  # fmt: skip


def _take_again(change: Change, machine: Machine, now: datetime, *, is_replaced: bool) -> None:
    """Write a machine that was here before; with ``is_replaced`` as one whose disk knows nothing of that."""
    machine.stopped_at = now  # nobody has connected with the new credential yet
    machine.save(update_fields=_REGISTERED)
    if is_replaced:
        machine.seeded_at, machine.gate_mode, machine.metrics = None, GateMode.STRICT, None
        machine.save(update_fields=["seeded_at", "gate_mode", "metrics"])
    announce(
        MachineCredentialChanged(change.actor, change.workspace.public_id, machine.public_id, is_replaced=is_replaced)
    )


def _holder_of(credential: str | None, workspace: Workspace) -> Machine | None:
    """Return the machine of this workspace that the credential belongs to; one of another workspace is a conflict."""
    if credential is None or token_kind(credential) != "machine":
        return None
    machine = Machine.objects.filter(credential_hash=keyed_hash(credential)).first()
    if machine is not None and machine.workspace_id != workspace.pk:
        raise Conflict(
            "this machine is registered in another workspace",
            hint=f"cmdop connect workspace move {machine.hostname} --to {workspace.slug}",
            machine_id=machine.public_id,
        )
    return machine


def _is_copy(own: Machine, host: Host, hostname: str, now: datetime) -> bool:
    """Tell whether the host is another one than ``own``, whose credential it shows: a copy of its disk (D-5).

    The machine itself is offline when it registers anew, because its agent does not run; one that was killed a moment
    ago is known by its boot and its hostname.
    """
    is_there = state_of(own, now) is MachineState.ONLINE
    return is_there and (own.hostname_fold != names.folded(hostname) or own.boot_id != plain(host.boot_id, 80))


def _is_free(machine: Machine, hostname: str, now: datetime) -> bool:
    """Tell whether a hostname may be taken over: its machine is offline, and it is not merely called like that."""
    return machine.hostname_fold == names.folded(hostname) and state_of(machine, now) is MachineState.OFFLINE


def hostname_taken(machine: Machine, hostname: str, *, may_replace: bool = True) -> Conflict:
    """Return the refusal of a hostname that leads to another machine already; it says how to go on (D-5).

    ``may_replace`` is false for a host that is a machine of this workspace: it goes on as that. Programs find in the
    details what the hint says: whether it ``may_replace`` that machine, and a hostname as ``suggestion``.
    """
    now = timezone.now()
    is_hostname = machine.hostname_fold == names.folded(hostname)
    may_replace = may_replace and _is_free(machine, hostname, now)
    suggestion = f"{hostname.partition('.')[0][:60]}-2"
    return Conflict(
        f"another machine has the hostname {hostname}" if is_hostname else f"another machine is called {hostname}",
        code=ErrorCode.HOSTNAME_TAKEN,
        hint="cmdop connect --replace" if may_replace else f"cmdop connect --hostname {suggestion}",
        hostname=hostname,
        may_replace=may_replace,
        suggestion=suggestion,
        machine_id=machine.public_id,
        state=str(state_of(machine, now)),
    )


def check_room(workspace: Workspace) -> None:
    """Refuse one machine more than the workspace's plan has room for."""
    limit = LIMITS[Plan(workspace.plan)].machines
    if limit is not None and workspace.machines.count() >= limit:
        raise Conflict(
            f"the plan {workspace.plan} has room for {limit} machines",
            code=ErrorCode.LIMIT_REACHED,
            hint=f"cmdop connect list --workspace {workspace.slug}",
            limit=limit,
        )


def _name_for(workspace: Workspace, machine: Machine, chosen: str | None) -> str:
    """Return the name that was chosen, the one it has, or what the workspace's pattern gives, made distinct."""

    def is_taken(name: str) -> bool:
        return named(workspace.pk, name).exclude(public_id=machine.public_id).exists()

    if chosen is not None:
        if is_taken(chosen):
            raise name_taken(chosen)
        return chosen
    if machine.name:
        return machine.name
    name = names.name_from(workspace.onboarding_name_pattern, machine.hostname, machine.public_id)
    return names.distinct(name, machine.public_id) if is_taken(name) else name


def name_taken(name: str) -> Conflict:
    """Return the refusal of a name that leads to another machine already."""
    return Conflict(
        "another machine has this name or hostname",
        code=ErrorCode.NAME_TAKEN,
        hint="cmdop connect list",
        name=name,
        field="name",
    )


def _describe(machine: Machine, host: Host) -> None:
    machine.os, machine.arch = plain(host.os, 60), plain(host.arch, 60)
    machine.agent_version, machine.boot_id = plain(host.version, 60), plain(host.boot_id, 80)


def _record(change: Change, event: str, machine: Machine, *, accept_bypass: bool) -> None:
    change.record(
        event,
        target_type="machine",
        target_id=machine.public_id,
        target_label=machine.hostname,
        hostname=machine.hostname,
        name=machine.name,
        os=machine.os,
        tags=machine.tags,
        accept_bypass=accept_bypass,
    )
