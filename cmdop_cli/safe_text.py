"""Text of somebody else's as a terminal may have it: nothing in it is obeyed, and nothing hides (D-24).

Pure. What Unicode will still think of is added here; ``output.py`` sees to it that everything shown has passed.
"""

# Printable by Unicode's book, but drawn as nothing: fillers, joiners and selectors that make names look alike.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)
_MARKS_IN_A_ROW = 3  # more combining marks than any living script stacks would paint over other lines


def safe(text: str) -> str:
    r"""Return ``text`` with everything a terminal could obey or hide replaced by a visible escape such as ``\x1b``.

    C0, C1, DEL, line feeds and tabs, bidi marks, zero-width and format characters, odd spaces, unassigned and
    private code points, lone surrogates, and stacks of combining marks. What is left is only text.
    """
    if text.isascii() and text.isprintable():
        return text
    import unicodedata

    shown, marks = [], _MARKS_IN_A_ROW  # a mark with nothing before it would sit on the neighbouring column
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if character.isprintable() and character not in _UNSEEN and marks <= _MARKS_IN_A_ROW:
            shown.append(character)
        else:
            shown.append(_escape(ord(character)))
    return "".join(shown)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Return how many terminal cells ``text`` (already safe) takes: two for wide characters, none for marks."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
