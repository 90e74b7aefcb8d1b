"""What a far program has switched on in the person's terminal, so that it can be switched off if it is cut off.

Pure: fed with what is shown. Only what was really switched is undone: to leave a screen that nobody entered would put
the cursor where it never was.
"""

import re

# Private modes that are on in a fresh terminal: wrapping lines, showing the cursor.
_ON = frozenset({7, 25})
_MODE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,40})([hl])|([=>])|(c))")
_LONGEST = 48  # bytes of a sequence that may be cut in two between pieces


class Screen:
    """Follows the private modes (DECSET), the keypad, and whether colours were used."""

    def __init__(self) -> None:
        self._tail = b""
        self._switched: dict[int, bool] = {}  # modes that differ from a fresh terminal's, in the order of switching
        self._is_keypad = False
        self._has_style = False
        self.is_at_line_start = True

    def show(self, data: bytes | memoryview) -> None:
        """Take note of what is shown next."""
        text = self._tail + data
        self.is_at_line_start = text[-1:] == b"\n" if data else self.is_at_line_start
        for found in _MODE.finditer(text):
            modes, way, keypad, reset = found.groups()
            if reset:
                self._switched.clear()
                self._is_keypad = False
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
        return undone + keypad + (b"\x1b[0m" if self._has_style else b"")
