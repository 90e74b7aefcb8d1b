"""The Django app; its reactions to what lower apps announce are registered here, in this order."""

from django.apps import AppConfig


class CredentialsConfig(AppConfig):
    """Keys, sign-ins with their token families, device grants."""

    name = "cmdop_server.credentials"
    label = "credentials"

    def ready(self) -> None:
        """Register the reactions, and who knows whether a credential is still good."""
        from cmdop_server.access.effects import MemberRemoved, PasswordChanged, on  # noqa: PLC0415 - apps are loaded
        from cmdop_server.access.standing import answered_by  # noqa: PLC0415
        from cmdop_server.credentials import reactions  # noqa: PLC0415
        from cmdop_server.credentials.authenticate import stands  # noqa: PLC0415

        on(MemberRemoved, reactions.end_what_the_member_held)
        on(PasswordChanged, reactions.end_other_sign_ins)
        answered_by(stands)
