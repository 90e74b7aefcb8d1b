"""The keys of the client's workspace."""

from collections.abc import Sequence

from msgspec.structs import replace

from cmdop_sdk.models import CreatedKey, Key, Page
from cmdop_sdk.resources.base import Listing, WorkspacePlace, new_action
from cmdop_sdk.transport import Query, segment


class KeysResource:
    """``client.keys``; a key is named by its id (``key_…``)."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(
        self, *, all: bool = False, state: str | None = None, unused_days: int | None = None
    ) -> Listing[Key]:  # fmt: skip
        """List one's own keys, and the workspace's for those who may see them; ``all`` adds other members'.

        ``state`` is live, expired or revoked; ``unused_days`` keeps what was not used for so many days.
        """
        filters: Query = {"all": all or None, "state": state, "unused_days": unused_days}

        async def fetch(query: Query) -> Page[Key]:
            return (await self._place.request("GET", "/keys", Page[Key], query={**query, **filters})).value

        return Listing(fetch)

    async def create(
        self,
        name: str,
        *,
        kind: str = "personal",
        scopes: Sequence[str] | None = None,
        expires_in: int | None = None,
        idempotency_key: str | None = None,
    ) -> CreatedKey:
        """Create a key and return it with its secret, which is told only now.

        ``kind`` is personal or workspace, ``scopes`` default to D-13's, ``expires_in`` is in seconds. ``Conflict``
        when the name is taken, ``LimitReached`` at the cap (D-12). A lost answer leaves ``secret`` ``None`` and
        ``replayed`` set: revoke the key and create another.
        """
        body = {
            "kind": kind,
            "name": name,
            "scopes": None if scopes is None else list(scopes),
            "expires_in": expires_in,
        }
        reply = await self._place.request(
            "POST",
            "/keys",
            CreatedKey,
            body={field: value for field, value in body.items() if value is not None},
            idempotency_key=idempotency_key or new_action(),
        )
        return replace(reply.value, replayed=reply.is_replay)

    async def show(self, key_id: str) -> Key:
        """Return one key, without its secret."""
        return (await self._place.request("GET", f"/keys/{segment(key_id)}", Key)).value

    async def revoke(self, key_id: str) -> Key:
        """End a key: once this returns, no request with it succeeds any more (D-14)."""
        return (await self._place.request("DELETE", f"/keys/{segment(key_id)}", Key)).value
