"""The cabinet's pages over HTTP: signing in, approving a terminal, ending its sign-in; nothing of it needs a script."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from cmdop_server.cabinet.templatetags.shown import shown
from cmdop_wire.vocab import GRANT_DEVICE_CODE
from tests.browsing import Browser, Page
from tests.processes import Server
from tests.world import PASSWORD, World, make_world

LOGIN, DEVICE = "/accounts/login/", "/device"
WRONG = "This code is wrong, used or too old. Check it, or run cmdop login again for a new one."
HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ user.password }}{% debug %}",
    "javascript:alert(1)",
    "&lt;b&gt; already escaped",
    "W" * 120,
    "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
)


@pytest.fixture(scope="module")
def town(server: Server) -> Iterator[World]:
    """The cast with passwords; the tests of this file share it, so each says whom it uses up."""
    world = make_world(server, passwords=True)
    yield world
    world.close()


@pytest.fixture
def browser(town: World) -> Iterator[Browser]:
    """A browser in which nobody is signed in."""
    with Browser(town.server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def sessions() -> dict[str, str]:
    """The session cookies of people who have signed in already, by e-mail address."""
    return {}


@pytest.fixture
def person(town: World, sessions: dict[str, str]) -> Iterator[Callable[[str], Browser]]:
    """Open browsers in which somebody of the cast is signed in; a password is typed once for each of them."""
    opened: list[Browser] = []

    def signed_in(who: str) -> Browser:
        browser = Browser(town.server.url)
        opened.append(browser)
        email = town[who].email
        if email in sessions:
            browser.cookies.set("cmdop_session", sessions[email])
        else:
            browser.sign_in(email, PASSWORD)
            sessions[email] = browser.cookies["cmdop_session"]
        return browser

    yield signed_in
    for browser in opened:
        browser.close()


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


# --- signing in ---------------------------------------------------------------------------------------------------


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


# --- approving a terminal -----------------------------------------------------------------------------------------


def test_the_page_shows_who_asks_from_where_when_and_as_whom(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("member")
    with town.api() as terminal:
        grant = terminal.post("/auth/device", json={"client": "cmdop on ada's laptop"}).json()
        address = terminal._transport._pool._local_address  # type: ignore[attr-defined]
    page = look_up(browser, grant["user_code"].lower().replace("-", " "))
    facts = dict(zip((each.text for each in page.all("dt")), (each.text for each in page.all("dd")), strict=True))
    moment = facts.pop("Asked")
    assert re.fullmatch(r"just now · \d\d:\d\d UTC", moment)
    assert facts == {"Program": "cmdop on ada's laptop", "From": address, "Account": town["member"].email}
    assert grant["user_code"] in [each.text for each in page.all("strong")]
    assert "Approve only if you started this sign-in yourself" in page.text


def test_a_narrow_approval_opens_one_workspace_and_no_other(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("visitor")
    grant = ask(town, workspace=town.acme.slug)
    page = look_up(browser, grant["user_code"])
    form = page.form(DEVICE)
    assert (form.fields["reach"], form.fields["workspace"]) == ("workspace", town.acme.id)
    assert polled(town, grant) == "authorization_pending"
    done = decide(browser, page)
    assert (done.status, done.location) == (302, "/device/done")
    page = browser.open(done.location)
    assert page.heading == "Your terminal is signed in"
    assert "It may enter Acme and nothing else." in page.text
    assert "You can close this window and return to your terminal." in page.text
    tokens = poll(town, grant).json()
    assert tokens["scope"] == "workspace"
    assert workspaces_of(town, tokens) == {town.acme.slug}


def test_an_approval_for_all_opens_every_workspace(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("visitor")
    grant = ask(town)
    done = decide(browser, look_up(browser, grant["user_code"]), reach="all")
    assert "It may enter all your workspaces." in browser.open(done.location).text
    tokens = poll(town, grant).json()
    assert tokens["scope"] == "all"
    assert workspaces_of(town, tokens) == {town.acme.slug, town.globex.slug, town["visitor"].personal}


def test_only_own_workspaces_are_offered_the_personal_one_first(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("guest")
    grant = ask(town)
    page = look_up(browser, grant["user_code"])
    offered = {each.text: each.attributes["value"] for each in page.all("option")}
    assert set(offered) == {f"Acme ({town.acme.slug})", f"Personal ({town['guest'].personal})"}
    assert page.form(DEVICE).fields["workspace"] == offered[f"Personal ({town['guest'].personal})"]


@pytest.mark.parametrize("ref", ["globex id", "globex slug", "acme slug", "ws_00000000000000000000", "", "\x00", "*"])
def test_a_workspace_that_was_not_offered_is_refused(town: World, person: Callable[[str], Browser], ref: str) -> None:
    workspace = {"globex id": town.globex.id, "globex slug": town.globex.slug, "acme slug": town.acme.slug}
    browser = person("guest")
    grant = ask(town)
    page = look_up(browser, grant["user_code"])
    for reach in ("workspace", "all"):
        refused = decide(browser, page, workspace=workspace.get(ref, ref), reach=reach)
        assert (refused.status, refused.alerts) == (422, "Choose one of your workspaces.")
    assert polled(town, grant) == "authorization_pending"
    done = decide(browser, refused, workspace=town.acme.id, reach="workspace")
    assert done.location == "/device/done", "the twin: a guest may sign in to where they are a guest"
    assert workspaces_of(town, poll_again(town, grant)) == {town.acme.slug}


def poll_again(town: World, grant: dict[str, Any]) -> dict[str, Any]:
    """Ask a second time: once approved, being early costs nothing."""
    return dict(poll(town, grant).raise_for_status().json())


def test_a_reach_that_does_not_exist_is_refused(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("guest")
    grant = ask(town)
    refused = decide(browser, look_up(browser, grant["user_code"]), reach="everything")
    assert (refused.status, refused.alerts) == (422, "Choose what it may enter.")
    assert refused.form(DEVICE).fields["reach"] == "workspace"
    assert polled(town, grant) == "authorization_pending"


@pytest.mark.parametrize("hint", ["globex", "nowhere"])
def test_a_hint_that_is_not_among_the_persons_workspaces_says_no_more_than_that(
    town: World, person: Callable[[str], Browser], hint: str
) -> None:
    slug = town.globex.slug if hint == "globex" else "no-such-workspace-at-all"
    browser = person("guest")
    page = look_up(browser, ask(town, workspace=slug)["user_code"])
    assert f"It asked for the workspace {slug}, which is not among yours." in page.text
    assert "Globex" not in page.text


def test_denied_is_denied(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("guest")
    grant = ask(town)
    done = decide(browser, look_up(browser, grant["user_code"]), "deny")
    page = browser.open(done.location)
    assert page.heading == "Sign-in denied"
    assert "You can close this window and return to your terminal." in page.text
    assert polled(town, grant) == "access_denied"


def test_opening_an_address_decides_nothing(town: World, browser: Browser) -> None:
    browser.sign_in(town["owner"].email, PASSWORD)
    grant = ask(town)
    everything = {
        "user_code": grant["user_code"],
        "decision": "approve",
        "reach": "all",
        "workspace": town.acme.id,
    }
    for decision in ("approve", "deny"):
        page = Page(browser.get(DEVICE, params=everything | {"decision": decision}))
        assert page.heading == "Sign in a terminal"
        assert browser.head(DEVICE, params=everything | {"decision": decision}).status_code == 200
    assert browser.get("/device/done").headers["location"] == DEVICE, "nothing was decided, so nothing is told"
    for method in ("PUT", "PATCH", "DELETE"):
        assert browser.request(method, DEVICE, params=everything).status_code in (403, 405)
    assert polled(town, grant) == "authorization_pending"


def test_the_second_half_of_a_double_click_is_no_error(town: World, person: Callable[[str], Browser]) -> None:
    browser = person("owner")
    page = look_up(browser, ask(town)["user_code"])
    assert [decide(browser, page).location for _ in range(2)] == ["/device/done", "/device/done"]


def test_somebody_removed_after_looking_cannot_approve(town: World, person: Callable[[str], Browser]) -> None:
    before = {"account": town["owner"].id, "workspace": town.acme.slug}
    town.server.backstage("tests.cabinet_stage:add", **before, newcomer=town["rival"].id, role="member")
    browser = person("rival")
    grant = ask(town, workspace=town.acme.slug)
    page = look_up(browser, grant["user_code"])
    town.server.backstage("tests.cabinet_stage:remove", **before, leaver=town["rival"].id)
    assert decide(browser, page).alerts == "Choose one of your workspaces."
    assert polled(town, grant) == "authorization_pending"


def test_wrong_spent_and_expired_codes_look_the_same(town: World, person: Callable[[str], Browser]) -> None:
    """Uses up four of the rival's five wrong codes."""
    browser = person("rival")
    spent, denied, expired = ask(town), ask(town), ask(town)
    with Browser(town.server.url) as other:
        other.sign_in(town["member"].email, PASSWORD)
        decide(other, look_up(other, spent["user_code"]))
        decide(other, look_up(other, denied["user_code"]), "deny")
    town.server.backstage("tests.cabinet_stage:expire_code", user_code=expired["user_code"])
    answers = set()
    for code in ("BCDF-GHJK", spent["user_code"], denied["user_code"], expired["user_code"]):
        page = look_up(browser, code)
        html = page.html.replace(page.form(DEVICE).fields["csrfmiddlewaretoken"], "TOKEN").replace(code, "CODE")
        answers.add((page.status, page.alerts, html))
    ((status, alerts, _),) = answers
    assert (status, alerts) == (422, WRONG)


