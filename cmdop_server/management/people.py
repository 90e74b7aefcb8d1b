"""``bootstrap`` and ``user create``: accounts made on the host, through the same services and audit as everywhere."""

import os
import stat
import sys
from pathlib import Path

from django.db import transaction

from cmdop_server.config import Config
from cmdop_server.limits import PASSWORD_BYTES
from cmdop_server.management import opening
from cmdop_server.management.say import answer, answer_json, note
from cmdop_server.refusal import Refusal

TOKEN_SECONDS = 600


def read_password(source: str | None) -> str | None:
    """Return the content of a file (``-``: stdin) without its last line feed; passwords never travel in arguments."""
    if source is None:
        return None
    try:
        if source == "-":
            content = sys.stdin.buffer.read(PASSWORD_BYTES + 2)
        else:
            with Path(source).open("rb") as file:
                content = file.read(PASSWORD_BYTES + 2)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise Refusal("--password-file", f"cannot read {source}: {reason.lower()}", f"ls -l {source}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Refusal("--password-file", f"{source} is empty", "openssl rand -base64 24 > password; chmod 600 password")
    return text


def _open() -> Config:
    opening.private_process()
    config = opening.configuration()
    opening.django_ready(config, migrate=False)
    return config


def bootstrap(*, email: str, password_file: str | None, as_json: bool) -> int:
    """Make the first account, or find it again, and print a one-time sign-in token for it."""
    password = read_password(password_file)
    config = _open()
    from cmdop_server import schema  # noqa: PLC0415 - these need Django
    from cmdop_server.access.actor import operator  # noqa: PLC0415
    from cmdop_server.access.errors import Conflict  # noqa: PLC0415
    from cmdop_server.accounts.queries import first_account, fold_email  # noqa: PLC0415
    from cmdop_server.accounts.services import create_account  # noqa: PLC0415
    from cmdop_server.credentials.sign_ins import make_sign_in_token  # noqa: PLC0415

    with schema.one_bootstrap_at_a_time():
        account = first_account()
        created = account is None
        if account is None:
            account = create_account(operator(), email=email, password=password)
        elif account.email != fold_email(email):
            hint = f"cmdop server user create {fold_email(email)} --token"
            raise Conflict("this server has its first account already, with another address", hint=hint)
        token = make_sign_in_token(account.public_id)
    _print_account(config, "server-bootstrap", account, created=created, token=token, as_json=as_json)
    if not created and password is not None and not as_json:
        note("the account existed already: its password is what it was")
    return 0


def create_user(
    *,
    email: str,
    name: str,
    workspace: str | None,
    role: str | None,
    password_file: str | None,
    with_token: bool,
    as_json: bool,
) -> int:
    """Make an account, or take the existing one, and make it a member of a workspace if one is named."""
    password = read_password(password_file)
    config = _open()
    from cmdop_server.access.actor import operator  # noqa: PLC0415 - these need Django
    from cmdop_server.access.errors import Conflict, NotFound, Refused  # noqa: PLC0415
    from cmdop_server.accounts.queries import account_by_email  # noqa: PLC0415
    from cmdop_server.accounts.services import create_account  # noqa: PLC0415
    from cmdop_server.credentials.sign_ins import make_sign_in_token  # noqa: PLC0415
    from cmdop_server.workspaces.fields import checked_role  # noqa: PLC0415
    from cmdop_server.workspaces.members import add_member  # noqa: PLC0415

    actor = operator()
    with transaction.atomic():
        account = account_by_email(email)
        created = account is None
        if account is None:
            account = create_account(actor, email=email, password=password, name=name)
        elif workspace is None and not with_token:
            hint = f"cmdop server user create {account.email} --token"
            raise Conflict(f"{account.email} has an account already", hint=hint)
        joined: dict[str, str] | None = None
        is_again = False
        try:
            if workspace is not None:
                made = add_member(actor, workspace, account, role or "member")
                joined = {"id": made.workspace.public_id, "slug": made.workspace.slug, "role": str(made.role)}
        except NotFound as unknown:
            raise Refused(unknown.code, f"there is no workspace {workspace}", hint="cmdop workspace list") from None
        except Conflict as already:
            # Again is no failure, so that a script may be run twice; another role than was asked for is one.
            held = already.details.get("role")
            if held is None or (role is not None and held != checked_role(role)):
                raise
            joined, is_again = {**already.details["workspace"], "role": held}, True
        token = make_sign_in_token(account.public_id) if with_token else None
    _print_account(
        config, "server-user", account, created=created, token=token, as_json=as_json, workspace=joined,
        since="already" if is_again else "now",
    )  # fmt: skip
    return 0


def _print_account(
    config: Config,
    noun: str,
    account: object,
    *,
    created: bool,
    token: str | None,
    as_json: bool,
    workspace: dict[str, str] | None = None,
    since: str = "now",
) -> None:
    """Print what happened; the token is the answer, prose goes to stderr, so that it can be piped to a file."""
    from django.conf import settings  # noqa: PLC0415 - needs Django

    from cmdop_server.accounts.models import Account  # noqa: PLC0415

    assert isinstance(account, Account)
    login = opening.login_line(config)
    if token is not None:
        next_line = f"{login} --token -"
    elif account.has_usable_password():
        next_line = login
    else:  # the page of ``login`` would ask for a password that there is not
        next_line = f"cmdop server user create {account.email} --token"
    if as_json:
        answer_json(
            noun,
            account={"id": account.public_id, "email": account.email, "username": account.username},
            created=created,
            workspace=workspace,
            token=token,
            expires_in=TOKEN_SECONDS if token is not None else None,
            server=settings.CMDOP_PUBLIC_URL,
            next=next_line,
        )
        return
    note(f"account {account.email} {'created' if created else 'exists already'}")
    if workspace is not None:
        note(f"{workspace['role']} of {workspace['slug']} {since}")
    if token is not None:
        # Only where the token appears below it: not above an empty line when it goes into a pipe.
        if sys.stdout.isatty():
            note("one-time sign-in token, good for ten minutes:")
        answer(token)
    if token is None or not _is_piped():
        note(f"next: {next_line}")


def _is_piped() -> bool:
    """Tell whether the token went straight to another program, which is what comes next."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False
