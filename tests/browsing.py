"""A person at a browser, for the cabinet's pages: cookies, forms as the page has them, redirects one by one."""

import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


@dataclass
class Element:
    """One tag with its attributes and the text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Form:
    """A form with what a browser would send if only a button were pressed."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)  # of selects and radios, in order
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.forms: list[Form] = []
        self._open: list[Element] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)
        given = element.attributes
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif not self.forms:
            return
        elif tag == "select":
            self._select = name
        elif tag == "option":
            self._choice(self._select, value, "selected" in given or self._select not in self.forms[-1].fields)
        elif tag == "button" and name:
            self.forms[-1].buttons.append((name, value))
        elif tag == "input" and given.get("type") == "radio":
            self._choice(name, value, "checked" in given)
        elif tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1].fields[name] = value

    def _choice(self, name: str, value: str, is_chosen: bool) -> None:
        self.forms[-1].choices.setdefault(name, []).append(value)
        if is_chosen:
            self.forms[-1].fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


class Page:
    """An answer, read as a browser reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.location = response.headers.get("location", "")
        self.html = response.text
        reader = _Reader()
        reader.feed(self.html)
        self.elements = reader.elements
        self.forms = reader.forms

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements with this tag and these attributes, ``class_`` and ``for_`` with an underscore."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    @property
    def heading(self) -> str:
        """Return the text of the one ``h1``."""
        (heading,) = self.all("h1")
        return heading.text.strip()

    @property
    def text(self) -> str:
        """Return what a person reads in the page's main part, spaces folded."""
        (main,) = self.all("main")
        return " ".join(main.text.split())

    @property
    def alerts(self) -> str:
        """Return what is announced as wrong."""
        return " ".join(" ".join(each.text for each in self.all("div", role="alert")).split())

    def form(self, action: str) -> Form:
        """Return the only form that goes to ``action``, a path without query."""
        found = [form for form in self.forms if form.action.partition("?")[0] == action]
        assert len(found) == 1, f"{len(found)} forms to {action} on a page of status {self.status}: {self.html}"
        return found[0]


class Browser(httpx.Client):
    """One browser, from a loopback address of its own so that throttles of other tests do not count for it."""

    def __init__(self, url: str) -> None:
        address = f"127.{1 + secrets.randbelow(200)}.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
        super().__init__(
            base_url=url,
            headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
            transport=httpx.HTTPTransport(local_address=address, verify=False),
            timeout=30,
        )

    def open(self, address: str) -> Page:
        """Go to ``address`` and on to wherever it redirects."""
        page = Page(self.get(address))
        return self.open(urljoin(str(page.response.url), page.location)) if page.location else page

    def submit(self, form: Form, **answers: str) -> Page:
        """Send a form with some answers changed; redirects are not followed."""
        headers = {"Origin": str(self.base_url).rstrip("/"), "Referer": str(self.base_url)}
        return Page(self.post(form.action, data={**form.fields, **answers}, headers=headers))

    def sign_in(self, email: str, password: str) -> None:
        """Sign in on the sign-in page."""
        page = self.submit(self.open("/accounts/login/").form("/accounts/login/"), login=email, password=password)
        assert page.status == 302, page.text
