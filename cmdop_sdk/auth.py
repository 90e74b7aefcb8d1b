"""Credentials and where they come from: keys, token pairs, and the sources that keep a pair fresh.

No HTTP here: how a credential travels and when it is refreshed is the transport's (``PairAuth`` there).
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from cmdop_sdk.errors import AuthenticationError, LocalCode, WrongOrigin
from cmdop_wire.ids import parse_key

if TYPE_CHECKING:
    import asyncio

EXPIRY_MARGIN = 60.0  # seconds: a token that is about to end is not sent any more


def not_ours(what: str, theirs: str, here: str) -> WrongOrigin:
    """Return the refusal to send ``what`` anywhere but to its own server (D-23)."""
    return WrongOrigin(f"{what} belongs to {theirs} and is never sent to {here}", hint=f"cmdop login --server {here}")


class Secret:
    """A text that prints as ``***``; ``reveal()`` is the only way to it, so a search finds every use."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; for headers, private files and the one place that shows a new secret."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return format("***", format_spec)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """A key bound to the one origin that it may be sent to."""

    key: Secret
    slug: str  # a hint for people, never authority (D-1)
    origin: str

    @classmethod
    def from_text(cls, text: str, origin: str) -> "KeyCredential":
        """Return the credential; a wrong form or checksum is refused here, offline (D-11)."""
        try:
            parsed = parse_key(text.strip())
        except ValueError as wrong:
            raise AuthenticationError(
                str(wrong), code=LocalCode.INVALID_KEY, hint="cmdop auth create-key --name NAME"
            ) from None
        return cls(Secret(parsed.text), parsed.slug, origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What a token pair is for, without its secrets: one workspace at one origin, mode and account (D-16, D-23).

    ``expires_at`` and ``refresh_expires_at`` are Unix seconds of this machine's clock.
    """

    origin: str
    mode: str
    account_id: str
    account_email: str
    workspace_id: str
    workspace_slug: str  # as it was last heard; a label
    sign_in_id: str
    family_id: str
    reach: str
    expires_at: float
    refresh_expires_at: float

    def facts(self) -> dict[str, Any]:
        """Return these fields by name, to make a pair, or what a file tells of it, of them."""
        return {field.name: getattr(self, field.name) for field in fields(TokenFacts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair(TokenFacts):
    """An access and a refresh token for one workspace."""

    access_token: Secret
    refresh_token: Secret

    @property
    def is_stale(self) -> bool:
        """Tell whether the access token has ended or does so within a minute."""
        return time.time() >= self.expires_at - EXPIRY_MARGIN

    @property
    def has_ended(self) -> bool:
        """Tell whether the access token has ended by this machine's clock."""
        return time.time() >= self.expires_at

    def checked(self, *, origin: str, mode: str, workspace: str | None) -> "TokenPair":
        """Return this pair if it may be sent to ``origin`` for ``workspace`` (id, slug, ``None`` for any).

        ``WrongOrigin`` if it belongs anywhere else (D-23).
        """
        if self.origin != origin:
            raise not_ours("this sign-in", self.origin, origin)
        if self.mode != mode or workspace not in (None, self.workspace_id, self.workspace_slug):
            raise not_ours(
                "this sign-in", f"{self.workspace_slug} ({self.mode})", f"{workspace or 'a workspace'} ({mode})"
            )
        return self

    def check_successor(self, fresh: "TokenPair") -> "TokenPair":
        """Return ``fresh`` if it may take this pair's place; ``WrongOrigin`` if it is for anything else."""
        for field in ("origin", "mode", "account_id", "workspace_id", "sign_in_id"):
            if getattr(self, field) != getattr(fresh, field):
                raise WrongOrigin(
                    f"the refreshed tokens have another {field.replace('_', ' ')} than the ones they replace"
                )
        return fresh


Refresh = Callable[[TokenPair], Awaitable[TokenPair]]
"""Trades a pair's refresh token for the next pair: one HTTP exchange, supplied by the transport."""


class TokenSource(Protocol):
    """Something that has a token pair and keeps it fresh for everybody who shares it."""

    async def pair(self) -> TokenPair:
        """Return the pair to try first; ``AuthenticationError`` when there is none."""

    async def refreshed(self, stale: TokenPair, refresh: Refresh) -> TokenPair:
        """Return a pair newer than ``stale``, calling ``refresh`` at most once among all who ask at a time."""


class MemoryTokenSource:
    """Keeps the pair in this process only; tasks of one event loop share one refresh."""

    def __init__(self, pair: TokenPair) -> None:
        self._pair = pair
        self._lock: asyncio.Lock | None = None

    async def pair(self) -> TokenPair:
        """Return the current pair."""
        return self._pair

    async def refreshed(self, stale: TokenPair, refresh: Refresh) -> TokenPair:
        """Return the next pair; whoever waited while another task refreshed gets that task's answer."""
        import asyncio

        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._pair.access_token == stale.access_token:
                self._pair = stale.check_successor(await refresh(self._pair))
            return self._pair
