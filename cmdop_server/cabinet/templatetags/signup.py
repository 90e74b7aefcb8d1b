"""Whether the sign-in page offers to make an account."""

from typing import Any

from allauth.account.adapter import get_adapter
from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def signup_is_open(context: dict[str, Any]) -> bool:
    """Tell whether this visitor may make an account (D-5a)."""
    request = context["request"]
    return bool(get_adapter(request).is_open_for_signup(request))
