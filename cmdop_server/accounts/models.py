"""People. Passwords, e-mail verification and cabinet sessions are django-allauth's (D-16)."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from cmdop_wire.ids import make_id


def new_account_id() -> str:
    """Return a fresh ``usr_…`` id."""
    return make_id("account")


class AccountManager(BaseUserManager["Account"]):
    """What Django's authentication asks of a manager; people come from ``services.create_account`` only."""

    def get_by_natural_key(self, username: str | None) -> "Account":
        """Return the account with this address, compared case-folded."""
        return self.get(email=(username or "").casefold())


class Account(AbstractBaseUser):
    """One person; ``email`` is stored case-folded and unique, ``username`` seeds the personal slug (D-4)."""

    public_id = models.CharField(max_length=40, unique=True, default=new_account_id)
    email = models.EmailField(max_length=254, unique=True)
    username = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=120, blank=True, default="")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["username"]
    objects = AccountManager()

    def __str__(self) -> str:
        return self.email
