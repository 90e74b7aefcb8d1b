"""The cabinet: web pages over the same doors and services that the API uses."""

from django.apps import AppConfig


class CabinetConfig(AppConfig):
    """Names the app; it has no tables and reacts to nothing."""

    name = "cmdop_server.cabinet"
    label = "cabinet"
