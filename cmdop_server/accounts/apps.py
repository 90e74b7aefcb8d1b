"""The accounts app: people and their passwords."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Names the app; it announces and reacts to nothing below."""

    name = "cmdop_server.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
