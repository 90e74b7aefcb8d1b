"""What the operator is told, and may say, of a database that was restored."""

from cmdop_server.config import Config
from cmdop_server.management import opening
from cmdop_server.management.say import answer, answer_json, note
from cmdop_wire.vocab import Exit


def settle() -> None:
    """End what a restored database has brought back to life, and say so; silent on any other."""
    from cmdop_server import restored  # noqa: PLC0415 - needs Django
    from cmdop_server.accounts.queries import first_account  # noqa: PLC0415

    found = restored.settle()
    if found is None:
        return
    origin, ended = found
    note(f"this database was restored from {origin}: {ended.keys} keys, {ended.sign_ins} sign-ins and everything")
    note("pending have ended, because some of them may have been revoked since, and nobody can tell which")
    account = first_account()
    if account is not None:
        note(f"to sign in again: cmdop server bootstrap --email {account.email} --token-only")
    note("for each key: cmdop auth create-key --name NAME")


def restored(*, as_json: bool) -> int:
    """End every credential, for a copy that nobody marked; on the embedded database only while no server runs."""
    with opening.alone() as config:
        _end(config, as_json=as_json)
    return Exit.DONE


def _end(config: Config, *, as_json: bool) -> None:
    opening.django_ready(config, migrate=False)
    from cmdop_server.restored import end_all  # noqa: PLC0415 - needs Django

    ended = end_all()
    if as_json:
        answer_json("server-restored", workspaces=ended.workspaces, keys=ended.keys, sign_ins=ended.sign_ins)
    else:
        answer(f"{ended.keys} keys and {ended.sign_ins} sign-ins have ended in {ended.workspaces} workspaces")
