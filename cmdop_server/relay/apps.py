"""The relay's place in Django: it reacts to what lower apps announce, and has no tables."""

from django.apps import AppConfig


class RelayConfig(AppConfig):
    """Hangs the fence on every effect that ends a right."""

    name = "cmdop_server.relay"
    label = "relay"

    def ready(self) -> None:
        """Register the cuts."""
        from cmdop_server.relay.fence import register  # noqa: PLC0415 - models must be loaded first

        register()
