"""Where each address leads: the API, the sign-in pages, the cabinet, and the public answers about the server.

``/health/*`` is answered earlier, in ``health.HealthMiddleware``.
"""

from django.urls import URLPattern, URLResolver, include, path

from cmdop_server import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("version", health.version),
    path(".well-known/cmdop", health.well_known),
    path("api/v1/", include("cmdop_server.api.urls")),
    path("accounts/", include("cmdop_server.cabinet.account_urls")),
    path("", include("cmdop_server.cabinet.urls")),
]

handler400 = "cmdop_server.answers.bad_request"
handler403 = "cmdop_server.answers.permission_denied"
handler404 = "cmdop_server.answers.not_found"
handler500 = "cmdop_server.answers.server_error"
