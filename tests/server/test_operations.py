"""What an operator does with a server: start it, make people, back it up. Real processes throughout."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.browsing import Browser
from tests.operating import PASSWORD, Host, Place, api, host, modes, place, redeem, used_dir, used_host
from tests.processes import STOP_SECONDS, read_line

__all__ = ["host", "place", "used_dir", "used_host"]  # fixtures

READY_FIELDS = ["url", "host", "port", "pid", "data_dir", "database", "version", "ca_pin"]


def test_the_first_start_makes_everything_private_and_says_where_it_serves(host: Host) -> None:
    with host.serving(umask=0) as server:
        assert list(server.ready) == READY_FIELDS
        port = server.ready["port"]
        assert server.ready | {"version": ""} == {
            "url": f"http://127.0.0.1:{port}",
            "host": "127.0.0.1",
            "port": port,
            "pid": server.process.pid,
            "data_dir": str(host.data_dir),
            "database": "sqlite",
            "version": "",
            "ca_pin": None,
        }
        found = modes(host.data_dir)
        assert {"secrets.json", "cmdop.sqlite3", "mail", "running.json"} <= found.keys()
        assert {mode for name, mode in found.items() if (host.data_dir / name).is_dir()} == {"700"}
        assert {mode for name, mode in found.items() if (host.data_dir / name).is_file()} == {"600"}
        assert server.terminate() == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""  # the one line was all
    secrets = (host.data_dir / "secrets.json").read_bytes()
    with host.serving():
        assert (host.data_dir / "secrets.json").read_bytes() == secrets
    assert not (host.data_dir / "running.json").exists()


def test_the_embedded_database_survives_a_power_cut_and_waits_for_its_one_writer(used_host: Host) -> None:
    asked = "import django; django.setup(); from django.db import connection as c; k = c.cursor();"
    asked += "print([k.execute(f'PRAGMA {p}').fetchone()[0] for p in"
    asked += " ('journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout')], c.transaction_mode)"
    environ = used_host.environ | {"DJANGO_SETTINGS_MODULE": "cmdop_server.settings"}
    shown = subprocess.run([sys.executable, "-c", asked], env=environ, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['wal', 2, 1, 20000] IMMEDIATE"


def test_without_json_it_says_what_to_type_next(used_host: Host) -> None:
    def greeting() -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "cmdop_server", "start", "--port", "0"],
            env=used_host.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        lines = [read_line(process.stdout, process)]
        while not lines[-1].startswith("Ctrl-C"):
            lines.append(read_line(process.stdout, process))
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0
        process.stdout.close()
        return "".join(lines)

    first = greeting()
    assert "serves at http://127.0.0.1:" in first
    assert "cmdop server bootstrap --email you@example.com" in first
    used_host.json("bootstrap", "--email", "alice@example.com")
    second = greeting()
    assert "bootstrap" not in second
    assert "cmdop login --server http://127.0.0.1:" in second


def test_bootstrap_makes_the_first_account_and_again_only_a_fresh_token(place: Place) -> None:
    url, first = place.server.url, place.bootstrapped
    assert (first["created"], first["account"]["email"]) == (True, "alice@example.com")
    assert (first["server"], first["expires_in"]) == (url, 600)
    assert first["next"] == f"cmdop login --server {url} --token -"
    assert redeem(url, first["token"])["account"]["id"] == first["account"]["id"]
    again = place.host.json("bootstrap", "--email", "alice@example.com", "--token-only")
    assert (again["created"], again["account"]) == (False, first["account"])
    assert again["token"] != first["token"]
    # The file's last line feed is not part of the password.
    with Browser(url) as browser:
        browser.sign_in("alice@example.com", PASSWORD)
    other = place.host.run("bootstrap", "--email", "mallory@example.com")
    assert (other.returncode, other.stdout) == (6, "")
    assert "cmdop server user create mallory@example.com" in other.stderr


def test_bootstrap_before_the_first_start_and_its_token_alone_on_stdout(host: Host) -> None:
    done = host.run("bootstrap", "--email", "alice@example.com", "--password-file", "-", stdin="a phrase to keep")
    assert done.returncode == 0
    assert done.stdout.startswith("cmdst_")
    assert done.stdout.count("\n") == 1
    assert done.stdout.strip() not in done.stderr
    assert "next: " not in done.stderr  # a pipe into `cmdop login --token -` is what comes next
    with host.serving() as server:
        assert redeem(server.url, done.stdout.strip())["account"]["email"] == "alice@example.com"


@pytest.mark.parametrize("content", ["\n", "password123\n", "x" * 5000])
def test_a_password_that_is_none_makes_no_account(used_host: Host, content: str) -> None:
    done = used_host.run("bootstrap", "--email", "alice@example.com", "--password-file", "-", stdin=content)
    assert done.returncode in (2, 78)
    assert done.stdout == ""
    with sqlite3.connect(used_host.data_dir / "cmdop.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM accounts_account").fetchone() == (0,)


def test_a_token_that_goes_to_a_file_says_what_comes_next(used_host: Host) -> None:
    with (used_host.folder / "token").open("w") as file:
        line = [sys.executable, "-m", "cmdop_server", "bootstrap", "--email", "alice@example.com", "--token-only"]
        done = subprocess.run(line, env=used_host.environ, stdout=file, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0
    assert "\nnext: cmdop login --server " in done.stderr
    again = used_host.run("user", "create", "alice@example.com")
    assert again.stderr.endswith("\nfix: cmdop server user create alice@example.com --token\n")


def test_user_create_makes_people_and_members_in_the_open(place: Place) -> None:
    host, url = place.host, place.server.url
    with api(url, place.sign_in()) as alice:
        made = alice.post("/workspaces", json={"name": "Acme", "slug": "acme"}).raise_for_status().json()
    words = ("user", "create", "bob@example.com", "--workspace", "acme", "--role", "viewer", "--token")
    bob = host.json(*words, "--name", "Bob")
    assert (bob["created"], bob["workspace"]) == (True, {"id": made["id"], "slug": "acme", "role": "guest"})
    assert redeem(url, bob["token"])["account"]["name"] == "Bob"
    again = host.json(*words)
    assert (again["created"], again["workspace"]) == (False, bob["workspace"])
    assert redeem(url, again["token"])["account"]["name"] == "Bob"
    unsaid = host.run(*words[:5])  # without a role it is whatever it is
    assert (unsaid.returncode, "guest of acme already" in unsaid.stderr) == (0, True)
    another = host.run(*words[:5], "--role", "admin")
    assert (another.returncode, another.stderr) == (
        6,
        "error: bob@example.com is guest of acme already\n"
        "fix: cmdop workspace set-role bob@example.com admin --workspace acme\n",
    )
    nowhere = host.run("user", "create", "carl@example.com", "--workspace", "nope")
    assert (nowhere.returncode, nowhere.stderr) == (
        3,
        "error: there is no workspace nope\nfix: cmdop workspace list\n",
    )
    unheard = host.run("user", "create", "carl@example.com", "--workspace", "acme", "--role", "god")
    assert unheard.returncode == 2
    assert unheard.stderr.endswith("\nfix: cmdop server user create --help\n")
    # Neither attempt left an account behind.
    made = host.json("user", "create", "carl@example.com")
    assert (made["created"], made["next"]) == (True, "cmdop server user create carl@example.com --token")
    assert host.run("user", "create", "carl@example.com", "--token").stdout.startswith("cmdst_")
    with api(url, place.sign_in(workspace="acme")) as alice:
        events = alice.get("/workspaces/acme/events").json()["items"]
    added = [event for event in events if event["action"] == "member.added"]
    assert [(event["actor"]["kind"], event["target"]["id"]) for event in added] == [("operator", bob["account"]["id"])]


def test_a_backup_of_a_running_server_opens_elsewhere(place: Place, tmp_path: Path) -> None:
    host, copy = place.host, tmp_path / "monday.sqlite3"
    pair = place.sign_in()
    made = host.json("backup", str(copy))
    assert (made["path"], made["bytes"], made["secrets_included"]) == (str(copy), copy.stat().st_size, False)
    assert oct(copy.stat().st_mode & 0o777) == "0o600"
    before = copy.read_bytes()
    assert "exists already" in host.refusal("backup", str(copy))
    assert copy.read_bytes() == before
    assert "secrets.json" in host.run("backup", str(tmp_path / "second.sqlite3")).stderr
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    stored = json.loads((host.data_dir / "secrets.json").read_text())
    for secret in [*stored.values(), pair["access_token"], pair["refresh_token"]]:
        assert secret.encode() not in before
    elsewhere = Host(tmp_path / "elsewhere")
    elsewhere.data_dir.mkdir(mode=0o700, parents=True)
    copy.rename(elsewhere.data_dir / "cmdop.sqlite3")
    shutil.copy(host.data_dir / "secrets.json", elsewhere.data_dir)
    with elsewhere.serving() as server:
        with api(server.url, pair) as alice:
            assert alice.get("/me").status_code == 401, "see test_restoring"
        anew = redeem(server.url, elsewhere.json("bootstrap", "--email", "alice@example.com")["token"])
        assert anew["account"]["id"] == pair["account"]["id"]


def test_backup_of_postgresql_is_left_to_postgresql(host: Host) -> None:
    done = host.run("backup", "there.dump", CMDOP_DATABASE_URL="postgresql://user:hunter2hunter2@nowhere/cmdop")
    assert done.returncode == 2
    assert 'pg_dump --format=custom --file=there.dump "$CMDOP_DATABASE_URL"' in done.stderr
    assert "hunter2" not in done.stderr


def test_whoever_comes_first_makes_the_secrets_for_all(host: Host) -> None:
    for number in range(3):
        host.data_dir = host.folder / f"server-{number}"
        host.environ["CMDOP_DATA_DIR"] = str(host.data_dir)
        with ThreadPoolExecutor(4) as pool:
            ran = list(pool.map(lambda _: host.run("bootstrap", "--email", "a@example.com", "--token-only"), range(4)))
        assert [each.returncode for each in ran] == [0] * 4, [each.stderr for each in ran]
        assert host.run("check").returncode == 0
