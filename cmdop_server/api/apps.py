"""The Django app of the HTTP API: routers, the edge around them, and the answers it remembers."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Routers translate: parse, call one service or query, shape the answer."""

    name = "cmdop_server.api"
    label = "api"
