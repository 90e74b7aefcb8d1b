"""The cabinet: signing in and out, passwords, sign-up, and ending the sign-ins of terminals, over HTTP."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browsing import Browser, Page
from tests.processes import Server
from tests.server.cabinet import DEVICE, LOGIN, ask, check_page, look_up, mail_to, polled
from tests.world import PASSWORD, World


def test_a_visitor_signs_in_and_comes_back_to_the_code(town: World, browser: Browser) -> None:
    grant = ask(town)
    complete = urlsplit(grant["verification_uri_complete"])
    page = browser.open(f"{complete.path}?{complete.query}")
    assert page.heading == "Sign in"
    back = browser.submit(page.form(LOGIN), login=town["member"].email, password=PASSWORD)
    page = browser.open(back.location)
    assert page.heading == "Sign in a terminal"
    assert page.form(DEVICE).fields["user_code"] == grant["user_code"]


def test_an_expired_session_keeps_the_code_too(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("member")
    grant = ask(town)
    form = look_up(browser, grant["user_code"]).form(DEVICE)
    browser.cookies.delete("cmdop_session")
    sent = browser.submit(form, decision="approve")
    assert sent.location == f"{LOGIN}?next=/device%3Fuser_code%3D{grant['user_code']}"
    assert polled(town, grant) == "authorization_pending"


def test_changing_the_account_keeps_the_code(town: World, browser: Browser) -> None:
    browser.sign_in(town["member"].email, PASSWORD)
    grant = ask(town)
    page = look_up(browser, grant["user_code"])
    out = browser.submit(page.form("/accounts/logout/"))
    page = browser.open(out.location)
    assert page.heading == "Sign in"
    back = browser.submit(page.form(LOGIN), login=town["guest"].email, password=PASSWORD)
    page = browser.open(back.location)
    assert page.form(DEVICE).fields["user_code"] == grant["user_code"]
    assert town["guest"].email in page.text


def test_a_wrong_password_and_an_unknown_address_look_the_same(town: World, browser: Browser) -> None:
    def refused(email: str) -> tuple[int, str]:
        form = browser.open(LOGIN).form(LOGIN)
        page = browser.submit(form, login=email, password="not the password")
        token = page.form(LOGIN).fields["csrfmiddlewaretoken"]
        return page.status, page.html.replace(email, "EMAIL").replace(token, "TOKEN")

    known, unknown = refused(town["former"].email), refused("nobody@example.org")
    assert known == unknown
    assert 'class="note bad"' in known[1]


ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "///evil.example",
    "http:evil.example",
    "http://localhost/",
    "http://127.0.0.1/",
    "javascript:alert(1)",
    "data:text/html,x",
    "\t//evil.example",
    "https://127.0.0.1@evil.example/",
)


def test_signing_in_never_leads_elsewhere(town: World, browser: Browser, person: Callable[[str], Browser]) -> None:
    for elsewhere in ELSEWHERE[1:4]:
        form = browser.open(LOGIN).form(LOGIN)
        sent = browser.submit(form, login=town["owner"].email, password=PASSWORD, next=elsewhere)
        assert (sent.status, sent.location) == (302, "/"), elsewhere
        browser.cookies.clear()
    already = person("owner")
    for elsewhere in ELSEWHERE:
        assert already.get(LOGIN, params={"next": elsewhere}).headers["location"] == "/", elsewhere
    assert already.get(LOGIN, params={"next": "/device"}).headers["location"] == "/device", "the twin"


def test_signing_out_does_not_lead_elsewhere_either(town: World, browser: Browser) -> None:
    for elsewhere in ELSEWHERE:
        form = browser.open(LOGIN).form(LOGIN)
        form.action = "/accounts/logout/"
        assert browser.submit(form, next=elsewhere).location == "/", elsewhere


def test_signed_out_means_signed_out(town: World, browser: Browser) -> None:
    browser.sign_in(town["owner"].email, PASSWORD)
    cookie = browser.cookies["cmdop_session"]
    assert Page(browser.get("/accounts/logout/")).heading == "Sign out?"
    assert browser.get("/").status_code == 200, "asking is not signing out"
    browser.submit(browser.open("/").form("/accounts/logout/"))
    browser.cookies.set("cmdop_session", cookie)
    assert browser.get("/").headers["location"] == f"{LOGIN}?next=/"


def test_signing_up_is_closed_and_there_is_no_way_around_the_account_services(
    browser: Browser, person: Callable[[str], Browser]
) -> None:
    page = browser.open("/accounts/signup/")
    assert page.heading == "Sign-up is closed"
    assert "Create an account" not in browser.open(LOGIN).text
    assert person("owner").get("/accounts/email/").status_code == 404


def test_home_lists_what_is_mine_and_nothing_else(town: World, person: Callable[[str], Browser]) -> None:
    tokens = town.sign_in("member", "acme")
    town.sign_in("rival", "globex")
    browser = person("member")
    page = browser.open("/")
    (workspaces,) = page.all("section", aria_labelledby="workspaces") or page.all(
        "section", **{"aria-labelledby": "workspaces"}
    )
    assert f"{town.acme.slug} · team" in " ".join(workspaces.text.split())
    assert town.globex.slug not in page.html
    assert f"/sign-ins/{tokens['sign_in_id']}/end" in [form.action for form in page.forms]


def test_ending_a_sign_in_kills_its_tokens(town: World, person: Callable[[str], Browser]) -> None:
    kept, ended = town.sign_in("member", "acme", "all"), town.sign_in("member", "acme", "all")
    api = town.api(ended["access_token"])
    assert api.get("/me").status_code == 200
    browser = person("member")
    address = f"/sign-ins/{ended['sign_in_id']}/end"
    assert browser.get(address).status_code == 405
    assert browser.submit(browser.open("/").form(address)).location == "/"
    page = browser.open("/")
    assert "That terminal is signed out." in page.text
    assert address not in [form.action for form in page.forms]
    assert api.get("/me").status_code == 401
    refreshed = api.post("/auth/token", json={"grant_type": "refresh_token", "refresh_token": ended["refresh_token"]})
    assert refreshed.json()["error"]["code"] == "invalid_grant"
    assert town.api(kept["access_token"]).get("/me").status_code == 200, "the twin lives on"


def test_somebody_elses_sign_in_is_unknown(town: World, person: Callable[[str], Browser]) -> None:
    theirs = town.sign_in("owner", "acme")
    own = town.sign_in("member", "acme")
    browser = person("member")
    form = browser.open("/").form(f"/sign-ins/{own['sign_in_id']}/end")
    form.action = f"/sign-ins/{theirs['sign_in_id']}/end"
    assert browser.submit(form).location == "/"
    assert "There is no such sign-in, or it had ended already." in browser.open("/").text
    assert town.api(theirs["access_token"]).get("/me").status_code == 200


def test_a_changed_password_signs_every_terminal_out_and_every_other_browser(town: World, browser: Browser) -> None:
    """Changes the admin's password, and changes it back."""
    tokens = town.sign_in("admin", "acme")
    with Browser(town.server.url) as other:
        other.sign_in(town["admin"].email, PASSWORD)
        browser.sign_in(town["admin"].email, PASSWORD)
        address = "/accounts/password/change/"
        form = browser.open(address).form(address)
        refused = browser.submit(
            form, oldpassword="not it", password1="a brand new secret", password2="a brand new secret"
        )
        assert refused.status == 200
        assert town.api(tokens["access_token"]).get("/me").status_code == 200
        changed = browser.submit(
            form, oldpassword=PASSWORD, password1="a brand new secret", password2="a brand new secret"
        )
        assert changed.location == "/"
        assert "Your password is changed." in browser.open("/").text
        assert other.get("/").status_code == 302
    assert town.api(tokens["access_token"]).get("/me").status_code == 401
    back = browser.submit(
        browser.open(address).form(address),
        oldpassword="a brand new secret",
        password1=PASSWORD,
        password2=PASSWORD,
    )
    assert back.location == "/"


