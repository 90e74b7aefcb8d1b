"""``cmdop auth create-key``: a new API key and its secret, shown once (D-11 to D-13)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.results import Column, Record, Secret
from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, ErrorCode, KeyKind, Scope

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import CreatedKey


_SHOWN = (
    Column("id", kind="id"),
    Column("name"),
    Column("kind"),
    Column("scopes"),
    Column("expires_at", "expires", "ends"),
)
_RESERVED = Column("reserved_scopes", "granting nothing yet")


@verb(needs="workspace", mutates=True, bare_workspace=True)
def create_key(
    ctx: Ctx,
    name: Annotated[str, typer.Option("--name", help="what the key is called; unique among your live keys")],
    shared: Annotated[
        bool, typer.Option("--shared", help="a workspace key: it belongs to nobody and survives who made it")
    ] = False,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="what the key may do; all are in: cmdop help scopes")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="how long it lives, such as 90d")] = None,
) -> Secret | Record:
    """Create a key and show its secret, once.

    A personal key is yours and ends with your membership. A workspace key (--shared, or a bare --workspace) is
    everybody's and stays. Without --scope a key may read machines, run commands and watch sessions.
    On a terminal the secret is boxed; in a pipe it is all that stdout carries, so it can go straight to where it is
    wanted.

    cmdop auth create-key --name my-laptop
    cmdop auth create-key --workspace --name ci-cd --expires 90d
    """
    call = ctx.call
    kind = KeyKind.WORKSPACE if shared or call.bare_workspace else KeyKind.PERSONAL
    scopes = _scopes(scope)
    lifetime = _seconds("--expires", expires)
    call.note(f"a {kind} key for {call.resolution.why}")
    if call.is_dry_run:
        return _planned(name, kind, scopes, lifetime)
    created = call.ask(lambda client: _created(call, client, name, kind, scopes, lifetime))
    call.note(f"created {kind} key {created.name} ({created.prefix}…)")
    return Secret("key", _with_secret(created), columns=_shown(created), undo=f"cmdop auth revoke-key {created.id}")


def _planned(name: str, kind: KeyKind, scopes: list[str] | None, lifetime: int | None) -> Record:
    """Return the key as it would be, in the shape of one that is there."""
    from datetime import UTC, datetime, timedelta

    from cmdop_sdk.models import CreatedKey

    nothing = dict.fromkeys(field for field in CreatedKey.__struct_fields__ if field != "replayed")
    known = {
        "kind": kind,
        "name": name,
        "scopes": scopes or [str(each) for each in DEFAULT_KEY_SCOPES],
        "expires_at": None if lifetime is None else datetime.now(UTC) + timedelta(seconds=lifetime),
    }
    return Record("key", {**nothing, **known}, columns=_SHOWN[1:], identifier="name", planned=True)


async def _created(
    call: "Call",
    client: "AsyncCMDOPClient",
    name: str,
    kind: KeyKind,
    scopes: list[str] | None,
    lifetime: int | None,
) -> "CreatedKey":
    """Create the key; if only a replay without the secret came back, end that key and create again, once (D-12)."""
    created = await client.keys.create(name, kind=kind, scopes=scopes, expires_in=lifetime)
    if created.secret is None:
        await client.keys.revoke(created.id)
        call.warn(f"the first answer was lost and its secret with it: key {created.prefix}… is revoked, making another")
        created = await client.keys.create(name, kind=kind, scopes=scopes, expires_in=lifetime)
    if created.secret is None:
        await client.keys.revoke(created.id)
        raise Failure(
            ErrorCode.UNAVAILABLE,
            "the answers of the server were lost twice; no key was kept",
            hint="cmdop auth create-key --name NAME",
        )
    return created


def _with_secret(created: "CreatedKey") -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(created, name) for name in created.__struct_fields__}
    del fields["replayed"]
    return {**fields, "secret": created.secret.reveal() if created.secret else None}


def _scopes(words: list[str] | None) -> list[str] | None:
    if not words:
        return None
    from difflib import get_close_matches

    scopes = [part.strip() for word in words for part in word.split(",")]
    for each in scopes:
        if each not in tuple(Scope):
            near = next(iter(get_close_matches(each, tuple(Scope), n=1)), "")
            raise Failure(
                Code.USAGE,
                f"there is no scope {each}",
                why=f"the nearest is {near}" if near else "",
                hint="cmdop help scopes",
            )
    return list(dict.fromkeys(scopes))


def _seconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    from cmdop_cli.times import parse_duration

    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as wrong:
        raise usage(f"{option}: {wrong}") from None


def _shown(key: "CreatedKey") -> tuple[Column, ...]:
    """Return what a person sees beside the secret; reserved scopes only where there are any."""
    return (*_SHOWN, _RESERVED) if key.reserved_scopes else _SHOWN
