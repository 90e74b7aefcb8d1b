"""The Django app; its reactions to what lower apps announce are registered here."""

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    """Machines and join tokens."""

    name = "cmdop_server.machines"
    label = "machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the reactions."""
        from cmdop_server.access.effects import MemberRemoved, on  # noqa: PLC0415 - apps are loaded
        from cmdop_server.machines import reactions  # noqa: PLC0415

        on(MemberRemoved, reactions.revoke_join_tokens)
