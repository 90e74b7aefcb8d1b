"""Making accounts and changing passwords. What follows from it elsewhere is announced, not done here."""

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.effects import AccountChanged, AccountCreated, PasswordChanged, announce
from cmdop_server.access.errors import Conflict, Invalid
from cmdop_server.accounts.models import Account
from cmdop_server.accounts.queries import fold_email
from cmdop_server.limits import PASSWORD_BYTES
from cmdop_server.passwords import is_too_long
from cmdop_server.texts import has_control_characters
from cmdop_wire.ids import derive_slug, is_slug, suffixed_slug

EMAIL_LENGTH = 254
NAME_LENGTH = 120
USERNAME_LENGTH = 54  # leaves room for `-personal` within a slug (D-4)
_ATTEMPTS = 20


def create_account(
    actor: Actor, *, email: str, password: str | None, name: str = "", username: str | None = None
) -> Account:
    """Create an account and announce ``AccountCreated``, which gives it its personal workspace (D-4).

    Without ``password`` nobody can sign in with one. Without ``username`` it is derived from the address.
    Refuses with ``Invalid``, or ``Conflict`` when address or username are taken. An address that the operator
    gives counts as verified (D-5a).
    """
    account = Account(email=_checked_email(email), name=_checked_name(name))
    _give_password(account, password)
    with transaction.atomic():
        if Account.objects.filter(email=account.email).exists():
            raise _email_taken()
        _save_with_username(account, username)
        if actor.kind is ActorKind.OPERATOR:  # whoever signs up on the page gets theirs, unverified, from allauth
            EmailAddress.objects.create(user=account, email=account.email, primary=True, verified=True)
        announce(AccountCreated(actor, account.public_id))
    return account


def change_password(actor: Actor, account: Account, password: str) -> None:
    """Set the account's password and announce ``PasswordChanged``; the actor's own sign-in lives on (D-16)."""
    _give_password(account, password)
    with transaction.atomic():
        account.save(update_fields=["password"])
        announce(PasswordChanged(actor, account.public_id, keep_sign_in_id=actor.sign_in_id))
        announce(AccountChanged(actor, account.public_id, "account.password_changed"))


def _checked_email(email: str) -> str:
    folded = fold_email(email)
    try:
        validate_email(folded)
    except ValidationError:
        raise Invalid("this is not an e-mail address", field="email") from None
    if not folded.isprintable():  # RFC 5322 would let control characters stand in a quoted local part
        raise Invalid("an e-mail address has no control characters", field="email")
    if len(folded) > EMAIL_LENGTH:
        raise Invalid(f"an e-mail address has at most {EMAIL_LENGTH} characters", field="email")
    return folded


def _checked_name(name: str) -> str:
    stripped = name.strip()
    if len(stripped) > NAME_LENGTH or has_control_characters(stripped):
        raise Invalid(f"a name has at most {NAME_LENGTH} characters and no control characters", field="name")
    return stripped


def _give_password(account: Account, password: str | None) -> None:
    if password is None:
        account.set_unusable_password()
        return
    if is_too_long(password):  # before the validators compare all of it with everything
        raise Invalid(f"a password is at most {PASSWORD_BYTES} bytes", field="password")
    try:
        validate_password(password, account)
    except ValidationError as refusal:
        raise Invalid("; ".join(refusal.messages).rstrip(".").lower(), field="password") from None
    account.set_password(password)


def _email_taken() -> Conflict:
    return Conflict("an account with this e-mail address exists already", field="email")


def _save_with_username(account: Account, username: str | None) -> None:
    """Save under the asked username, or under the first free one that the address suggests."""
    if username is not None and (not is_slug(username) or len(username) > USERNAME_LENGTH):
        raise Invalid(f"a username is 1 to {USERNAME_LENGTH} lower-case letters, digits and dashes", field="username")
    stem = username or derive_slug(account.email.partition("@")[0])[:USERNAME_LENGTH].rstrip("-") or "user"
    for candidate in [stem] if username else _free_usernames(stem):
        account.username = candidate
        try:
            with transaction.atomic():
                account.save(force_insert=True)
        except IntegrityError:
            account.pk = None
            if Account.objects.filter(email=account.email).exists():
                raise _email_taken() from None
            continue
        return
    raise Conflict("this username is taken", field="username")


def _free_usernames(stem: str) -> list[str]:
    """Return usernames that are free now, best first; a racing sign-up may still take one."""
    candidates = [stem, *(suffixed_slug(stem[: USERNAME_LENGTH - 4], number) for number in range(2, 200))]
    taken = set(Account.objects.filter(username__in=candidates).values_list("username", flat=True))
    return [candidate for candidate in candidates if candidate not in taken][:_ATTEMPTS]
