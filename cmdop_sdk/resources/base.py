"""What every resource stands on: the workspace in a path, and lists that are walked page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from secrets import token_hex
from typing import Any, Generic, TypeVar

from cmdop_sdk.errors import AuthenticationError, LocalCode, NotFound, UnexpectedAnswer, naming_machine
from cmdop_sdk.models import Identity, Page
from cmdop_sdk.transport import API_BASE, Query, Transport, segment
from cmdop_sdk.transport.answers import Reply

T = TypeVar("T")
PAGE_LIMIT = 200  # the most that the API gives at a time


def new_action() -> str:
    """Return an idempotency key: made once per act of a person, sent with every try of it."""
    return token_hex(16)


class WorkspacePlace:
    """The workspace that a client acts in, by id or slug.

    A key's slug is a hint (D-1): when the workspace was renamed since, the server knows nothing by that name, so
    the id is asked for once and the call repeated. The hint cannot lead to another workspace: a slug is never
    given to a second one (D-3), and a key is a stranger everywhere but at home.
    """

    def __init__(self, transport: Transport, ref: str | None, *, is_hint: bool = False) -> None:
        self.transport = transport
        self.ref = ref
        self._is_hint = is_hint

    async def request(
        self,
        method: str,
        tail: str,
        answer: type[T],
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        patience: float = 0.0,
        machine: str = "",
    ) -> Reply[T]:
        """Send one request below ``/workspaces/{ws}``; see ``Transport.request``. ``machine`` is what it is about."""

        async def send(ref: str) -> Reply[T]:
            path = f"{API_BASE}/workspaces/{segment(ref)}{tail}"
            return await self.transport.request(
                method,
                path,
                answer,
                query=query,
                body=body,
                idempotency_key=idempotency_key,
                patience=patience,
            )

        if self.ref is None:
            raise AuthenticationError(
                "this client is in no workspace", code=LocalCode.NO_CREDENTIAL, hint="cmdop workspace use SLUG"
            )
        try:
            try:
                return await send(self.ref)
            except NotFound:
                if not self._is_hint:
                    raise
                here = (await self.transport.request("GET", f"{API_BASE}/me", Identity)).value.workspace
                self._is_hint = False
                if self.ref in (here.slug, here.id):
                    raise
                self.ref = here.id
            return await send(self.ref)
        except NotFound as unknown:
            raise naming_machine(unknown, machine) from None


class Listing(Generic[T]):
    """A list that the server keeps: ``async for`` walks it, ``await`` is all of it, ``page`` and ``first`` a part."""

    def __init__(self, fetch: Callable[[Query], Awaitable[Page[T]]]) -> None:
        self._fetch = fetch

    async def page(self, cursor: str | None = None, limit: int | None = None) -> Page[T]:
        """Return one page of at most ``limit`` (1 to 200, the server's default 50) items after ``cursor``."""
        return await self._fetch({"cursor": cursor, "limit": limit})

    async def first(self, limit: int) -> Page[T]:
        """Return at most ``limit`` items from the beginning; ``next`` is the cursor after them, if there are more."""
        items: list[T] = []
        cursor = None
        while True:
            page = await self.page(cursor, max(1, min(PAGE_LIMIT, limit - len(items))))
            items += page.items
            if len(items) >= limit or page.next is None:
                return Page(items[:limit], page.next)
            cursor = _onward(cursor, page.next)

    async def all(self) -> list[T]:
        """Return every item."""
        return [item async for item in self]

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self.all().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        cursor = None
        while True:
            page = await self.page(cursor, PAGE_LIMIT)
            for item in page.items:
                yield item
            if page.next is None:
                return
            cursor = _onward(cursor, page.next)


def _onward(here: str | None, following: str) -> str:
    if following == here:
        raise UnexpectedAnswer("the server's list leads in a circle")
    return following
