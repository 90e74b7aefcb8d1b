"""A real Chromium over its DevTools protocol: open pages, type, click, look. Scripts of pages are switched off."""

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.processes import read_line, stop

INSTALL = "no Chromium here: apt-get install chromium"
WAIT = 60.0
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


def find() -> str:
    """Return the path of an installed Chromium; a machine without one fails, with the line that installs it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise AssertionError(INSTALL)
    return found


class Chromium:
    """One headless browser with one page, in a profile of its own."""

    def __init__(self, folder: Path) -> None:
        # Root has no user namespace to build the sandbox from; the pages are our own.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [find(), *QUIET, *sandbox, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._socket: ClientConnection | None = None
        self._closing = contextlib.ExitStack()
        self._closing.callback(stop, self._process)
        self.events: list[dict[str, Any]] = []
        try:
            self._socket = self._closing.enter_context(connect(self._address(), max_size=None, proxy=None))
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "DOM", "Log", "Network"):
                self.call(f"{domain}.enable")
            self.call("Emulation.setScriptExecutionDisabled", value=True)
        except BaseException:
            self.close()
            raise

    def _address(self) -> str:
        assert self._process.stderr is not None
        while True:
            announced = re.search(r"listening on (ws://\S+)", read_line(self._process.stderr, self._process))
            if announced:
                return announced[1]

    def _receive(self) -> dict[str, Any]:
        assert self._socket is not None
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=WAIT))
        if "method" in message and self._session is not None:
            self.events.append(message)
        return message

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that arrive meanwhile are kept."""
        assert self._socket is not None
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while (answer := self._receive()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _loaded(self, since: int) -> None:
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[since:]):
            self._receive()

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is there."""
        since = len(self.events)
        failure = self.call("Page.navigate", url=address).get("errorText")
        assert failure is None, failure
        self._loaded(since)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window's size, in CSS pixels, and which colours the person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def _find(self, selector: str) -> int:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = int(self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"])
        assert node, f"nothing on the page is {selector}\n{self.html}"
        return node

    def type(self, selector: str, text: str) -> None:
        """Put the cursor into a field and type."""
        self.call("DOM.focus", nodeId=self._find(selector))
        self.call("Input.insertText", text=text)

    def click(self, selector: str, *, leads_on: bool = False) -> None:
        """Click the middle of an element; with ``leads_on`` wait for the page that it leads to."""
        node = self._find(selector)
        self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        corners = self.call("DOM.getBoxModel", nodeId=node)["model"]["border"]
        point = {"x": (corners[0] + corners[4]) / 2, "y": (corners[1] + corners[5]) / 2}
        since = len(self.events)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point)
        if leads_on:
            self._loaded(since)

    def press(self, key: str, code: int, *, leads_on: bool = False) -> None:
        """Press a key by its name and code, such as ``Enter``, 13."""
        since = len(self.events)
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)
        if leads_on:
            self._loaded(since)

    @property
    def html(self) -> str:
        """The page as the browser understood it."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return str(self.call("DOM.getOuterHTML", nodeId=root)["outerHTML"])

    @property
    def address(self) -> str:
        """Where the browser is."""
        return str(self.call("Target.getTargetInfo")["targetInfo"]["url"])

    def measure(self, expression: str) -> Any:
        """Return the value of an expression of the inspector's own, which runs although the page's scripts do not."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def requested(self) -> set[str]:
        """Return every address that was asked for so far."""
        sent = (each for each in self.events if each["method"] == "Network.requestWillBeSent")
        return {event["params"]["request"]["url"] for event in sent}

    def complaints(self) -> list[str]:
        """Return what the browser wrote into its console, for instance about the content security policy."""
        return [each["params"]["entry"]["text"] for each in self.events if each["method"] == "Log.entryAdded"]

    def close(self) -> None:
        """End the browser."""
        self._closing.close()
