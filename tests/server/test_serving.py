"""What a running server does with connections: TLS, proxies, logs, absurd requests, floods, an orderly end."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import sqlite3
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets.sync.client

from tests.browsing import Browser
from tests.operating import PASSWORD, Host, Place, host, modes, place, trusting, used_dir, used_host
from tests.processes import STOP_SECONDS, Postgres
from tests.server.cabinet import check_page

__all__ = ["host", "place", "used_dir", "used_host"]  # fixtures


def raw(url: str) -> socket.socket:
    """Connect to a server without speaking."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=STOP_SECONDS)


def is_listening(url: str) -> bool:
    """Tell whether a new connection is accepted."""
    try:
        raw(url).close()
    except OSError:
        return False
    return True


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_what_anybody_may_ask(place: Place) -> None:
    server = place.server
    with httpx.Client(base_url=server.url) as anybody:
        shown = {}
        for path in ("/health/live", "/health/ready", "/version", "/.well-known/cmdop"):
            answer = anybody.get(path)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
            assert answer.headers["X-Request-Id"]
            shown[path] = answer.json()
        assert shown["/health/ready"] == {"status": "ok", "database": "sqlite"}
        assert shown["/version"] == {"name": "cmdop", "version": server.ready["version"], "api": "v1"}
        known = shown["/.well-known/cmdop"]
        assert (known["issuer"], known["api"]) == (server.url, f"{server.url}/api/v1")
        assert (known["modes"], known["device_uri"]) == (["prod", "dev"], f"{server.url}/device")
        assert len(base64.b64decode(known["audit_public_key"])) == 32
        # A probe comes by any name; everything else must name a host of ours.
        strange = {"Host": "10.1.2.3:8787"}
        assert anybody.get("/health/ready", headers=strange).status_code == 200
        assert anybody.get("/version", headers=strange).status_code == 400


def test_sigterm_answers_what_it_has_accepted(used_host: Host) -> None:
    with used_host.serving() as server:
        body = json.dumps({"grant_type": "sign_in_token", "token": "nonsense"}).encode()
        head = f"POST /api/v1/auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        with raw(server.url) as slow:
            slow.sendall(head.encode() + body[:10])
            httpx.get(f"{server.url}/version").raise_for_status()  # by now the head has been read
            server.process.terminate()
            while is_listening(server.url):
                pass
            slow.sendall(body[10:])
            assert everything(slow).startswith(b"HTTP/1.1 400 ")
        assert server.process.wait(STOP_SECONDS) == 0


def test_absurd_requests_get_a_defined_end(place: Place) -> None:
    url = place.server.url
    large = httpx.post(f"{url}/api/v1/auth/token", content=b"x" * (2 << 20))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    assert large.headers["X-Request-Id"] == large.json()["error"]["request_id"]
    with raw(url) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        with contextlib.suppress(OSError):  # the server has closed
            while sent < 32 << 20:
                sent += endless.send(b"X-Long: " + b"x" * 8000 + b"\r\n")
        assert sent < 32 << 20
    with pytest.raises(websockets.exceptions.InvalidStatus, match=r"HTTP 4\d\d"):
        websockets.sync.client.connect(url.replace("http", "ws") + "/nowhere")
    lost = httpx.get(f"{url}/api/v1/nowhere")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_a_self_signed_certificate_is_kept_and_its_pin_is_the_certificate(used_host: Host) -> None:
    host = used_host
    with host.serving("--tls", "self-signed") as server:
        assert server.url.startswith("https://")
        pin = server.ready["ca_pin"]
        parts = urlsplit(server.url)
        trusted = trusting(host.data_dir / "tls" / "cert.pem")
        for name in ("127.0.0.1", "localhost"):
            with raw(server.url) as plain, trusted.wrap_socket(plain, server_hostname=name) as secure:
                shown = secure.getpeercert(binary_form=True)
                assert shown is not None
                assert pin == f"sha256:{hashlib.sha256(shown).hexdigest()}"
        with raw(server.url) as plain, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
        page = httpx.get(f"{server.url}/accounts/login/", verify=trusted)
        assert page.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert page.headers["Set-Cookie"].startswith("__Host-cmdop_csrf=")
        assert "; Secure" in page.headers["Set-Cookie"]
        told = host.json("bootstrap", "--email", "alice@example.com")
        assert told["next"] == f"cmdop login --server {server.url} --ca-pin {pin} --token -"
        assert modes(host.data_dir / "tls") == {".": "700", "cert.pem": "600", "key.pem": "600"}
    with host.serving("--tls", "self-signed") as server:
        assert server.ready["ca_pin"] == pin
    pair = ("--tls-cert", str(host.data_dir / "tls" / "cert.pem"), "--tls-key", str(host.data_dir / "tls" / "key.pem"))
    with host.serving("--host", "0.0.0.0", *pair, CMDOP_PUBLIC_URL="https://cmdop.example.com") as server:
        assert (server.ready["ca_pin"], server.ready["host"]) == (None, "0.0.0.0")
        known = httpx.get(f"{server.url}/.well-known/cmdop", verify=trusted).json()
        assert known["issuer"] == "https://cmdop.example.com"
    mixed = ("--tls-cert", pair[1], "--tls-key", str(host.data_dir / "secrets.json"))
    assert "CMDOP_TLS_CERT" in host.refusal("start", *mixed)


