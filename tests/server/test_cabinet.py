"""The cabinet: looking up a code and approving or denying a terminal, over HTTP."""

import re
from collections.abc import Callable

import pytest

from tests.browsing import Browser, Page
from tests.server.cabinet import DEVICE, ask, decide, look_up, poll, polled, workspaces_of
from tests.world import PASSWORD, World

WRONG = "This code is wrong, used or too old. Check it, or run cmdop login again for a new one."


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
    assert workspaces_of(town, poll(town, grant).json()) == {town.acme.slug}


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
