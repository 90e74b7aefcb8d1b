"""``cmdop whoami`` and ``status``: who one is to the server, and everything that is in force with its reason."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli import status_record
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import Code
from cmdop_cli.results import Column, Record
from cmdop_wire.vocab import Exit, Reach

if TYPE_CHECKING:
    from cmdop_sdk.models import Identity

_WHO = (
    Column("who", "you are"),
    Column("credential.kind", "by", show=lambda kind: status_record.KINDS.get(kind, kind)),
)
_BY_KEY = (Column("credential.name", "called"), Column("credential.scopes", "scopes"))
_BY_SIGN_IN = (
    Column(
        "credential.reach", "may enter", show=lambda reach: "all your workspaces" if reach == Reach.ALL else "this one"
    ),
)
_WHERE = (Column("workspace.slug", "workspace"), Column("workspace.role", "role"), Column("server", kind="id"))


@verb(needs="account")
def whoami(ctx: Ctx) -> Record:
    """Show who you are to the server.

    The answer is the server's: the account, what it was proved with, and the role in the workspace.

    cmdop whoami
    cmdop whoami --json
    """
    call = ctx.call
    found = call.ask(lambda client: client.me.show())
    columns = (*_WHO, *(_BY_KEY if found.credential.scopes is not None else _BY_SIGN_IN), *_WHERE)
    return Record("identity", {**_identity(found), "server": call.server.origin}, columns=columns, identifier="who")


def _identity(found: "Identity") -> dict[str, Any]:
    here = found.workspace
    return {
        "who": found.account.email if found.account else found.credential.name,
        "account": found.account,
        "credential": found.credential,
        "workspace": {"id": here.id, "slug": here.slug, "name": here.name, "role": here.role},
        "default_workspace": found.default_workspace,
    }


@verb()
def status(
    ctx: Ctx,
    offline: Annotated[bool, typer.Option("--offline", help="ask the server nothing; tell what is known here")] = False,
) -> Record:
    """Show everything that is in force, and why.

    Server, mode, profile, account, workspace and credential: each with where it came from, where the credential is
    kept and when it ends. One question is put to the server; exit 4 when there is nothing to sign in with.

    cmdop status
    cmdop status --offline --json
    """
    call = ctx.call
    seen = status_record.checked(call, offline=offline)
    fields = status_record.fields_of(call, seen, offline=offline)
    problem = seen.problem
    if problem is not None:
        call.warn(problem.message)
        if problem.hint:
            call.note(f"fix: {problem.hint}")
    # That nothing is chosen is a state and no fault: whoever asks for the status learns it from the table.
    exit_code = Exit.DONE if problem is None or problem.code == Code.NO_WORKSPACE else problem.exit_code
    return Record("status", fields, rows=status_record.rows(fields), identifier="workspace.slug", exit_code=exit_code)
