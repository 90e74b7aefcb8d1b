"""The cabinet in a real Chromium whose scripts are switched off: it works, it fits, it can be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Chromium
from tests.server.cabinet import ask, poll, polled
from tests.world import PASSWORD, World

pytestmark = pytest.mark.slow

# WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 for large text. Colours here are solid, so the nearest background counts.
CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!(own || element.matches("input, select")) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const [dim, bright] = [light(style.color), light(ground(element))].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dim + 0.05);
    const enough = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (ratio < enough) poor.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""
RING = "getComputedStyle(document.activeElement).outlineStyle + ' ' + document.activeElement.tagName"


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    """A browser in which nobody is signed in."""
    browser = Chromium(tmp_path / "profile")
    yield browser
    browser.close()


def sign_in(chromium: Chromium, email: str) -> None:
    """Fill in the sign-in page that is open."""
    chromium.type("#id_login", email)
    chromium.type("#id_password", PASSWORD)
    chromium.press("Enter", 13, leads_on=True)


def check_looks(chromium: Chromium) -> None:
    """Check the open page at three widths, in light and dark: nothing sticks out, everything can be read."""
    for width, height in ((1280, 900), (390, 844), (320, 568)):
        for dark in (False, True):
            chromium.look(width, height, dark=dark)
            assert chromium.measure("document.documentElement.scrollWidth") <= width, chromium.address
            assert chromium.measure(CONTRASTS) == [], chromium.address
            assert chromium.measure("getComputedStyle(document.body).backgroundColor") == (
                "rgb(15, 19, 18)" if dark else "rgb(245, 247, 246)"
            )
    chromium.look(1280, 900)


def test_a_person_approves_a_terminal_in_a_browser_without_scripts(town: World, chromium: Chromium) -> None:
    grant = ask(
        town,
        workspace=town.acme.slug,
        client="<b onclick=alert(1)>cmdop</b> on a laptop with a " + "very" * 15 + " long name",
    )
    chromium.open(grant["verification_uri_complete"])
    check_looks(chromium)
    chromium.type("#id_login", town["visitor"].email)
    chromium.type("#id_password", "not the password")
    chromium.press("Enter", 13, leads_on=True)
    check_looks(chromium)
    chromium.type("#id_password", PASSWORD)
    chromium.press("Enter", 13, leads_on=True)
    assert f'value="{grant["user_code"]}"' in chromium.html
    check_looks(chromium)
    chromium.click("main form button", leads_on=True)
    assert "Approve this sign-in?" in chromium.html
    assert "&lt;b onclick" in chromium.html
    check_looks(chromium)
    chromium.click("label[for=reach-all]")
    check_looks(chromium)
    chromium.click("label[for=reach-workspace]")
    chromium.click("button[value=approve]", leads_on=True)
    assert chromium.address.endswith("/device/done")
    assert "It may enter <bdi>Acme</bdi> and nothing else." in chromium.html
    check_looks(chromium)
    answer = poll(town, grant).raise_for_status().json()
    assert (answer["scope"], answer["workspace"]["slug"]) == ("workspace", town.acme.slug)
    assert not [address for address in chromium.requested() if not address.startswith(town.server.url)]
    assert chromium.complaints() == [], "nothing of ours offends our own content security policy"


def test_every_other_page_fits_and_can_be_read(town: World, chromium: Chromium) -> None:
    town.sign_in("visitor", "acme")
    town.sign_in("visitor", "acme", "all")
    chromium.open(f"{town.server.url}/accounts/password/reset/")
    check_looks(chromium)
    chromium.open(town.server.url)
    sign_in(chromium, town["visitor"].email)
    addresses = ("/", "/device", "/accounts/password/change/", "/accounts/logout/", "/no/such/page")
    for address in addresses:
        chromium.open(town.server.url + address)
        check_looks(chromium)


def test_the_keyboard_reaches_everything_and_shows_where_it_is(town: World, chromium: Chromium) -> None:
    chromium.open(f"{town.server.url}/accounts/login/?next=/device")
    sign_in(chromium, town["visitor"].email)
    chromium.type("#id_user_code", ask(town)["user_code"].lower())
    chromium.press("Enter", 13, leads_on=True)
    visited = []
    for _ in range(7):
        chromium.press("Tab", 9)
        ring, _, tag = chromium.measure(RING).partition(" ")
        assert ring != "none", f"no focus ring on {tag}"
        visited.append(tag)
    assert visited == ["A", "A", "INPUT", "SELECT", "BUTTON", "BUTTON", "BUTTON"]


def test_the_deny_button_denies(town: World, chromium: Chromium) -> None:
    grant = ask(town)
    chromium.open(grant["verification_uri_complete"])
    sign_in(chromium, town["visitor"].email)
    chromium.click("main form button", leads_on=True)
    chromium.click("button[value=deny]", leads_on=True)
    assert "Sign-in denied" in chromium.html
    check_looks(chromium)
    assert polled(town, grant) == "access_denied"
