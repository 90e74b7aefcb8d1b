"""How this machine gets into a workspace: asking, refusing to guess, registering, keeping the credential (D-21)."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cmdop_cli import agent, environment, joining
from cmdop_cli.failures import Code, Failure
from cmdop_cli.resolver import Source
from cmdop_cli.state import Place
from cmdop_sdk.origin import is_loopback
from cmdop_wire.vocab import Action, ErrorCode, GateMode, Role

if TYPE_CHECKING:
    from cmdop_agent.daemon import Facts
    from cmdop_agent.registration import Registration
    from cmdop_cli.context import Call
    from cmdop_sdk.auth import Secret
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import RegisteredMachine

SHOWN = 5  # people who are named; more are counted
NAMED = frozenset({Source.FLAG, Source.ENVIRONMENT, Source.KEY})  # not a binding: a machine is no directory


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the line asks for."""

    hostname: str | None = None
    name: str | None = None
    join_token: str | None = None  # where it is: -, file:PATH or env:NAME
    replace: bool = False
    accept_bypass: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run would have registered."""

    hostname: str
    workspace: Place | None


def settled(call: "Call", wanted: Wanted) -> "Registration | Planned":
    """Return this machine's registration, registering it first where that is what the line asks for.

    A registration stays what it is whatever workspace is active; another one that was named is a conflict (exit 6).
    """
    from cmdop_agent.registration import RegistrationFile

    known = agent.registration(call)
    if known is not None and not wanted.replace:
        check_same(call, known, wanted)
        return known
    token = None if wanted.join_token is None else joining.token_at(call, wanted.join_token)
    place = _place(call, known) if token is None else None
    meant = None if token is None else joining.workspace_meant(call)
    facts = _facts(wanted, known)
    _confirm(call, place, facts, wanted)
    if call.is_dry_run:
        return Planned(facts.hostname, place)
    with joining.leading_on(call, meant):
        fresh = _registered(call, place, facts, wanted, known, token, meant)
    RegistrationFile(agent.folder(call)).write(fresh)
    call.note(f"registered {fresh.hostname} as {fresh.name} in workspace {fresh.workspace_slug}")
    return fresh


def check_same(call: "Call", known: "Registration", wanted: Wanted) -> None:
    """Raise a conflict when the line names another hostname, server or workspace than the ones that are registered."""
    resolution = call.resolution
    if wanted.hostname is not None and wanted.hostname.lower() != known.hostname.lower():
        raise Failure(
            ErrorCode.CONFLICT, f"this machine is registered as {known.hostname}", hint=agent.replacing_line(call)
        )
    if call.server.is_explicit and call.server.origin != known.server:
        raise Failure(
            ErrorCode.CONFLICT,
            f"this machine is registered at {known.server}, not at {call.server.origin}",
            hint=agent.replacing_line(call),
        )
    if resolution.source not in NAMED or resolution.workspace is None:
        return
    place = resolution.workspace
    is_same = place.is_called(known.workspace_id) or place.is_called(known.workspace_slug)
    if not is_same and _is_called(call, place) != known.workspace_id:
        raise Failure(
            ErrorCode.CONFLICT,
            f"this machine is registered in workspace {known.workspace_slug}, not in {place.label}",
            hint=f"cmdop connect workspace move {known.hostname} --to {place.label}",
        )


def _is_called(call: "Call", place: Place) -> str | None:
    """Return the id of a workspace whose slug we know nothing of: it may be another label of the same (D-1)."""
    from cmdop_cli.credentials import verified
    from cmdop_sdk.errors import CMDOPError

    try:
        return verified(call, place).id
    except (CMDOPError, Failure):
        return None


def _place(call: "Call", known: "Registration | None") -> Place:
    """Return the workspace to register in; elsewhere than at a terminal it must have been named."""
    if known is not None and call.resolution.source not in NAMED:
        return Place(known.workspace_id, known.workspace_slug)  # once more where it is
    call.check_credential()
    place = call.workspace()
    if call.resolution.source not in NAMED and not call.can_ask:
        raise Failure(
            Code.WORKSPACE_REQUIRED,
            f"a machine is registered in a named workspace, and {place.label} is only {call.resolution.detail}",
            hint=f"{call.line} --workspace {place.label}" + ("" if call.options.yes else " --yes"),
        )
    return place


def _facts(wanted: Wanted, known: "Registration | None") -> "Facts":
    from cmdop_agent.daemon import facts
    from cmdop_cli.version import version

    return facts(version(), wanted.hostname or (known.hostname if known is not None else None))


def _confirm(call: "Call", place: Place | None, facts: "Facts", wanted: Wanted) -> None:
    """Show what registering means, and ask; ``--yes`` answers, elsewhere than at a terminal it must be there."""
    where = f"workspace {place.label}" if place is not None else "the workspace of the join token"
    why = call.resolution.why if place is not None and call.resolution.workspace == place else where
    gate, people = (None, None) if place is None or not call.can_ask else _asked(call, place)
    affects = [
        f"{why} at {call.server.origin}",
        f"hostname {facts.hostname}, remote work runs as OS user {agent.own_user()}",
        f"gate: {_gate(gate, accepts_bypass=wanted.accept_bypass)}",
        f"may run commands here: {people or f'owners, admins and members of {where}'}, and keys with commands:execute",
    ]
    if call.is_dry_run or call.options.yes:
        for line in affects:
            call.note(f"  {line}")
    call.confirm(f"register this machine in {where}?", affects=affects)


def _gate(mode: str | None, *, accepts_bypass: bool) -> str:
    if mode == GateMode.BYPASS and not accepts_bypass:
        return "strict; the workspace would have bypass, which takes --accept-bypass"
    if mode is None:
        agreed = ", also if that is bypass: then whatever is asked for happens" if accepts_bypass else ""
        return f"strict until the workspace's defaults arrive, then what they say{agreed}"
    return f"{mode}, as the workspace's defaults say"


def _asked(call: "Call", place: Place) -> tuple[str | None, str | None]:
    """Return the gate's mode that the workspace begins with, and who may run commands, as far as we may know it."""
    from cmdop_cli import credentials, door
    from cmdop_sdk.errors import PermissionDenied

    async def ask(client: "AsyncCMDOPClient") -> tuple[str | None, str | None]:
        mode = people = None
        with suppress(PermissionDenied):
            may = (await client.me.show()).workspace.authorized_actions  # more would be in the log as refused
            if Action.SETTINGS_VIEW in may:
                mode = (await client.workspace.onboarding()).gate_mode
            if Action.MEMBER_LIST not in may:
                return mode, None
            page = await client.members.list().first(200)
            people = _several([each.email for each in page.items if each.role != Role.GUEST])
        return mode, people

    return door.ask(call, credentials.client(call, place), ask)


