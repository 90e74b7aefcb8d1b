"""Who the credential is, and what else that person is signed in to."""

from types import NoneType

from cmdop_sdk.models import Identity, Page, SignIn, TokenFamily, Workspace
from cmdop_sdk.resources.base import Listing
from cmdop_sdk.transport import API_BASE, Query, Transport, segment


class MeResource:
    """``client.me``; sessions and tokens are a person's, so not for keys."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def show(self) -> Identity:
        """Return account, credential and workspace."""
        return (await self._transport.request("GET", f"{API_BASE}/me", Identity)).value

    def workspaces(self) -> Listing[Workspace]:
        """List where this credential may go: one workspace for a key or a narrow sign-in, else all memberships."""

        async def fetch(query: Query) -> Page[Workspace]:
            return (
                await self._transport.request("GET", f"{API_BASE}/me/workspaces", Page[Workspace], query=query)
            ).value

        return Listing(fetch)

    def sessions(self) -> Listing[SignIn]:
        """List the sign-ins of this account."""

        async def fetch(query: Query) -> Page[SignIn]:
            return (await self._transport.request("GET", f"{API_BASE}/me/sessions", Page[SignIn], query=query)).value

        return Listing(fetch)

    async def end_session(self, sign_in_id: str) -> None:
        """End a sign-in and every token family that grew from it."""
        await self._transport.request("DELETE", f"{API_BASE}/me/sessions/{segment(sign_in_id)}", NoneType)

    def tokens(self) -> Listing[TokenFamily]:
        """List the token families of this account."""

        async def fetch(query: Query) -> Page[TokenFamily]:
            return (await self._transport.request("GET", f"{API_BASE}/me/tokens", Page[TokenFamily], query=query)).value

        return Listing(fetch)
