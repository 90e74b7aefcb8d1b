"""The workspaces app: the tenant, its people and its defaults for new machines."""

from django.apps import AppConfig

from cmdop_server.access import effects


class WorkspacesConfig(AppConfig):
    """Registers what happens to a workspace when something happens to an account."""

    name = "cmdop_server.workspaces"
    label = "workspaces"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the handlers; models can be imported only now."""
        from cmdop_server.workspaces import personal  # noqa: PLC0415

        effects.on(effects.AccountCreated, personal.create_personal_workspace)
        effects.on(effects.AccountChanged, personal.record_change)