def test_logs_are_one_json_line_each_without_secrets_or_tricks(place: Place) -> None:
    server, pair = place.server, place.sign_in()
    access, refresh = pair["access_token"], pair["refresh_token"]
    with httpx.Client(base_url=server.url) as client:
        client.get("/api/v1/me", headers={"Authorization": f"Bearer {access}"}).raise_for_status()
        client.get(f"/api/v1/me?access_token={access}", headers={"X-Request-Id": "our-own-id-1"})
        client.get(f"/lost/{refresh}", headers={"X-Request-Id": "bad id"})
        client.get("/lost/%0a%7B%22event%22:%22forged%22%7D%1b%5B2J%e2%80%ae")
        client.get("/", headers={"Authorization": "Basic aHVudGVyMmh1bnRlcjI6eA==", "Host": "evil.example"})
        client.post("/accounts/login/", data={"login": "alice@example.com", "password": "hunter2hunter2"})
        client.post("/api/v1/auth/token", content=b'{"token": "hunter2hunter2"')
    text = server.log.read_text()
    for secret in (place.bootstrapped["token"], access, refresh, "hunter2hunter2", PASSWORD):
        for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()[:-4]):
            assert form not in text
    stored = json.loads((place.host.data_dir / "secrets.json").read_text())
    assert not [name for name, secret in stored.items() if secret in text]
    requests = [event for event in server.events() if event["event"] == "request"]
    assert {"our-own-id-1"} == {event["request_id"] for event in requests if not event["request_id"].startswith("req_")}
    assert [event["path"] for event in requests if refresh[:8] in event["path"]] == [f"/lost/{refresh[:10]}…"]
    # The forged line stayed inside its field, with nothing in it that a terminal obeys.
    (tricky,) = (event["path"] for event in requests if "forged" in event["path"])
    assert tricky == '/lost/\\x0a{"event":"forged"}\\x1b[2J\\u202e'
    assert not {char for char in text if char != "\n" and not char.isprintable()}


def test_forwarded_headers_count_only_from_a_trusted_proxy(place: Place, used_host: Host) -> None:
    forged = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = httpx.get(f"{place.server.url}/version", headers=forged | {"X-Request-Id": "not-from-a-proxy"})
    assert "Strict-Transport-Security" not in answer.headers
    (event,) = (event for event in place.server.events() if event.get("request_id") == "not-from-a-proxy")
    assert event["address"] == "127.0.0.1"
    settings = {"CMDOP_BEHIND_PROXY": "1", "CMDOP_PUBLIC_URL": "https://cmdop.example.com"}
    with used_host.serving(**settings) as server:
        answer = httpx.get(f"{server.url}/version", headers=forged | {"Host": "cmdop.example.com"})
        assert answer.headers["Strict-Transport-Security"]
        assert [event["address"] for event in server.events() if event["event"] == "request"] == ["203.0.113.9"]


