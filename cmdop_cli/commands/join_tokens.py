"""``cmdop connect join-token create | list | revoke``: what lets a machine in without a person at it (D-21)."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Failure, usage
from cmdop_cli.results import Column, Listing, Record, Secret
from cmdop_wire.ids import is_id
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.machine_models import CreatedJoinToken, JoinToken
    from cmdop_sdk.models import Page

LIFE = "1h"
COLUMNS = (
    Column("id", kind="id"),
    Column("name"),
    Column("state"),
    Column("expires_at", "expires", "ends"),
    Column("created_by.label", "made by"),
    Column("machine_id", "machine", "aside"),
)


@verb(needs="workspace", mutates=True)
def create(
    ctx: Ctx,
    name: Annotated[str, typer.Option("--name", help="what it is for; shown in lists")] = "",
    expires: Annotated[
        str, typer.Option("--expires", help="how long it can be used, at most 24h; 1h unless given")
    ] = LIFE,
) -> Secret | Record:
    """Make a token that registers one machine, and show it once.

    For images and fleets: whoever holds it can bring one machine into the workspace, once, and do nothing else. In a
    pipe it is all that stdout carries. The machine names the server, and says yes: nobody is asked there.

    cmdop connect join-token create --name web-image --expires 24h
    cmdop connect join-token create > token
    cmdop connect --server https://cmdop.example --join-token file:token --yes
    """
    from cmdop_cli.times import parse_duration

    call = ctx.call
    try:
        life = parse_duration(expires)
    except ValueError as wrong:
        raise usage(f"--expires: {wrong}") from None
    if life > timedelta(days=1):
        raise usage("--expires: a join token lives for 24h at most")
    call.note(f"a join token for {call.resolution.why}")
    if call.is_dry_run:
        return Record(
            "join_token", {"name": name, "expires_at": datetime.now(UTC) + life}, identifier="name", planned=True
        )
    created = call.ask(lambda client: _created(call, client, name, int(life.total_seconds())))
    fields = {field: getattr(created, field) for field in created.__struct_fields__}
    if call.output.is_terminal:
        call.note(f"on the machine: cmdop connect --server {call.server.origin} --join-token - --yes")
    shown = {**fields, "secret": created.secret.reveal() if created.secret else None}
    return Secret("join_token", shown, columns=COLUMNS[:5], undo=f"cmdop connect join-token revoke {created.id}")


async def _created(call: "Call", client: "AsyncCMDOPClient", name: str, seconds: int) -> "CreatedJoinToken":
    """Make a token; if only a replay without its text came back, end that one and make another, once (D-12)."""
    for _ in range(2):
        created = await client.machines.join_tokens.create(name=name, expires_in=seconds)
        if created.secret is not None:
            return created
        await client.machines.join_tokens.revoke(created.id)
        call.warn(f"the answer was lost and the token's text with it: {created.id} is revoked")
    raise Failure(ErrorCode.UNAVAILABLE, "the answers of the server were lost twice; no token was kept", hint=call.line)


@verb(needs="workspace")
def list_tokens(ctx: Ctx) -> Listing:
    """List join tokens, newest first, with what came of them.

    The texts of tokens are shown once, when they are made, and nowhere else.

    cmdop connect join-token list
    cmdop connect join-token list --workspace=acme --json
    """
    call = ctx.call
    limit = call.options.limit

    async def listed(client: "AsyncCMDOPClient") -> "Page[JoinToken]":
        from cmdop_sdk.models import Page

        found = client.machines.join_tokens.list()
        return Page(await found.all()) if limit is None else await found.first(limit)

    page = call.ask(listed)
    return Listing(
        "join_token", page.items, columns=COLUMNS, empty=f"no join tokens in {call.resolution.why}", next=page.next
    )


@verb(needs="workspace", mutates=True)
def revoke(
    ctx: Ctx, token: Annotated[str, typer.Argument(metavar="TOKEN", help="the id of a join token, as listed")]
) -> Record:
    """Revoke a join token, so that nothing can come in with it.

    A machine that did come in with it stays.

    cmdop connect join-token revoke jtk_5w3r8x0m2n4p6q8s0t1v
    cmdop connect join-token revoke jtk_5w3r8x0m2n4p6q8s0t1v --dry-run
    """
    call = ctx.call
    if not is_id(token, "join_token"):
        raise usage("a join token is named by its id", hint="cmdop connect join-token list")
    if call.is_dry_run:
        found = call.ask(lambda client: _one(client, token))
        return Record("join_token", found, columns=COLUMNS, planned=True)
    revoked: Any = call.ask(lambda client: client.machines.join_tokens.revoke(token))
    call.note(f"{revoked.id} is {revoked.state}, in {call.resolution.why}")
    return Record("join_token", revoked, columns=COLUMNS)


async def _one(client: "AsyncCMDOPClient", token: str) -> "JoinToken":
    async for each in client.machines.join_tokens.list():
        if each.id == token:
            return each
    raise Failure(ErrorCode.NOT_FOUND, f"no such join token: {token}", hint="cmdop connect join-token list")
