"""What the server really serves, read from its routing inside ``tests.backstage``."""

import re

from django.urls import URLPattern, URLResolver, get_resolver
from ninja.operation import PathView


def operations() -> list[list[str]]:
    """Return [method, path, operation id] of everything that the API answers to."""
    from cmdop_server.api.app import PREFIX, api

    found = []
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            assert isinstance(view, PathView)
            for operation in view.operations:
                full = re.sub(r"\{\w+:(\w+)\}", r"{\1}", f"{PREFIX}{prefix}{path}")
                found += [[method, full, operation.operation_id or ""] for method in operation.methods]
    return found


def addresses() -> list[str]:
    """Return the pattern of every address that Django routes, the API's own included, without the leading slash."""

    def walk(patterns: list[URLPattern | URLResolver], prefix: str) -> list[str]:
        found: list[str] = []
        for pattern in patterns:
            text = prefix + str(pattern.pattern).removeprefix("^")
            found += walk(pattern.url_patterns, text) if isinstance(pattern, URLResolver) else [text]
        return found

    return walk(get_resolver().url_patterns, "")


def leads_to(path: str) -> str:
    """Return the pattern of the address that ``path`` is routed to."""
    return str(get_resolver().resolve(path).route)
