"""What text from people may hold before it is stored. Making it safe to show is the business of whoever shows it."""

import unicodedata

_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, surrogates, line and paragraph separators


def has_control_characters(text: str, allowed: str = "") -> bool:
    """Tell whether ``text`` holds a control character, line separator or surrogate other than those ``allowed``."""
    return any(unicodedata.category(letter) in _BREAKS and letter not in allowed for letter in text)
