"""A browser small enough for the demo: cookies, redirects and HTML forms, over the standard library only.

It signs in and approves a device code the way a person's browser does: there is no back door in the server for
it to use. Not for anything else; the SDK speaks to the API.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener


@dataclass(slots=True)
class Form:
    """One HTML form: where it goes, how, and its fields with the values a browser would send."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)  # select or radio name → shown text → value


class _Forms(HTMLParser):
    """Collects the forms of a page; a select's first or selected option and checked radios are the defaults."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = ""
        self._option: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(attributes.get("action", ""), attributes.get("method", "get").lower()))
        elif self.forms and tag == "input":
            self._input(attributes)
        elif self.forms and tag == "select":
            self._select = attributes.get("name", "")
        elif self._select and tag == "option":
            self._option = attributes.get("value", "")
            fields = self.forms[-1].fields
            if "selected" in attributes or self._select not in fields:
                fields[self._select] = self._option

    def _input(self, attributes: dict[str, str]) -> None:
        name, value, kind = attributes.get("name", ""), attributes.get("value", ""), attributes.get("type", "text")
        if kind in ("radio", "checkbox"):
            self.forms[-1].choices.setdefault(name, {})[value] = value
            if "checked" not in attributes:
                return
        if name and kind not in ("submit", "button"):
            self.forms[-1].fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select, self._option = "", None

    def handle_data(self, data: str) -> None:
        if self._select and self._option is not None and data.strip():
            self.forms[-1].choices.setdefault(self._select, {})[data.strip()] = self._option


class Browser:
    """One browser window: remembers cookies and the page it is on."""

    def __init__(self) -> None:
        # Proxies are for the world outside; the demo's server is on this machine.
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
        self.url = ""
        self.page = ""

    def open(self, url: str) -> str:
        """Go to ``url`` (http on loopback) and return the page's text; raises ``urllib.error.HTTPError`` on 4xx."""
        return self._send(Request(url))  # noqa: S310 - the demo's own server

    def form(self, having: str) -> Form:
        """Return the page's first form that has a field or choice called ``having``; ``LookupError`` if none has."""
        parser = _Forms()
        parser.feed(self.page)
        for form in parser.forms:
            if having in form.fields or having in form.choices:
                return form
        raise LookupError(f"the page at {self.url} has no form with {having}")

    def submit(self, form: Form, **answers: str) -> str:
        """Fill in ``answers``, send the form as a browser does, and return the next page."""
        request = Request(  # noqa: S310 - the demo's own server
            urljoin(self.url, form.action or self.url),
            data=urlencode({**form.fields, **answers}).encode(),
            headers={"Referer": self.url, "Origin": urljoin(self.url, "/").rstrip("/")},
        )
        return self._send(request)

    def _send(self, request: Request) -> str:
        with self._opener.open(request, timeout=20) as response:
            self.url = response.url
            self.page = response.read().decode()
        return self.page
