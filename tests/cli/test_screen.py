"""What a far program has switched on is switched off again, and nothing else (pure)."""

import pytest

from cmdop_cli.screen import Screen

STYLE = b"\x1b[0m"


@pytest.mark.parametrize(
    ("shown", "undone"),
    [
        (b"plain\r\n", b""),
        (b"\x1b[1;38;5;208mcolour", STYLE),
        (b"\x1b[?1049h\x1b[?1002;1006hx", b"\x1b[?1006l\x1b[?1002l\x1b[?1049l" + STYLE),
        (b"\x1b[?25l\x1b[?7l", b"\x1b[?7h\x1b[?25h" + STYLE),
        (b"\x1b[?1000h\x1b[?25l\x1b[?1000l\x1b[?25h", STYLE),
        (b"\x1b=", b"\x1b>"),
        (b"\x1b=\x1b>", b""),
        (b"\x1b[?1000h\x1b[>4;2m\x1b(0\x1bc", STYLE),
        (b"\x1b[>4;2m", b"\x1b[>4m" + STYLE),
        (b"\x1b[>4;2m\x1b[>4;m\x1b[>4m", STYLE),
        (b"\x1b[5 q\x1b[2;20r\x1b(0\x1b[4h", b"\x1b[0 q\x1b7\x1b[r\x1b8\x1b(B\x1b[4l" + STYLE),
        (b"\x1b[5 q\x1b[2;20r\x1b(0\x1b[4h\x1b[ q\x1b[r\x1b(B\x1b[4l", STYLE),
    ],
)
def test_it_undoes_what_was_switched_however_it_arrives(shown: bytes, undone: bytes) -> None:
    whole, bytewise = Screen(), Screen()
    whole.show(shown)
    for place in range(len(shown)):
        bytewise.show(memoryview(shown)[place : place + 1])
    assert whole.undo() == bytewise.undo() == undone
