"""Whether a visitor may make an account, and what it would take."""

from typing import Any

from allauth.account.adapter import get_adapter
from django import template
from django.conf import settings

from cmdop_server.values import Signup

register = template.Library()


@register.simple_tag(takes_context=True)
def signup_is_open(context: dict[str, Any]) -> bool:
    """Tell whether this visitor may make an account (D-5a)."""
    request = context["request"]
    return bool(get_adapter(request).is_open_for_signup(request))


@register.simple_tag
def signup_needs_invitation() -> bool:
    """Tell whether somebody who was invited may make one."""
    return bool(settings.CMDOP_SIGNUP == Signup.INVITE)
