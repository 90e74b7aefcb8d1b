"""Where each address leads: the API, the sign-in pages, the cabinet, and the public answers about the server."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/", include("allauth.urls")),
]
if find_spec("cmdop_server.api.routes") is not None:
    urlpatterns.append(path("api/v1/", include("cmdop_server.api.routes")))
if find_spec("cmdop_server.cabinet.urls") is not None:
    urlpatterns.append(path("", include("cmdop_server.cabinet.urls")))
