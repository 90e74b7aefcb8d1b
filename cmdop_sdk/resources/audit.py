"""The audit log of the client's workspace."""

from datetime import UTC, datetime

from cmdop_sdk.errors import InvalidRequest
from cmdop_sdk.models import AuditHead, Event, Page
from cmdop_sdk.resources.base import Listing, WorkspacePlace
from cmdop_sdk.transport import Query


class AuditResource:
    """``client.audit``."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        order: str = "desc",
    ) -> Listing[Event]:
        """List events, newest first unless ``order`` is asc; moments are aware datetimes.

        ``actor`` and ``target`` are ids, ``action`` such as ``key.created``.
        """
        filters: Query = {
            "since": _moment(since),
            "until": _moment(until),
            "actor": actor,
            "action": action,
            "target": target,
            "order": order,
        }

        async def fetch(query: Query) -> Page[Event]:
            return (await self._place.request("GET", "/events", Page[Event], query={**query, **filters})).value

        return Listing(fetch)

    async def head(self) -> AuditHead:
        """Return the signed end of the chain (D-30)."""
        return (await self._place.request("GET", "/events/head", AuditHead)).value


def _moment(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise InvalidRequest("a moment without a time zone means another one on every machine")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
