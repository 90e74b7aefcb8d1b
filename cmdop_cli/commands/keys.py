"""``cmdop auth list-keys | show-key | revoke-key``: the keys of a workspace (D-13, D-14); ``key_making`` makes them."""

from typing import TYPE_CHECKING, Annotated

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import DEFAULT_KEY_SCOPES, ErrorCode, KeyState

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.models import Key

UNUSED_DAYS = 90  # a key without an end is flagged when it was not used for so long (D-13)


def _short(scopes: object) -> str:
    """Return a key's scopes for a narrow column: most keys have the ones that a key gets by itself."""
    words = [str(each) for each in scopes] if isinstance(scopes, list) else []
    return "default" if words == [str(each) for each in DEFAULT_KEY_SCOPES] else ", ".join(words)


def _until(moment: object) -> str:
    from cmdop_cli.times import local, parse_iso

    return local(parse_iso(moment)) if isinstance(moment, str) else "never"


_CREATED = Column("created_at", "created", "ago")
_OWNER = Column("owner.email", "owner", show=lambda email: "the workspace" if email is None else str(email))
_STATE = Column("state")
COLUMNS: tuple[Column, ...] = (
    Column("name"),
    Column("kind", kind="id"),
    Column("prefix", "key", "id"),
    _CREATED,
    Column("last_used_at", "used", "ago"),
    Column("expires_at", "expires", "ends"),
    Column("scopes", kind="aside", show=_short),
)
STATES = (*KeyState, "all")


@verb(needs="workspace")
def list_keys(
    ctx: Ctx,
    everyone: Annotated[bool, typer.Option("--all", help="also the personal keys of other members")] = False,
    unused: Annotated[
        str | None, typer.Option("--unused", help="only keys that were not used for so long, such as 90d")
    ] = None,
    state: Annotated[str, typer.Option("--state", help="live, expired, revoked or all")] = KeyState.LIVE,
) -> Listing:
    """List the keys of the workspace.

    Yours, and the workspace's if you may see them. Secrets are never shown again: KEY is what a key begins with.
    A key without an end that nobody has used for 90 days is pointed out.

    cmdop auth list-keys
    cmdop auth list-keys --workspace=acme --unused 90d
    """
    call = ctx.call
    if state not in STATES:
        raise usage(f"--state is one of {', '.join(STATES)}")
    days = _days(unused)
    wanted = None if state == "all" else state
    keys = call.ask(lambda client: client.keys.list(all=everyone, state=wanted, unused_days=days).all())
    stale = [each for each in keys if _is_stale(each)]
    if stale:
        call.note(f"not used for {UNUSED_DAYS} days and without an end: {', '.join(each.name for each in stale)}")
    columns = piped = COLUMNS
    if everyone:  # whose it is matters more than when it was made, and says the kind: eighty columns hold not all
        rest = tuple(each for each in COLUMNS[2:] if each is not _CREATED)
        columns = (COLUMNS[0], _OWNER, *rest)
        piped = (*COLUMNS[:2], Column("owner.email", "owner"), *rest)
    if state != KeyState.LIVE:
        columns, piped = (_STATE, *columns), (_STATE, *piped)
    return Listing(
        "key",
        keys,
        columns=columns,
        piped=piped,
        empty=f"no keys in {call.resolution.why}; make one with: cmdop auth create-key --name NAME",
        extra={"stale": [each.id for each in stale]},
    )


def _days(text: str | None) -> int | None:
    if text is None:
        return None
    from cmdop_cli.times import parse_days

    try:
        return parse_days(text)
    except ValueError as wrong:
        raise usage(f"--unused: {wrong}") from None


def _is_stale(key: "Key") -> bool:
    from datetime import UTC, datetime, timedelta

    if key.expires_at is not None or key.state != KeyState.LIVE:
        return False
    return (key.last_used_at or key.created_at) < datetime.now(UTC) - timedelta(days=UNUSED_DAYS)


@verb(needs="workspace")
def show_key(
    ctx: Ctx, key: Annotated[str, typer.Argument(metavar="ID|NAME", help="the key's id, or its exact name")]
) -> Record:
    """Show one key, without its secret.

    cmdop auth show-key my-laptop
    cmdop auth show-key key_5w3r8x0m2n4p6q8s0t1v --json
    """
    found = ctx.call.ask(lambda client: _found(client, _spoken(key)))
    return _record(found)


_DETAILS = (
    Column("id", kind="id"),
    Column("name"),
    Column("kind"),
    Column("state"),
    Column("prefix", "key"),
    Column("scopes"),
    Column("reserved_scopes", "granting nothing yet"),
    Column("owner.email", "owner"),
    Column("created_by.email", "created by"),
    Column("created_at", "created", "time"),
    Column("expires_at", "expires", show=_until),
    Column("last_used_at", "last used", "time"),
    Column("last_used_address", "last used from"),
    Column("revoked_at", "revoked", "time"),
)


