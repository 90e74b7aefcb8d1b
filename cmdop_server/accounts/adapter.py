"""What django-allauth asks of us: who may sign up, how an account is made, whose address counts."""

from dataclasses import replace
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.forms import BaseForm
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from cmdop_server.access.actor import SYSTEM, Actor, ActorKind
from cmdop_server.accounts import services
from cmdop_server.accounts.models import Account
from cmdop_server.address import client_address
from cmdop_server.requests import request_id
from cmdop_server.values import Signup


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Our rules behind allauth's pages."""

    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "The e-mail address or the password is wrong.",
        "too_many_login_attempts": "Too many failed tries. Wait a few minutes, then try again.",
        "incorrect_password": "The password is wrong.",
        "enter_current_password": "That is not your current password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth passes it
        """Tell whether a visitor may make an account (D-5a).

        Only where sign-up is open: with ``invite`` it takes an invitation, and there is no way to send one yet.
        """
        return bool(settings.CMDOP_SIGNUP == Signup.OPEN)

    def save_user(
        self,
        request: HttpRequest,
        user: AbstractBaseUser,
        form: BaseForm,
        commit: bool = True,  # noqa: ARG002 - allauth's signature
    ) -> AbstractBaseUser:
        """Make the account through the one service that makes accounts, so it has its workspace and its event (D-4)."""
        wanted = form.cleaned_data
        account = services.create_account(
            self.visitor(request), email=wanted["email"], password=wanted.get("password1")
        )
        # allauth goes on with the instance that it passed in.
        user.__dict__.update(account.__dict__)
        return user

    def visitor(self, request: HttpRequest) -> Actor:
        """Return who makes an account on the page: nobody whom we know yet."""
        return replace(SYSTEM, label="sign-up", request_id=request_id(request), address=client_address(request))

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """Change, set or reset a password: allauth's three pages all come through here.

        Not through its signals, which are sent when the password is in force already: the event and the end of the
        other sign-ins are committed with it or not at all (D-16, D-30).
        """
        assert isinstance(user, Account)
        actor = Actor(
            kind=ActorKind.ACCOUNT,
            account_id=user.public_id,
            label=user.email,
            request_id=request_id(self.request),
            address=client_address(self.request),
        )
        services.change_password(actor, user, password)

    def is_safe_url(self, url: str) -> bool:
        """Tell whether a page may send its reader there afterwards: only to addresses of this very server."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:  # noqa: ARG002 - allauth passes it
        """Return where to go after a change of password: home, with a word about it."""
        return resolve_url(settings.LOGIN_REDIRECT_URL)

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that throttles count by: ours, not a header's."""
        return client_address(request)

    def clean_email(self, email: str) -> str:
        """Return the address as it is stored: case-folded."""
        cleaned: str = super().clean_email(email)
        return cleaned.casefold()

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send or spool a mail whose links start with the public address, never with a Host header."""
        super().send_mail(template_prefix, email, {**context, "public_url": settings.CMDOP_PUBLIC_URL})