def test_a_forgotten_password_is_replaced_by_mail_once(town: World, browser: Browser) -> None:
    """Changes the former admin's password."""
    address = "/accounts/password/reset/"
    spool = Path(town.server.environ["CMDOP_DATA_DIR"]) / "mail"
    email = town["former"].email
    answers = [
        browser.submit(browser.open(address).form(address), email=each) for each in ("nobody@example.org", email)
    ]
    assert [answer.location for answer in answers] == ["/accounts/password/reset/done/"] * 2
    mail = mail_to(town, email, "Choose a new password")
    assert not [path for path in spool.iterdir() if "nobody@example.org" in path.read_text()]
    (link,) = re.findall(r"^http\S+/accounts/password/reset/key/\S+$", mail.replace("=\n", ""), re.MULTILINE)
    assert link.startswith(town.server.url)
    page = browser.open(link)
    assert page.heading == "Choose a new password"
    assert urlsplit(link).path.rpartition("-")[2] not in str(page.response.url), "the key does not stay in the address"
    form = next(form for form in page.forms if "password1" in form.fields)
    chosen = "yet another brand new secret"
    assert browser.submit(form, password1=chosen, password2=chosen).status == 302
    with Browser(town.server.url) as later:
        assert later.open(link).heading == "This link is spent"
        later.sign_in(email, chosen)


@pytest.mark.slow
def test_where_sign_up_is_open_a_visitor_confirms_an_address_and_finds_a_workspace(
    new_server: Callable[..., Server],
) -> None:
    server = new_server(CMDOP_SIGNUP="open")
    chosen, address = "a brand new secret", "/accounts/signup/"
    with Browser(server.url) as browser:
        page = browser.open(LOGIN)
        assert "Create an account" in page.text
        page = browser.open(address)
        check_page(page)
        sent = browser.submit(page.form(address), email="New@Example.org", password1=chosen)
        check_page(browser.open(sent.location))
        assert browser.get("/").status_code == 302, "not before the address is confirmed"
        (mail,) = (path.read_text() for path in (Path(server.environ["CMDOP_DATA_DIR"]) / "mail").iterdir())
        (link,) = re.findall(r"^http\S+/accounts/confirm-email/\S+$", mail.replace("=\n", ""), re.MULTILINE)
        assert link.startswith(server.url)
        page = browser.open(link)
        check_page(page)
        assert page.heading == "Confirm your address"
        browser.submit(page.form(urlsplit(link).path))
        check_page(browser.open(link))
        browser.sign_in("new@example.org", chosen)
        assert "new-personal · personal owner" in browser.open("/").text