@verb(needs="workspace", mutates=True)
def revoke_key(
    ctx: Ctx,
    key: Annotated[
        str, typer.Argument(metavar="ID|NAME|-", help="the key's id or exact name; - reads the whole key from stdin")
    ],
) -> Record:
    """End a key, at once and for ever.

    Once this returns, nothing that the key is sent with succeeds any more. The text of a key is only ever read from
    stdin: on the command line it would stay in the shell's history.

    cmdop auth revoke-key my-laptop
    cmdop auth revoke-key - --yes < leaked-key.txt
    """
    call = ctx.call
    if key == "-":
        found = _by_text(call)
    else:
        ref = _spoken(key)
        found = call.ask(lambda client: _found(client, ref))
    if found.state == KeyState.REVOKED:
        call.note(f"key {found.name} is already revoked")
        return _record(found)
    if call.is_dry_run:
        return _record(found, planned=True)
    owner = f" of {found.owner.email}" if found.owner else ""
    call.confirm(
        f"revoke the {found.kind} key {found.name}{owner} ({found.prefix}…)?",
        affects=["everything that uses it is refused from now on", _used(found)],
    )
    revoked = call.ask(lambda client: client.keys.revoke(found.id))
    call.note(f"revoked key {revoked.name} ({revoked.prefix}…)")
    told = [each for each in _DETAILS if each.name in ("id", "name", "state", "revoked_at")]
    return Record("key", revoked, columns=told, piped=_DETAILS)


def _record(key: "Key", *, planned: bool = False) -> Record:
    shown = _without_empty(_DETAILS, key.reserved_scopes)
    return Record("key", key, columns=shown, piped=_DETAILS, planned=planned)


def _without_empty(columns: tuple[Column, ...], reserved: list[str]) -> tuple[Column, ...]:
    """Return the columns without the one on reserved scopes, where a key has none: few do."""
    return tuple(each for each in columns if reserved or each.name != "reserved_scopes")


def _used(key: "Key") -> str:
    if key.last_used_at is None:
        return "it was never used"
    from cmdop_cli.times import local

    where = f" from {key.last_used_address}" if key.last_used_address else ""
    return f"it was last used {local(key.last_used_at)}{where}"


def _spoken(ref: str) -> str:
    """Return ``ref`` unless it is the text of a key, which does not belong on a command line."""
    if ref.startswith("cmd_") and len(ref) > len("cmd_") + 36:
        raise usage(
            "this looks like the whole text of a key, which stays in the shell's history: pipe it instead",
            hint="cmdop auth revoke-key - < FILE",
        )
    if not ref.strip():
        raise usage("a key is named by its id or its name")
    return ref


async def _found(client: "AsyncCMDOPClient", ref: str) -> "Key":
    """Return the one key with that id or exact name; several are an error that lists them."""
    if is_id(ref, "key"):
        return await client.keys.show(ref)
    me = await client.me.show()
    sees_all = "key.list_all" in me.workspace.authorized_actions
    keys = [each async for each in client.keys.list(all=sees_all, state=KeyState.LIVE) if each.name == ref]
    if not keys:
        raise Failure(
            ErrorCode.NOT_FOUND, f"no live key is called {ref}", hint=f"cmdop auth list-keys{' --all' * sees_all}"
        )
    if len(keys) > 1:
        told = "; ".join(f"{each.id} ({each.kind}, {each.owner.email if each.owner else 'shared'})" for each in keys)
        raise usage(f"{len(keys)} keys are called {ref}: {told}", hint=f"cmdop auth show-key {keys[0].id}")
    return keys[0]


def _by_text(call: "Call") -> "Key":
    """Return the key whose whole text comes from stdin; the server says which it is, on that key's own word."""
    from cmdop_cli import door
    from cmdop_cli.credentials import key_client
    from cmdop_sdk.errors import AuthenticationError

    text = call.read_secret("key")
    try:
        info = door.ask(call, key_client(call, text), lambda client: client.sign_in.info())
    except AuthenticationError as unknown:
        if unknown.http_status is None:
            raise  # refused before anything was sent: this is no key
        raise Failure(
            ErrorCode.NOT_FOUND,
            "the server knows no such live key: it was revoked, has expired, or belongs to another server",
            http_status=unknown.http_status,
            request_id=unknown.request_id,
        ) from None
    place = call.workspace()
    if not place.is_called(info.workspace.id) and not place.is_called(info.workspace.slug):
        raise usage(
            f"this key belongs to workspace {info.workspace.slug}, not to {place.label}",
            hint=f"cmdop --workspace {info.workspace.slug} auth revoke-key -",
        )
    return call.ask(lambda client: client.keys.show(info.id))
