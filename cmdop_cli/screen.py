"""What a far program has switched on in the person's terminal, so that it can be switched off if it is cut off.

Pure: fed with what is shown. Only what was really switched is undone: to leave a screen that nobody entered would put
the cursor where it never was.
"""

import re

# Private modes that are on in a fresh terminal: wrapping lines, showing the cursor.
_ON = frozenset({7, 25})
_MODE = re.compile(
    rb"\x1b(?:\[\?([0-9;]{1,40})([hl])|([=>])|(c)"
    rb"|\[>4(?P<keys>(?:;[0-9]{1,3})?)m|\[(?P<cursor>[0-9]{0,3}) q|\[(?P<region>[0-9;]{0,20})r"
    rb"|\((?P<letters>[0-9A-Z])|\[4(?P<insert>[hl]))"
)
# What else outlasts a program: how keys are reported (vim does that in xterm), the cursor's shape, the lines that
# scroll, letters for drawing lines, inserting. What each is in a fresh terminal, and what makes it so.
_FRESH = {"keys": (b"", b";0"), "cursor": (b"", b"0"), "region": (b"",), "letters": (b"B",), "insert": (b"l",)}
_FRESHEN = {
    "keys": b"\x1b[>4m",
    "cursor": b"\x1b[0 q",
    "region": b"\x1b7\x1b[r\x1b8",  # which alone would move the cursor
    "letters": b"\x1b(B",
    "insert": b"\x1b[4l",
}
_LONGEST = 48  # bytes of a sequence that may be cut in two between pieces


class Screen:
    """Follows the private modes (DECSET), the keypad, the like of them, and whether colours were used."""

    def __init__(self) -> None:
        self._tail = b""
        self._switched: dict[int, bool] = {}  # modes that differ from a fresh terminal's, in the order of switching
        self._is_keypad = False
        self._others: set[str] = set()  # of ``_FRESH``, what is not
        self._has_style = False
        self.is_at_line_start = True

    def show(self, data: bytes | memoryview) -> None:
        """Take note of what is shown next."""
        text = self._tail + data
        self.is_at_line_start = text[-1:] == b"\n" if data else self.is_at_line_start
        for found in _MODE.finditer(text):
            modes, way, keypad, reset = found.groups()[:4]
            if reset:
                self._switched.clear()
                self._others.clear()
                self._is_keypad = False
            elif found.lastgroup is not None:
                is_fresh = found[found.lastgroup] in _FRESH[found.lastgroup]
                (self._others.discard if is_fresh else self._others.add)(found.lastgroup)
            elif keypad:
                self._is_keypad = keypad == b"="
            else:
                for mode in filter(None, modes.split(b";")):
                    self._switch(int(mode), way == b"h")
        self._has_style = self._has_style or b"\x1b[" in text
        cut = text.rfind(b"\x1b", -_LONGEST)
        # Kept only if it has not been understood yet: a sequence is counted once.
        self._tail = b"" if cut < 0 or _MODE.match(text, cut) else text[cut:]

    def _switch(self, mode: int, is_on: bool) -> None:
        if is_on == (mode in _ON):
            self._switched.pop(mode, None)
        else:
            self._switched[mode] = is_on

    def undo(self) -> bytes:
        """Return what puts the terminal back, last switched first."""
        undone = b"".join(b"\x1b[?%d%c" % (mode, b"l" if is_on else b"h") for mode, is_on in
                          reversed(self._switched.items()))  # fmt: skip
        keypad = b"\x1b>" if self._is_keypad else b""
        others = b"".join(_FRESHEN[each] for each in _FRESHEN if each in self._others)
        return undone + keypad + others + (b"\x1b[0m" if self._has_style else b"")
