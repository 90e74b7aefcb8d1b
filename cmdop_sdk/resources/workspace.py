"""Workspaces: the one that the client is in, and making new ones."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from cmdop_sdk.models import Onboarding, Page, SlugPreview, Usage, Workspace
from cmdop_sdk.resources.base import Listing, WorkspacePlace, new_action
from cmdop_sdk.transport import API_BASE, Query


class WorkspaceResource:
    """``client.workspace``."""

    def __init__(self, place: WorkspacePlace) -> None:
        self._place = place

    def list(self) -> Listing[Workspace]:
        """List the workspaces that this credential may enter."""

        async def fetch(query: Query) -> Page[Workspace]:
            path = f"{API_BASE}/workspaces"
            return (await self._place.transport.request("GET", path, Page[Workspace], query=query)).value

        return Listing(fetch)

    async def create(
        self, name: str, *, slug: str | None = None, plan: str | None = None, idempotency_key: str | None = None
    ) -> Workspace:
        """Create a team workspace, whose owner the caller becomes; ``Conflict`` (slug_taken) has a suggestion.

        ``slug`` is derived from the name when left out (D-2). Not for keys. The idempotency key is made here unless
        the caller repeats an earlier act.
        """
        body = _given(name=name, slug=slug, plan=plan)
        reply = await self._place.transport.request(
            "POST", f"{API_BASE}/workspaces", Workspace, body=body, idempotency_key=idempotency_key or new_action()
        )
        return reply.value

    async def slug_preview(self, *, name: str | None = None, slug: str | None = None) -> SlugPreview:
        """Tell what a name would become or whether a slug is free, without taking it."""
        path = f"{API_BASE}/workspaces/slug-preview"
        return (await self._place.transport.request("GET", path, SlugPreview, query=_given(name=name, slug=slug))).value

    async def show(self) -> Workspace:
        """Return the client's workspace."""
        return (await self._place.request("GET", "", Workspace)).value

    async def update(
        self,
        *,
        name: str | None = None,
        slug: str | None = None,
        description: str | None = None,
        timezone: str | None = None,
        locale: str | None = None,
    ) -> Workspace:
        """Change what is given and return the workspace; renaming the slug keeps keys and tokens working (D-3)."""
        body = _given(name=name, slug=slug, description=description, timezone=timezone, locale=locale)
        return (await self._place.request("PATCH", "", Workspace, body=body)).value

    async def leave(self) -> None:
        """Give up the caller's own membership; ``Conflict`` (last_owner) when nobody else owns the workspace."""
        await self._place.request("DELETE", "/members/me", NoneType)

    async def usage(self) -> Usage:
        """Return the plan and how much of its limits is used."""
        return (await self._place.request("GET", "/usage", Usage)).value

    async def onboarding(self) -> Onboarding:
        """Return what a new machine starts with."""
        return (await self._place.request("GET", "/onboarding", Onboarding)).value

    async def update_onboarding(
        self,
        *,
        auto_tags: Mapping[str, str] | None = None,
        name_pattern: str | None = None,
        gate_mode: str | None = None,
        gate_rules: Sequence[Any] | None = None,
    ) -> Onboarding:
        """Change what is given and return the whole."""
        body = _given(auto_tags=auto_tags, name_pattern=name_pattern, gate_mode=gate_mode, gate_rules=gate_rules)
        return (await self._place.request("PATCH", "/onboarding", Onboarding, body=body)).value


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
