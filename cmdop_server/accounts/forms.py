"""Sign-up and «forgot your password?»: neither the answer nor its time tells whether an address has an account."""

import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import structlog
from allauth.account import forms
from allauth.account.adapter import get_adapter
from django.db import connections, transaction
from django.http import HttpRequest

from cmdop_server.access.actor import Actor
from cmdop_server.accounts import services

_log = structlog.stdlib.get_logger("cmdop.accounts")

# One at a time, after the answer. What is lost when the process is killed, its reader asks for again.
_later = ThreadPoolExecutor(1, thread_name_prefix="password-reset")
_places = threading.BoundedSemaphore(100)
_PATIENCE = 20.0  # seconds that one waits for its turn: a mail server that hangs must not keep the process from ending


class SignupForm(forms.SignupForm):  # type: ignore[misc]
    """allauth's form, except that a taken address costs what a new one does."""

    def try_save(self, request: HttpRequest) -> tuple[Any, Any]:
        """Make the account; for a taken address make one that nobody will have, and take it back."""
        if self.account_already_exists:
            visitor = get_adapter().visitor(request)
            _make_and_take_back(visitor, self.cleaned_data)
        made: tuple[Any, Any] = super().try_save(request)
        return made


def _make_and_take_back(visitor: Actor, wanted: Mapping[str, Any]) -> None:
    with transaction.atomic():
        nobody = f"{secrets.token_hex(16)}@example.invalid"
        services.create_account(visitor, email=nobody, password=wanted.get("password1"))
        transaction.set_rollback(True)


class ResetPasswordForm(forms.ResetPasswordForm):  # type: ignore[misc]
    """allauth's form, except that the address is looked up, and the mail sent, after the answer."""

    def clean_email(self) -> str:
        """Return the address as it is stored, without asking whose it is."""
        email: str = get_adapter().clean_email(self.cleaned_data["email"])
        return email

    def save(self, request: HttpRequest, **options: Any) -> str:
        """Have the mail sent if there is somebody to get it."""
        email: str = self.cleaned_data["email"]
        if _places.acquire(blocking=False):
            _later.submit(copy_context().run, self._send, request, options, time.monotonic() + _PATIENCE)
        else:
            _log.warning("too many password resets at once, one was dropped")
        return email

    def _send(self, request: HttpRequest, options: Mapping[str, Any], until: float) -> None:
        try:
            if time.monotonic() > until:
                raise TimeoutError("the mail server is too slow")
            self.cleaned_data["email"] = super().clean_email()
            super().save(request, **options)
        except Exception:
            _log.exception("the mail for a password reset was not sent")
        finally:
            connections.close_all()
            _places.release()
