"""How things are shown: what others call themselves, made safe to look at (escaping stays Django's), and moments."""

import unicodedata
from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

register = template.Library()

# Bidi overrides and isolates, zero-width spaces, tags: all «format» characters, apart from the two joiners that
# emoji, Persian and Indic scripts cannot be written without.
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_BLANK = "\u00a0\u115f\u1160\u2800\u3164\uffa0" + _JOINERS
LONGEST = 120


@register.filter
def shown(text: object) -> str:
    """Return ``text`` with control and bidi characters as ``�``, cut to 120 characters, never blank (D-24)."""
    kept = "".join(
        "\ufffd" if unicodedata.category(character) in _HIDDEN and character not in _JOINERS else character
        for character in str(text)
    )
    if not kept.strip().strip(_BLANK):
        return "(no name)"
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"


@register.filter
def ago(moment: datetime) -> str:
    """Return how long ago ``moment`` was, in one unit: ``just now``, ``2 minutes ago``."""
    if (timezone.now() - moment).total_seconds() < 60:
        return "just now"
    return f"{timesince(moment, depth=1)} ago"
