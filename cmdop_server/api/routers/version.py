"""Which server this is."""

from django.http import HttpRequest
from ninja import Router

from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.common import Answer
from cmdop_server.health import server_version
from cmdop_wire.vocab import AccountAction

router = Router(tags=["server"])


class VersionAnswer(Answer):
    """Name and version of the server, and of the API it speaks."""

    name: str
    version: str
    api: str


@operation(router, "GET", "/version", action=AccountAction.PUBLIC, answers=VersionAnswer)
def show_version(request: HttpRequest) -> VersionAnswer:  # noqa: ARG001 - ninja passes it
    """Show which server this is."""
    return VersionAnswer(name="cmdop", version=server_version(), api="v1")
