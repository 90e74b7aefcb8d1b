"""The server does not start on an unsafe or meaningless setting: it names the setting, how to mend it, and exits 78."""

import gc
import json
import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmdop_cli.failures import Failure, document
from cmdop_server.__main__ import main
from tests.operating import Host, foreign_dir, fresh_secret, host, used_dir, used_host

__all__ = ["host", "used_dir", "used_host"]  # fixtures


@pytest.fixture
def same_process() -> Iterator[None]:
    """Let a test call ``main`` here, and undo what it does to its process."""
    umask, logger = os.umask(0o022), logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    os.umask(umask)
    logger.handlers[:] = handlers
    logger.setLevel(level)
    gc.enable()


SETTINGS = {
    "empty database address": {"CMDOP_DATABASE_URL": ""},
    "unknown database": {"CMDOP_DATABASE_URL": "mysql://root:hunter2hunter2@db/cmdop"},
    "database without name": {"CMDOP_DATABASE_URL": "postgresql://u:hunter2hunter2@db/"},
    "database on no port": {"CMDOP_DATABASE_URL": "postgresql://u:hunter2hunter2@db:port/cmdop"},
    "port in words": {"CMDOP_PORT": "eighty"},
    "port too large": {"CMDOP_PORT": "65536"},
    "negative port": {"CMDOP_PORT": "-1"},
    "port in other digits": {"CMDOP_PORT": "٨٧٨٧"},
    "no workers": {"CMDOP_WORKERS": "0"},
    "workers on SQLite": {"CMDOP_WORKERS": "2"},
    "no threads": {"CMDOP_THREADS": "none"},
    "unknown sign-up": {"CMDOP_SIGNUP": "opne"},
    "sign-up in capitals": {"CMDOP_SIGNUP": "OPEN"},
    "half a flag": {"CMDOP_BEHIND_PROXY": "maybe"},
    "proxies that are no networks": {"CMDOP_TRUSTED_PROXIES": "10.0.0.0/8,proxy.example.com"},
    "public address with a path": {"CMDOP_PUBLIC_URL": "https://example.com/cmdop"},
    "public address of another scheme": {"CMDOP_PUBLIC_URL": "javascript:alert(1)"},
    "mail by pigeon": {"CMDOP_SMTP_URL": "pigeon://roof"},
    "log level": {"CMDOP_LOG_LEVEL": "loud"},
    "unknown kind of TLS": {"CMDOP_TLS": "yes"},
    "certificate without key": {"CMDOP_TLS_CERT": "/nowhere/cert.pem"},
    "certificate that is not there": {"CMDOP_TLS_CERT": "/nowhere/cert.pem", "CMDOP_TLS_KEY": "/nowhere/key.pem"},
    "all addresses in clear": {"CMDOP_HOST": "0.0.0.0"},
    "all IPv6 addresses in clear": {"CMDOP_HOST": "::"},
    "a network address in clear": {"CMDOP_HOST": "192.0.2.1"},
    "a host that is none": {"CMDOP_HOST": "no.such.host.invalid"},
    "empty secret": {"CMDOP_SECRET_KEY": ""},
    "blank pepper": {"CMDOP_PEPPER": "   "},
    "short secret": {"CMDOP_SECRET_KEY": "Zx9-Qw3_short"},
    "example secret": {"CMDOP_SECRET_KEY": "django-insecure-Qn3xY7pLw2Rk8Vd5Tz1Mb6Hs4Jf9Gc0"},
    "placeholder": {"CMDOP_PEPPER": "please-changeme-Qn3xY7pLw2Rk8Vd5Tz1Mb6Hs"},
    "one letter": {"CMDOP_PEPPER": "a" * 64},
    "audit key that is no seed": {"CMDOP_AUDIT_KEY": "Qn3xY7pLw2Rk8Vd5Tz1Mb6Hs4Jf9Gc0Q"},
    "audit key of zeros": {"CMDOP_AUDIT_KEY": "A" * 43 + "="},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.usefixtures("same_process")
def test_a_bad_setting_is_named_and_nothing_is_made(
    host: Host, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**host.environ, **settings}.items():
        monkeypatch.setenv(name, value)
    assert main(["start"]) == 78
    out, said = capsys.readouterr()
    assert out == ""
    assert "\nfix: " in said
    first = next(iter(settings))
    assert said.startswith(f"refused: {first}: ") or (first, said.split(":")[1]) == ("CMDOP_TLS_CERT", " CMDOP_TLS_KEY")
    for value in settings.values():
        # No value that may be a secret is repeated.
        assert len(value) < 12 or value.startswith("/") or value not in said
    assert "hunter2" not in said
    assert not host.data_dir.exists()


def test_a_refusal_ends_a_real_process_too(host: Host) -> None:
    assert host.refusal("start", CMDOP_SIGNUP="opne").splitlines() == [
        "refused: CMDOP_SIGNUP: is none of closed, invite, open",
        "fix: export CMDOP_SIGNUP=open",
    ]


def test_two_equal_secrets_are_one_secret_too_few(host: Host) -> None:
    same = fresh_secret()
    said = host.refusal("start", CMDOP_SECRET_KEY=same, CMDOP_PEPPER=same, CMDOP_AUDIT_KEY=fresh_secret())
    assert "CMDOP_PEPPER" in said
    assert same not in said


@pytest.mark.parametrize("mode", [0o755, 0o701])
def test_a_data_directory_that_others_may_enter(host: Host, mode: int) -> None:
    host.data_dir.mkdir()
    host.data_dir.chmod(mode)
    assert f"chmod 700 {host.data_dir}" in host.refusal("start")


def test_a_data_directory_of_another_owner(host: Host) -> None:
    foreign = foreign_dir(host.folder)
    assert "belongs to another user" in host.refusal("start", CMDOP_DATA_DIR=str(foreign))


def test_a_data_directory_that_is_a_file(host: Host) -> None:
    host.data_dir.touch(mode=0o600)
    assert "is not a directory" in host.refusal("start")


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_secrets_that_others_may_read(used_host: Host, mode: int) -> None:
    (used_host.data_dir / "secrets.json").chmod(mode)
    assert "chmod 600" in used_host.refusal("start")


def test_secrets_behind_a_link(used_host: Host) -> None:
    kept = used_host.data_dir / "secrets.json"
    elsewhere = kept.rename(used_host.folder / "elsewhere.json")
    kept.symlink_to(elsewhere)
    assert "secrets.json" in used_host.refusal("start")


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000])
def test_damaged_secrets_are_kept_as_they_are(used_host: Host, content: str) -> None:
    kept = used_host.data_dir / "secrets.json"
    kept.write_text(content)
    assert "is damaged" in used_host.refusal("start")
    assert kept.read_text() == content


