"""A server is a scheme, a host and a port; plain http only to this machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_sdk.errors import CMDOPError, InvalidRequest, WrongOrigin
from cmdop_sdk.origin import DEFAULT_SERVER, origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://CMDOP.example", "https://cmdop.example"),
        ("https://cmdop.example/", "https://cmdop.example"),
        ("https://cmdop.example.:443", "https://cmdop.example"),
        ("https://cmdop.example:8443/", "https://cmdop.example:8443"),
        ("HTTP://LocalHost:80", "http://localhost"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:8787", "http://[::1]:8787"),
        ("  https://cmdop.example\n", "https://cmdop.example"),
        (DEFAULT_SERVER, DEFAULT_SERVER),
    ],
)
def test_spellings_of_one_server_are_one_origin(url: str, origin: str) -> None:
    assert origin_of(url) == origin
    assert origin_of(origin) == origin


@pytest.mark.parametrize(
    "host",
    [
        "cmdop.example",
        "10.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "[::]",
        "[::ffff:10.0.0.1]",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "017700000001",
    ],
)
def test_plain_http_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(WrongOrigin, match="in clear") as caught:
        origin_of(f"http://{host}:8787")
    assert caught.value.code == "insecure_server"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cmdop.example",
        "ftp://cmdop.example",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://ana:hunter2@a",
        "https://a:b",
        "https://a:99999",
        "https://a\\@b",
        "https://a b",
        "https://a\nb",
        "https://ünï.example",
        "https://a%2eb",
        "http://localhost@evil.example",
        "https://[::1",
        "https://.",
        "https://a..b",
        "https://.a",
        "https://[fe80::1%25eth0]",
        "https://[v1.x]",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_no_server(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        origin_of(url)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


@given(st.text() | st.from_regex(r"https?://[a-z0-9.:\[\]@/?#%\\-]{0,30}", fullmatch=True))
def test_no_text_is_more_than_refused(url: str) -> None:
    try:
        origin = origin_of(url)
    except CMDOPError:
        return
    assert origin_of(origin) == origin