def test_guessing_ends_after_five_wrong_codes_by_whichever_button(town: World, browser: Browser) -> None:
    """Uses up the outsider's wrong codes."""
    browser.sign_in(town["outsider"].email, PASSWORD)
    form = browser.open(DEVICE).form(DEVICE)
    for decision in ({}, {"decision": "approve"}, {"decision": "deny"}, {"decision": "deny"}, {"decision": "x"}):
        assert browser.submit(form, user_code="BCDF-GHJK", **decision).status == 422
    grant = ask(town)
    with Browser(town.server.url) as elsewhere:
        elsewhere.sign_in(town["outsider"].email, PASSWORD)
        for visitor, decision in ((browser, {}), (elsewhere, {"decision": "deny"})):
            page = visitor.submit(visitor.open(DEVICE).form(DEVICE), user_code=grant["user_code"], **decision)
            assert page.status == 429
            assert 0 < int(page.response.headers["retry-after"]) <= 600
            assert "Too many wrong codes. Try again in 10 minutes." in page.alerts
    assert polled(town, grant) == "authorization_pending"


# --- forgery and hostile text -------------------------------------------------------------------------------------


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


# --- home ---------------------------------------------------------------------------------------------------------


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


# --- passwords ----------------------------------------------------------------------------------------------------


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
        browser.submit(browser.open(address).form(address), email=each) for each in (email, "nobody@example.org")
    ]
    assert [answer.location for answer in answers] == ["/accounts/password/reset/done/"] * 2
    mails = [path.read_text() for path in spool.iterdir()]
    assert not [mail for mail in mails if "nobody@example.org" in mail]
    (mail,) = (mail for mail in mails if email in mail and "Choose a new password" in mail)
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


# --- every page ---------------------------------------------------------------------------------------------------

PUBLIC = (LOGIN, "/accounts/password/reset/", "/accounts/password/reset/done/", "/accounts/signup/", "/no/such/page")
PRIVATE = ("/", DEVICE, "/accounts/logout/", "/accounts/password/change/", "/accounts/reauthenticate/", "/no/such/page")


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