def _several(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"


def _registered(
    call: "Call",
    place: Place | None,
    facts: "Facts",
    wanted: Wanted,
    known: "Registration | None",
    token: str | None,
    meant: str | None,
) -> "Registration":
    from cmdop_agent.registration import Registration
    from cmdop_cli import credentials, door
    from cmdop_sdk.auth import Secret

    own = known if known is not None and known.server == call.server.origin else None  # nobody else is shown it (D-23)

    async def register(client: "AsyncCMDOPClient") -> "RegisteredMachine":
        for _ in range(2):
            made = await client.machines.register(
                facts.hostname,
                name=wanted.name,
                os=facts.os,
                arch=facts.arch,
                version=facts.version,
                boot_id=facts.boot_id,
                credential=None if own is None else Secret(own.credential),
                join_token=None if token is None else Secret(token),
                replace=wanted.replace,
                accept_bypass=wanted.accept_bypass,
                workspace=meant,
            )
            if made.credential is not None:
                return made
        raise Failure(
            ErrorCode.UNAVAILABLE, "the answers of the server were lost twice", hint="cmdop connect --replace"
        )

    client = credentials.client(call, place) if place is not None else credentials.public_client(call)
    made = door.ask(call, client, register)
    server = call.server
    same = own if own is not None and own.machine_id == made.machine.id else None  # else nothing was agreed to yet
    return Registration(
        server=server.origin,
        relay_url=_checked(made.relay.url, server.origin),
        mode=call.resolution.mode,
        workspace_id=made.workspace.id,
        workspace_slug=made.workspace.slug,
        machine_id=made.machine.id,
        hostname=made.machine.hostname,
        name=made.machine.name,
        credential=_revealed(made.credential),
        ca_pin=server.ca_pin,
        ca_file=call.environ.get(environment.CA_FILE) or None,
        accept_bypass=wanted.accept_bypass or (same is not None and same.accept_bypass),
        is_seeded=same is not None and same.is_seeded,
    )


def _revealed(credential: "Secret | None") -> str:
    assert credential is not None, "an answer without it was asked for again"
    return credential.reveal()


def _checked(relay_url: str, origin: str) -> str:
    """Return the relay's address if the way to it is as safe as the one to the server that names it (D-23)."""
    relay, is_plain = urlsplit(relay_url), urlsplit(origin).scheme == "http"
    if relay.scheme == "wss" and relay.hostname:
        return relay_url
    if relay.scheme == "ws" and is_plain and relay.hostname and is_loopback(relay.hostname):
        return relay_url
    raise Failure(
        "insecure_server",
        f"the relay that {origin} names cannot be reached safely: {relay_url}",
        hint=f"curl -sS {origin}/.well-known/cmdop",
    )
