"""The sessions of the client's workspace: who was on which machine, when, and why it ended."""

from cmdop_sdk.machine_models import Session, Ticket
from cmdop_sdk.models import Page
from cmdop_sdk.resources.base import Listing, WorkspacePlace
from cmdop_sdk.transport import Query, segment


class SessionsResource:
    """``client.sessions``; a session is named by its id (``ses_…``)."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(self, *, machine: str | None = None, active: bool | None = None) -> Listing[Session]:
        """List sessions, newest first; of one machine (also a removed one, by its id), only active or ended ones.

        ``NotFound`` when there is no such machine.
        """
        filters: Query = {"machine": machine, "active": active}

        async def fetch(query: Query) -> Page[Session]:
            asked: Query = {**query, **filters}
            return (
                await self._place.request("GET", "/sessions", Page[Session], query=asked, machine=machine or "")
            ).value

        return Listing(fetch)

    async def show(self, session_id: str) -> Session:
        """Return one session."""
        return (await self._place.request("GET", f"/sessions/{segment(session_id)}", Session)).value

    async def terminate(self, session_id: str) -> Session:
        """End one's own session, or as owner or admin anybody's; whoever is in it is out at once."""
        return (await self._place.request("POST", f"/sessions/{segment(session_id)}/terminate", Session)).value

    async def ticket(self, session_id: str) -> Ticket:
        """Make a ticket that lets somebody watch an active session, within 30 seconds."""
        return (await self._place.request("POST", f"/sessions/{segment(session_id)}/ticket", Ticket)).value
