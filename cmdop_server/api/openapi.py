"""The OpenAPI document, the same at every call: served, and committed as docs/reference/openapi.json."""

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja.responses import NinjaJSONEncoder

from cmdop_server.api.app import PREFIX, api


@cache
def _text() -> str:
    made = json.loads(json.dumps(api.get_openapi_schema(path_prefix=PREFIX), cls=NinjaJSONEncoder))
    for operations in made["paths"].values():
        for operation in operations.values():
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return json.dumps(made)


def document() -> dict[str, Any]:
    """Return the document as plain JSON values; paths are complete, ``servers`` is this origin."""
    made: dict[str, Any] = json.loads(_text())
    return made


def serve(request: HttpRequest) -> HttpResponse:
    """Answer with the document; it tells nothing of any tenant and needs no credential."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    return JsonResponse(document(), headers={"Cache-Control": "public, max-age=300"})