def test_a_secret_missing_from_the_file(used_host: Host) -> None:
    kept = used_host.data_dir / "secrets.json"
    stored = json.loads(kept.read_text())
    del stored["pepper"]
    kept.write_text(json.dumps(stored))
    assert "CMDOP_PEPPER" in used_host.refusal("start")


def test_vanished_secrets_are_not_made_anew_beside_a_database(used_host: Host) -> None:
    (used_host.data_dir / "secrets.json").unlink()
    assert "secrets.json is gone" in used_host.refusal("start")
    assert not (used_host.data_dir / "secrets.json").exists()
    assert "secrets.json" in used_host.run("check").stdout


def test_another_pepper_than_the_database_was_made_with(used_host: Host) -> None:
    said = used_host.refusal("start", CMDOP_PEPPER=fresh_secret())
    assert "CMDOP_PEPPER: is not the one this database was made with" in said


def test_a_database_that_a_newer_server_changed(used_host: Host) -> None:
    with sqlite3.connect(used_host.data_dir / "cmdop.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('workspaces', '0999_later', '2030-01-01')"
        )
    for command in ("start", "migrate", "bootstrap --email a@example.com"):
        assert "newer server (workspaces 0999_later" in used_host.refusal(*command.split())
    assert "newer server" in used_host.run("check").stdout


def test_a_database_that_does_not_answer_is_named_without_its_password(host: Host) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"postgresql://u:hunter2hunter2@127.0.0.1:{nobody.getsockname()[1]}/cmdop"
        for command in ("start", "migrate", "bootstrap --email a@example.com"):
            said = host.refusal(*command.split(), CMDOP_DATABASE_URL=url)
            assert said.startswith("refused: CMDOP_DATABASE_URL: the database does not answer: "), said
            assert "hunter2" not in said


def test_a_second_server_on_the_same_directory(host: Host) -> None:
    with host.serving() as first:
        said = host.refusal("start", "--port", "0")
        assert f"process {first.ready['pid']}" in said
        assert first.process.poll() is None
    with host.serving():
        pass  # the lock ends with its holder


def test_a_port_that_is_taken_is_refused_with_another(host: Host, tmp_path: Path) -> None:
    with host.serving() as first:
        other = Host(tmp_path / "other")
        other.folder.mkdir()
        assert "--port 0" in other.refusal("start", "--port", str(first.ready["port"]))


def test_check_says_what_start_would(used_host: Host) -> None:
    fine = used_host.run("check")
    assert fine.returncode == 0
    assert all(line.startswith("ok ") for line in fine.stdout.splitlines())
    bad = used_host.run("check", CMDOP_SIGNUP="opne", CMDOP_PORT="x")
    assert bad.returncode == 78
    assert [line.split()[1] for line in bad.stdout.splitlines() if line.startswith("refused")] == [
        "CMDOP_PORT:",
        "CMDOP_SIGNUP:",
    ]
    loose = used_host.data_dir
    loose.chmod(0o755)
    answer = used_host.run("check", "--json")
    assert answer.returncode == 78
    items = {item["check"]: item for item in json.loads(answer.stdout)["items"]}
    assert items["listen"]["ok"] is True
    assert items["data-dir"] == {
        "check": "data-dir",
        "ok": False,
        "setting": "CMDOP_DATA_DIR",
        "message": f"CMDOP_DATA_DIR other users may enter {loose}",
        "hint": f"chmod 700 {loose}",
    }


def test_check_changes_nothing(host: Host) -> None:
    assert host.run("check").returncode == 0
    assert not host.data_dir.exists()


def test_a_variable_that_looks_mistyped_is_mentioned(host: Host) -> None:
    said = host.run("check", CMDOP_TRUSTED_PROXY="10.0.0.0/8", CMDOP_API_KEY="not ours", CMDOP_WORKSPACE="acme")
    assert "CMDOP_TRUSTED_PROXY is no setting of the server; CMDOP_TRUSTED_PROXIES was meant?" in said.stdout
    assert "CMDOP_API_KEY" not in said.stdout
    assert "CMDOP_WORKSPACE" not in said.stdout


def test_under_json_a_refusal_is_one_object(host: Host) -> None:
    done = host.run("bootstrap", "--email", "a@example.com", "--json", CMDOP_SIGNUP="opne")
    assert (done.returncode, done.stdout) == (78, "")
    said = json.loads(done.stderr)
    assert said.pop("setting") == "CMDOP_SIGNUP"
    assert list(said) == list(document(Failure("refused", "")))  # as of every other command
    assert (said["schema"], said["code"], said["exit_code"]) == ("cmdop.error.v1", "refused", 78)
