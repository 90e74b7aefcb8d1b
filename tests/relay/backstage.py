"""What happens to the network between a machine and the relay, for ``Server.backstage``."""


def drop(machine_id: str) -> int:
    """Break the machine's link as a lost network would; its credential and its streams stay."""
    from django.conf import settings

    from cmdop_server.relay.cuts import Cut
    from cmdop_server.relay.doorway import knock
    from cmdop_wire.frames import CloseCode

    lost = Cut("restart", machine_id=machine_id, ends_link=True, keeps_streams=True, code=CloseCode.GOING_AWAY)
    return int(knock(settings.DATA_DIR, lost, 5))


def deafen(workspace: str) -> None:
    """Have the database refuse every event of a workspace, as a full disk would."""
    from django.db import connection

    hear_again()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "CREATE TRIGGER deaf BEFORE INSERT ON audit_event "
                f"WHEN NEW.workspace_id = '{workspace}' BEGIN SELECT RAISE(ABORT, 'deaf'); END"
            )
            return
        cursor.execute(
            "CREATE FUNCTION deaf() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'deaf'; END $$ LANGUAGE plpgsql"
        )
        cursor.execute(
            "CREATE TRIGGER deaf BEFORE INSERT ON audit_event FOR EACH ROW "
            f"WHEN (NEW.workspace_id = '{workspace}') EXECUTE FUNCTION deaf()"
        )


def hear_again() -> None:
    """Undo that."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER IF EXISTS deaf {'' if connection.vendor == 'sqlite' else 'ON audit_event'}")
        if connection.vendor != "sqlite":
            cursor.execute("DROP FUNCTION IF EXISTS deaf()")


def move_uncut(bearer: str, machine: str, to: str) -> str:
    """Move a machine, and keep from the relay that it did: the moment between the commit and the cut, for as long as
    a test wants. Returns where it is.
    """
    from concurrent.futures import Future
    from unittest import mock

    from cmdop_server.credentials.authenticate import prove
    from cmdop_server.machines.services import move_machine
    from cmdop_server.relay.fence import Fence

    made: Future[bool] = Future()
    made.set_result(True)
    actor = prove(bearer, address="127.0.0.1", request_id="").actor
    with mock.patch.object(Fence, "_hand_over", return_value=made):
        return move_machine(actor, actor.workspace_id or "", machine, to)[0].workspace.slug


def cut_moved(machine_id: str) -> int:
    """Make the cut that was kept back."""
    from django.conf import settings

    from cmdop_server.access.actor import SYSTEM
    from cmdop_server.access.effects import MachineMoved
    from cmdop_server.relay.cuts import CAUSES
    from cmdop_server.relay.doorway import knock

    return int(knock(settings.DATA_DIR, CAUSES[MachineMoved](MachineMoved(SYSTEM, "", "", machine_id)), 5))
