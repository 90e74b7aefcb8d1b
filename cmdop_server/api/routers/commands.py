"""One short command on one machine, for whoever has nothing but HTTP."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from cmdop_server.access.errors import Invalid, Refused, Unauthenticated
from cmdop_server.api.auth import actor_of
from cmdop_server.api.errors import answer
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.commands import CommandAnswer, NewCommand, shown_command
from cmdop_server.later import Later
from cmdop_server.machines.queries import machine_for
from cmdop_server.orders import Left, Order
from cmdop_server.workspaces.queries import owner_ids
from cmdop_wire.vocab import Action

router = Router(tags=["commands"])


@operation(router, "POST", "/workspaces/{ws}/commands", action=Action.COMMAND_EXECUTE, answers=CommandAnswer)
def run_command(request: HttpRequest, ws: str, body: NewCommand) -> Later:
    """Run a command of at most 30 seconds on an online machine, and answer when it has ended.

    200 whatever its exit status, also after a time-out (124). 409 ``agent_offline``, 403 ``gate_denied`` or
    ``approval_unavailable``, 422 with ``details.reason`` when the machine cannot start it, 429 beyond 8 at once in a
    workspace, 16 of an account, 16 of the shared keys of one owner's workspaces or 64 of everybody. While somebody at
    the machine is asked for approval, up to a minute, the request waits. Who hangs up ends the command. A repeated
    request runs it again.
    """
    actor = actor_of(request)
    machine = machine_for(actor, ws, body.machine, Action.COMMAND_EXECUTE)
    try:
        stdin = body.input()
    except ValueError as problem:
        raise Invalid(str(problem), field="stdin") from None
    if actor.credential_id is None:
        raise Unauthenticated
    order = Order(
        workspace_id=machine.workspace.public_id,
        machine_id=machine.public_id,
        credential_id=actor.credential_id,
        account_id=actor.account_id or "",
        owner_ids=[] if actor.account_id else owner_ids(machine.workspace),
        address=actor.address,
        request_id=actor.request_id,
        argv=body.argv,
        cwd=body.cwd,
        timeout=body.timeout,
        stdin=stdin,
    )

    def answered(outcome: Left | Refused) -> HttpResponse:
        if isinstance(outcome, Refused):
            return answer(request, outcome)
        return HttpResponse(shown_command(outcome).model_dump_json(), content_type="application/json")

    return Later(order, answered)
