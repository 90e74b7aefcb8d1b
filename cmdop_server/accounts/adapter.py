"""What django-allauth asks of us: who may sign up, how an account is made, whose address counts."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest

from cmdop_server.access.actor import SYSTEM
from cmdop_server.accounts import services
from cmdop_server.address import client_address
from cmdop_server.config import Signup


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Our rules behind allauth's pages."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Tell whether this visitor may make an account (D-5a).

        With ``invite`` only somebody whose address an invitation has verified in this session.
        """
        if settings.CMDOP_SIGNUP == Signup.OPEN:
            return True
        return settings.CMDOP_SIGNUP == Signup.INVITE and bool(request.session.get("account_verified_email"))

    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: BaseForm, commit: bool = True
    ) -> AbstractBaseUser:
        """Make the account through the one service that makes accounts, so it has its workspace and its event (D-4)."""
        wanted = form.cleaned_data
        with transaction.atomic():
            account = services.create_account(SYSTEM, email=wanted["email"], password=wanted.get("password1"))
            # allauth writes this row itself in its next step, verified or not as its flow decides, and insists on
            # being the first.
            EmailAddress.objects.filter(user_id=account.pk).delete()
        # allauth goes on with the instance that it passed in.
        user.__dict__.update(account.__dict__)
        return user

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
