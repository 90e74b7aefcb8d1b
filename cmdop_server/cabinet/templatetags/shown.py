"""What machines, members and clients call themselves, made safe to look at. Escaping stays Django's."""

import unicodedata

from django import template

register = template.Library()

# Bidi overrides and isolates, zero-width spaces, tags: all «format» characters, apart from the two joiners that
# emoji, Persian and Indic scripts cannot be written without.
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_BLANK = "\u00a0\u115f\u1160\u2800\u3164\uffa0" + _JOINERS
LONGEST = 120


@register.filter
def shown(text: object) -> str:
    """Return ``text`` with control and bidi characters as ``�``, cut to 120 characters, never blank."""
    kept = "".join(
        "\ufffd" if unicodedata.category(character) in _HIDDEN and character not in _JOINERS else character
        for character in str(text)
    )
    if not kept.strip().strip(_BLANK):
        return "(no name)"
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"
