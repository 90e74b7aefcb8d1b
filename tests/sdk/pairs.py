"""Token pairs for tests, and a small control plane that rotates them as the real one does (D-16)."""

import threading
import time
from typing import Any

from cmdop_sdk.auth import Secret, TokenPair
from cmdop_wire.ids import make_token
from tests.sdk.loopback import ACCOUNT, ME, WORKSPACE, Answer, Seen, refusal

OTHER_WORKSPACE = {**WORKSPACE, "id": "ws_00000000000000000002", "slug": "globex", "name": "Globex"}
SIGN_IN = "sig_00000000000000000001"
FAMILY = "fam_00000000000000000001"


def pair(origin: str = "http://127.0.0.1:8787", *, age: float = 0, **changes: Any) -> TokenPair:
    """Return a pair that was issued ``age`` seconds ago for an hour."""
    fields: dict[str, Any] = {
        "origin": origin,
        "mode": "prod",
        "account_id": ACCOUNT["id"],
        "account_email": ACCOUNT["email"],
        "workspace_id": WORKSPACE["id"],
        "workspace_slug": WORKSPACE["slug"],
        "sign_in_id": SIGN_IN,
        "family_id": FAMILY,
        "reach": "all",
        "access_token": Secret(make_token("access")),
        "refresh_token": Secret(make_token("refresh")),
        "expires_at": time.time() + 3600 - age,
        "refresh_expires_at": time.time() + 30 * 86400,
    }
    return TokenPair(**{**fields, **changes})


def place_of(tokens: TokenPair) -> dict[str, str]:
    """Return where a pair is kept."""
    return {name: getattr(tokens, name) for name in ("origin", "account_id", "workspace_id", "mode")}


class Rotation:
    """Answers ``/auth/token`` and ``/me``: each refresh token has one successor, only the newest access token works."""

    def __init__(self) -> None:
        self.rotations = 0
        self.delay = 0.0
        self.changes: dict[str, Any] = {}
        self.break_answers = 0
        self._access: set[str] = set()
        self._successors: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def start_with(self, tokens: TokenPair) -> None:
        """Know the refresh token of ``tokens``; its access token counts as ended."""
        self._successors[tokens.refresh_token.reveal()] = {}

    def __call__(self, seen: Seen) -> Answer:
        """Answer one request."""
        if seen.path == "/api/v1/auth/token":
            time.sleep(self.delay)
            return self._token(seen.json)
        if seen.bearer in self._access:
            return Answer(body=ME)
        return refusal(401, "unauthenticated")

    def _token(self, body: dict[str, Any]) -> Answer:
        with self._lock:
            text = body.get("refresh_token", "")
            if body["grant_type"] != "refresh_token" or text not in self._successors:
                return refusal(400, "invalid_grant")
            if not self._successors[text]:
                self.rotations += 1
                self._successors[text] = self._grant()
            grant = self._successors[text]
            if self.break_answers:
                self.break_answers -= 1
                return Answer(200, b"", {"Content-Length": "900"}, iter([b'{"acc']))
            return Answer(body={**grant, **self.changes})

    def _grant(self) -> dict[str, Any]:
        access, refresh = make_token("access"), make_token("refresh")
        self._access = {access}
        self._successors[refresh] = {}
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": refresh,
            "refresh_expires_in": 30 * 86400,
            "scope": "all",
            "sign_in_id": SIGN_IN,
            "family_id": FAMILY,
            "account": ACCOUNT,
            "workspace": {name: WORKSPACE[name] for name in ("id", "slug", "name", "kind", "role")},
            "default_workspace": None,
        }
