"""The server's settings as data: the manual lists them all, forwarded addresses resolve as they should."""

import ipaddress
from pathlib import Path

import pytest

from cmdop_server.address import resolve
from cmdop_server.config import VARIABLES, load, suspicious
from cmdop_server.logs import safe_text, safe_value
from tests.processes import REPOSITORY

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
# peer, X-Forwarded-For, who it is
WALKS = [
    ("203.0.113.9", "", "203.0.113.9"),
    ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
    ("10.0.0.1", "10.9.9.9, 10.0.0.2", "10.9.9.9"),
    ("10.0.0.1", "unknown", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.7, ", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.7:4711", "10.0.0.1"),
    ("::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
    ("fd00::1", "2001:db8::7", "2001:db8::7"),
    ("fd00::1", "2001:DB8:0::7", "2001:db8::7"),
    ("testclient", "198.51.100.7", "testclient"),
    ("", "198.51.100.7", ""),
]


@pytest.mark.parametrize(("peer", "forwarded", "expected"), WALKS)
def test_the_client_is_the_last_hop_that_no_trusted_proxy_wrote(peer: str, forwarded: str, expected: str) -> None:
    assert resolve(peer, forwarded, PROXIES) == expected


def test_without_trusted_proxies_nothing_forwarded_counts() -> None:
    assert resolve("127.0.0.1", "198.51.100.7", ()) == "127.0.0.1"
    assert load({}).proxies == ()
    assert [str(network) for network in load({"CMDOP_BEHIND_PROXY": "1"}).proxies] == ["127.0.0.0/8", "::1/128"]


def test_the_manual_lists_every_setting_with_its_meaning() -> None:
    manual = (REPOSITORY / "docs" / "operations.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in manual.splitlines() if line.startswith("| `CMDOP_")]
    listed = {cells[0].strip("` "): cells[-1].strip() for cells in rows}
    assert listed == {variable.name: variable.meaning for variable in VARIABLES}
    assert list(listed) == [variable.name for variable in VARIABLES]


def test_the_defaults_are_safe() -> None:
    config = load({"XDG_DATA_HOME": "/nowhere"})
    assert (config.host, config.port, str(config.signup), config.workers) == ("127.0.0.1", 8787, "closed", 1)
    assert config.data_dir.parts[-2:] == ("cmdop", "server")
    assert not config.behind_proxy


def test_no_secret_shows_in_a_printed_configuration() -> None:
    settings = {
        "CMDOP_DATABASE_URL": "postgresql://user:hunter2@db/cmdop",
        "CMDOP_SMTP_URL": "smtps://user:hunter2@mail.example.com",
        "CMDOP_PEPPER": "hunter2hunter2",
    }
    assert "hunter2" not in repr(load(settings))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("CMDOP_SINGUP", "CMDOP_SIGNUP"), ("CMDOP_PEPER", "CMDOP_PEPPER"), ("CMDOP_DATABASE_URI", "CMDOP_DATABASE_URL")],
)
def test_a_mistyped_name_is_recognised(name: str, meant: str) -> None:
    assert suspicious({name: "x"}) == [(name, meant)]


def test_the_command_lines_own_variables_are_not_suspicious() -> None:
    assert suspicious({"CMDOP_MODE": "dev", "CMDOP_SERVER_URL": "x", "CMDOP_TIMEOUT": "3", "HOME": "/"}) == []


def test_what_may_be_logged_of_a_value() -> None:
    config = load({"CMDOP_PEPPER": "hunter2hunter2"})
    assert safe_value({"body": b"hunter2", "pepper": config.pepper, "path": Path("a\nb")}) == {
        "body": "…",
        "pepper": "…",
        "path": "a\\x0ab",
    }
    assert safe_text("postgresql://user:hunter2@db/cmdop") == "postgresql://user:…@db/cmdop"
    assert safe_text("Authorization: Bearer abcdefghijkl") == "Authorization: Bearer …"
    assert safe_text("\u202egnp.exe\x1b[2J\x9b") == "\\u202egnp.exe\\x1b[2J\\x9b"
    assert len(safe_text("x" * 100_000)) < 5000
