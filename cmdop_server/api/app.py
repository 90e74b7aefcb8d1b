"""The API as one object: its routers, its parser, its error answers."""

from ninja import NinjaAPI

from cmdop_server.api import errors
from cmdop_server.api.auth import Bearer
from cmdop_server.api.parsing import StrictParser
from cmdop_server.api.routers import (
    auth,
    commands,
    events,
    joining,
    keys,
    machines,
    me,
    members,
    sessions,
    version,
    workspaces,
)

PREFIX = "/api/v1"

api = NinjaAPI(
    title="cmdop",
    version="v1",
    description="Workspaces for machines. Every operation names the action it asks for and the scope that opens it.",
    openapi_url=None,  # openapi.py serves it, finished
    docs_url=None,
    auth=Bearer(),
    parser=StrictParser(),
    servers=[{"url": "/"}],
    urls_namespace="api",
)
errors.install(api)
for _module in (me, auth, workspaces, members, keys, machines, joining, sessions, commands, events, version):
    api.add_router("", _module.router)
