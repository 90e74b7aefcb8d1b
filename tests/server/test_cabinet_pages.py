"""The cabinet: forged forms, hostile names, and what holds for every page, over HTTP."""

import re
from collections.abc import Callable

import pytest

from cmdop_server.cabinet.templatetags.shown import shown
from tests.browsing import Browser, Page
from tests.server.cabinet import DEVICE, LOGIN, ask, check_page, decide, look_up, poll, polled
from tests.world import PASSWORD, World

HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ user.password }}{% debug %}",
    "javascript:alert(1)",
    "&lt;b&gt; already escaped",
    "W" * 120,
    "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
)


@pytest.mark.parametrize(
    "address",
    [DEVICE, "/sign-ins/sig_00000000000000000000/end", LOGIN, "/accounts/logout/", "/accounts/password/change/"],
)
def test_a_form_that_is_not_ours_does_nothing(town: World, browser: Browser, address: str) -> None:
    if address != LOGIN:
        browser.sign_in(town["owner"].email, PASSWORD)
    grant = ask(town)
    token = next(iter(browser.open(LOGIN if address == LOGIN else "/").forms)).fields["csrfmiddlewaretoken"]
    answers = {"user_code": grant["user_code"], "decision": "approve", "reach": "all", "workspace": town.acme.id}
    for sent, headers in (
        (answers, {}),
        (answers | {"csrfmiddlewaretoken": "x" * 64}, {}),
        (answers | {"csrfmiddlewaretoken": token}, {"Origin": "https://evil.example"}),
        (answers | {"csrfmiddlewaretoken": token}, {"Origin": "null"}),
    ):
        page = Page(browser.post(address, data=sent, headers=headers))
        assert (page.status, page.heading) == (403, "Please try that again")
    assert polled(town, grant) == "authorization_pending"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_programs_name_is_text_and_nothing_else(town: World, person: Callable[[str], Browser], name: str) -> None:
    browser = person("member")
    plain = look_up(browser, ask(town, client="plain")["user_code"])
    grant = ask(town, client=name)
    page = look_up(browser, grant["user_code"])
    assert [each.tag for each in page.elements] == [each.tag for each in plain.elements]
    assert page.all("dd")[0].text == name
    decide(browser, page)
    poll(town, grant).raise_for_status()
    home = browser.open("/")
    assert home.heading == "Member"
    assert name in [each.text for each in home.all("div", class_="title")]
    assert not home.all("script")
    assert not home.all("b")


def test_a_workspaces_name_cannot_turn_the_page_around(town: World, person: Callable[[str], Browser]) -> None:
    town.server.backstage(
        "tests.cabinet_stage:rename",
        account=town["rival"].id,
        workspace=town.globex.slug,
        name="\u202eevil\u2066 \u200bx <i>",
    )
    browser = person("visitor")
    page = look_up(browser, ask(town, workspace=town.globex.slug)["user_code"])
    for seen in (page, browser.open("/")):
        assert "\ufffdevil\ufffd \ufffdx <i>" in seen.text
        assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069]", seen.html)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("laptop", "laptop"),
        ("", "(no name)"),
        (" \u3164\u200d ", "(no name)"),
        ("a\x1b[31mb\x07\n", "a\ufffd[31mb\ufffd\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\U000e0041tag", "\ufffdtag"),
        ("\u06a9\u200c\u0647 👩\u200d💻", "\u06a9\u200c\u0647 👩\u200d💻"),
        ("x" * 200, "x" * 119 + "…"),
    ],
)
def test_what_is_shown_of_a_name(text: str, expected: str) -> None:
    assert shown(text) == expected


PUBLIC = (LOGIN, "/accounts/password/reset/", "/accounts/password/reset/done/", "/accounts/signup/", "/no/such/page")
PRIVATE = ("/", DEVICE, "/accounts/logout/", "/accounts/password/change/", "/accounts/reauthenticate/", "/no/such/page")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_page_for_everybody_is_sound(browser: Browser, address: str) -> None:
    check_page(browser.open(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_page_for_members_is_sound_and_closed_to_others(
    browser: Browser, person: Callable[[str], Browser], address: str
) -> None:
    if address != "/no/such/page":
        assert Page(browser.get(address)).location, "nobody is signed in"
    check_page(Page(person("owner").get(address)))


def test_the_pages_of_an_approval_are_sound(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("owner")
    page = look_up(browser, ask(town)["user_code"])
    check_page(page)
    refused = decide(browser, page, workspace=town.globex.id)
    check_page(refused)
    check_page(browser.open(decide(browser, refused, workspace=town.acme.id).location))
    check_page(Page(browser.post(DEVICE)))


def test_the_stylesheet_is_served_and_asks_for_nothing_else(browser: Browser) -> None:
    page = browser.open(LOGIN)
    (sheet,) = page.all("link", rel="stylesheet")
    (icon,) = page.all("link", rel="icon")
    answer = browser.get(sheet.attributes["href"])
    assert answer.headers["content-type"].startswith("text/css")
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert "prefers-color-scheme: dark" in answer.text
    assert browser.get(icon.attributes["href"]).headers["content-type"].startswith("image/svg+xml")


def test_programs_get_the_envelope_and_people_a_page(browser: Browser) -> None:
    assert browser.open("/no/such/page").heading == "There is nothing here"
    answer = browser.get("/no/such/page", headers={"Accept": "application/json"})
    assert answer.json()["error"]["code"] == "not_found"
