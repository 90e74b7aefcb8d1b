"""What the operator is told of a database that was restored, whichever command meets it first."""

from cmdop_server.management.say import note


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
