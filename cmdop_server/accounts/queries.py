"""Finding people. Who may see whom is decided by the workspaces they share, not here."""

from cmdop_server.accounts.models import Account
from cmdop_wire.ids import is_id


def fold_email(email: str) -> str:
    """Return the address as it is stored and compared: trimmed and case-folded."""
    return email.strip().casefold()


def account_by_email(email: str) -> Account | None:
    """Return the account with this address, compared case-folded, or ``None``."""
    folded = fold_email(email)
    if "\x00" in folded or not folded.isprintable():
        return None  # no such address is ever stored, and PostgreSQL refuses the question
    return Account.objects.filter(email=folded).first()


def account_by_id(account_id: str) -> Account | None:
    """Return the account with this ``usr_…`` id, or ``None``."""
    if not is_id(account_id, "account"):
        return None
    return Account.objects.filter(public_id=account_id).first()


def first_account() -> Account | None:
    """Return the account that was made first, the operator's own, or ``None`` on a new server."""
    return Account.objects.order_by("id").first()
