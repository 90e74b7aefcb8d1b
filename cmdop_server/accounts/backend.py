"""allauth's password backend, which refuses absurd passwords before anything is hashed."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from cmdop_server.passwords import is_too_long


class PasswordBackend(AuthenticationBackend):  # type: ignore[misc]
    """Sign in by e-mail and password; the answer and its time do not tell an unknown account from a wrong password."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> AbstractBaseUser | None:
        """Return the account whose password this is, or ``None``."""
        password = credentials.get("password")
        if isinstance(password, str) and is_too_long(password):
            return None
        account: AbstractBaseUser | None = super().authenticate(request, **credentials)
        return account
