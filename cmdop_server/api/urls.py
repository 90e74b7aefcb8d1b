"""The API's addresses, each with the edge around its view."""

from django.urls import URLPattern, path

from cmdop_server.api.app import api
from cmdop_server.api.edge import edge
from cmdop_server.api.openapi import serve

urlpatterns = [path("openapi.json", edge(serve), name="openapi")]
for _pattern in api.urls[0]:
    if isinstance(_pattern, URLPattern) and _pattern.name != "api-root":  # ninja's root page leads nowhere
        _pattern.callback = edge(_pattern.callback)
        urlpatterns.append(_pattern)
