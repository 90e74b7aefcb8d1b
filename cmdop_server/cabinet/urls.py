"""The cabinet's own addresses. ``/device`` is printed by terminals, so it has no trailing slash to forget."""

from django.urls import path

from cmdop_server.cabinet import views

urlpatterns = [
    path("", views.home, name="home"),
    path("device", views.device, name="device"),
    path("device/done", views.device_done, name="device_done"),
    path("sign-ins/<str:sign_in_id>/end", views.end_one_sign_in, name="end_sign_in"),
]