def test_open_sign_up_wants_the_address_proved_by_a_mail_from_the_spool(place: Place, used_host: Host) -> None:
    host = used_host
    with Browser(place.server.url) as visitor:
        assert not [form for form in visitor.open("/accounts/signup/").forms if "signup" in form.action]
    with host.serving(CMDOP_SIGNUP="open") as server, Browser(server.url) as visitor:
        form = visitor.open("/accounts/signup/").form("/accounts/signup/")
        visitor.submit(form, email="Dora@Example.com", password1="a phrase to keep")
        (mail,) = (host.data_dir / "mail").iterdir()
        assert oct(mail.stat().st_mode & 0o777) == "0o600"
        (link,) = (
            word for word in mail.read_text().split() if word.startswith(f"{server.url}/accounts/confirm-email/")
        )
        (form,) = visitor.open(link.removeprefix(server.url)).forms  # signed anew: another second, another address
        visitor.submit(form)
        visitor.cookies.clear()
        visitor.sign_in("dora@example.com", "a phrase to keep")
        assert "dora-personal" in visitor.open("/").html
        for address in (urlsplit(link).path, form.action):
            assert address.split("/")[-2] not in server.log.read_text()


def test_sign_up_by_invitation_is_closed_to_whoever_has_none(used_host: Host) -> None:
    with used_host.serving(CMDOP_SIGNUP="invite") as server, Browser(server.url) as visitor:
        login = visitor.open("/accounts/login/")
        assert "/accounts/signup/" not in login.html
        page = visitor.open("/accounts/signup/")
        check_page(page)
        assert page.heading == "An invitation is needed"
        assert not [form for form in page.forms if "signup" in form.action]
        form = login.form("/accounts/login/")
        form.action = "/accounts/signup/"
        sent = visitor.submit(form, email="mallory@example.com", password1="a phrase to keep")
        assert sent.heading == "An invitation is needed"
        assert list((used_host.data_dir / "mail").iterdir()) == []
    with sqlite3.connect(used_host.data_dir / "cmdop.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM accounts_account").fetchone() == (0,)


@pytest.mark.slow
def test_workers_share_the_socket_and_end_with_their_supervisor(host: Host, postgres: Postgres) -> None:
    settings = {"CMDOP_DATABASE_URL": postgres.database(), "CMDOP_WORKERS": "2"}

    def workers(parent: int) -> set[int]:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return {int(child) for child in children.split()}

    with host.serving(**settings) as server:
        assert server.ready["database"] == "postgresql"
        before = workers(server.process.pid)
        assert len(before) == 3  # two workers and the relay
        lost = before.pop()
        os.kill(lost, signal.SIGKILL)
        while len(now := workers(server.process.pid) - {lost}) < 3:
            assert httpx.get(f"{server.url}/health/ready", timeout=STOP_SECONDS).status_code == 200
        assert before < now
        assert server.terminate() == 0
        assert not [each for each in now if Path(f"/proc/{each}").exists()]
    with host.serving(**settings) as server:
        orphans = workers(server.process.pid)
        server.process.kill()
        while any(Path(f"/proc/{each}").exists() for each in orphans):
            pass
        with host.serving(**settings):
            pass  # and nothing holds the data directory


@pytest.mark.slow
def test_a_flood_of_sign_ins_is_shed_in_bounded_memory(used_host: Host) -> None:
    def peak(pid: int) -> int:
        (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024

    with used_host.serving(CMDOP_HASHING_SLOTS="1", CMDOP_THREADS="32") as server:

        def attempt(number: int) -> int:
            with Browser(server.url) as browser:
                form = browser.open("/accounts/login/").form("/accounts/login/")
                return browser.submit(form, login=f"user{number}@example.com", password="wrong horse").status

        before = peak(server.process.pid)
        with ThreadPoolExecutor(40) as crowd:
            statuses = set(crowd.map(attempt, range(120)))
        assert statuses <= {200, 429, 503}
        assert peak(server.process.pid) - before < 64 + 96  # one hash, and the threads' own needs
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
