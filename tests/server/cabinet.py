"""What the tests of the cabinet's pages do again and again: ask, look up, decide, check a page."""

import time
from pathlib import Path
from typing import Any

import httpx

from cmdop_wire.vocab import GRANT_DEVICE_CODE
from tests.browsing import Browser, Page
from tests.processes import STOP_SECONDS
from tests.world import World

LOGIN, DEVICE = "/accounts/login/", "/device"


def ask(town: World, client: str = "cmdop on a laptop", **asked: str) -> dict[str, Any]:
    """Start a device grant as a terminal does."""
    return dict(town.api().post("/auth/device", json={"client": client, **asked}).raise_for_status().json())


def poll(town: World, grant: dict[str, Any]) -> httpx.Response:
    """Ask once for the tokens."""
    return town.api().post("/auth/token", json={"grant_type": GRANT_DEVICE_CODE, "device_code": grant["device_code"]})


def polled(town: World, grant: dict[str, Any]) -> str:
    """Ask once for the tokens, and return the code of the refusal."""
    return str(poll(town, grant).json()["error"]["code"])


def look_up(browser: Browser, code: str) -> Page:
    """Enter a code on the page."""
    return browser.submit(browser.open(DEVICE).form(DEVICE), user_code=code)


def decide(browser: Browser, page: Page, decision: str = "approve", **answers: str) -> Page:
    """Press a button of the approval page."""
    assert ("decision", decision) in page.form(DEVICE).buttons
    return browser.submit(page.form(DEVICE), decision=decision, **answers)


def workspaces_of(town: World, tokens: dict[str, Any]) -> set[str]:
    """Return the slugs that these tokens may list."""
    listed = town.api(tokens["access_token"]).get("/me/workspaces").raise_for_status().json()
    return {item["slug"] for item in listed["items"]}


def mail_to(town: World, email: str, holding: str) -> str:
    """Return the mail to ``email`` with this text as soon as it is spooled, which may be after the answer."""
    spool, until = Path(town.server.environ["CMDOP_DATA_DIR"]) / "mail", time.monotonic() + STOP_SECONDS
    while time.monotonic() < until:
        for mail in (path.read_text() for path in spool.iterdir()):
            if email in mail and holding in mail and mail.endswith(79 * "-" + "\n"):  # all of it
                return mail
        time.sleep(0.02)
    raise AssertionError(f"no such mail to {email}")


def check_page(page: Page) -> None:
    """Check what holds for every page: headers, structure, nothing inline, nothing from elsewhere."""
    headers = page.response.headers
    assert "no-store" in headers["cache-control"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.html.startswith("<!doctype html>")
    assert page.elements[0].attributes["lang"] == "en"
    (title,) = page.all("title")
    assert title.text.endswith(" · cmdop")
    assert page.heading
    labels = {each.attributes["for"] for each in page.all("label")}
    for field in (*page.all("input"), *page.all("select")):
        if field.attributes.get("type") != "hidden" and "aria-hidden" not in field.attributes:
            assert field.attributes["id"] in labels
            assert field.attributes.get("type") in (None, "radio", "checkbox") or "autocomplete" in field.attributes
    for element in page.elements:
        assert element.tag not in ("script", "style", "iframe", "base", "object")
        for name, value in element.attributes.items():
            assert name != "style"
            assert not name.startswith("on")
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#")), value
                assert not value.startswith("//")
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
