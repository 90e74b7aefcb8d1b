"""The audit app: every workspace's log of who did what."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Names the app; the log reacts to nothing, everyone above writes to it."""

    name = "cmdop_server.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"
