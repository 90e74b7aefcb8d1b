"""People at browsers, for the tests of the cabinet's pages."""

from collections.abc import Callable, Iterator

import pytest

from tests.browsing import Browser
from tests.processes import Server
from tests.world import PASSWORD, World, make_world


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
