"""The Django app; its reactions to what lower apps announce are registered here."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """Sessions and tickets. The label is not ``sessions``: that one is Django's own, for the cabinet."""

    name = "cmdop_server.sessions"
    label = "machine_sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the reactions."""
        from cmdop_server.access import effects  # noqa: PLC0415 - apps are loaded
        from cmdop_server.sessions import reactions  # noqa: PLC0415

        effects.on(effects.MemberRemoved, reactions.end_what_the_member_operated)
        effects.on(effects.MachineRemoved, reactions.end_on_removed_machine)
        effects.on(effects.MachineMoved, reactions.end_on_moved_machine)
        effects.on(effects.MachineCredentialChanged, reactions.end_on_replaced_machine)
