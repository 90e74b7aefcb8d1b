"""The members of the client's workspace."""

from types import NoneType

from cmdop_sdk.models import Member, Page
from cmdop_sdk.resources.base import Listing, WorkspacePlace
from cmdop_sdk.transport import Query, segment


class MembersResource:
    """``client.members``; a member is named by account id (``usr_…``)."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(self, *, email: str | None = None) -> Listing[Member]:
        """List the members, or only the one with that address."""

        async def fetch(query: Query) -> Page[Member]:
            return (await self._place.request("GET", "/members", Page[Member], query={**query, "email": email})).value

        return Listing(fetch)

    async def set_role(self, account_id: str, role: str) -> Member:
        """Give a member another role, never above the caller's own rank (D-8)."""
        path = f"/members/{segment(account_id)}"
        return (await self._place.request("PATCH", path, Member, body={"role": role})).value

    async def remove(self, account_id: str) -> None:
        """End a membership, and with it the member's keys, tokens and sessions here, for ever (D-17)."""
        await self._place.request("DELETE", f"/members/{segment(account_id)}", NoneType)
