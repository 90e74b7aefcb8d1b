"""Giving slugs out, once and for ever: a slug that a workspace ever had is never another's (D-2, D-3)."""

import shlex

from django.db import IntegrityError, transaction

from cmdop_server.access.errors import Conflict, Invalid
from cmdop_server.workspaces.models import SlugClaim
from cmdop_server.workspaces.queries import free_slug
from cmdop_wire.ids import check_slug, derive_slug
from cmdop_wire.vocab import ErrorCode


def checked_slug(slug: str) -> str:
    """Return ``slug`` when a workspace may be called so; ``Invalid`` says which rule it breaks (D-2)."""
    try:
        return check_slug(slug)
    except ValueError as broken:
        raise Invalid(str(broken), field="slug") from None


def chosen_slug(name: str, slug: str | None) -> str:
    """Return the slug that was asked for or that the name suggests; ``Invalid`` asks for ``--slug`` if neither is."""
    if slug is not None:
        return checked_slug(slug)
    derived = derive_slug(name)
    again = f"cmdop workspace create {shlex.quote(name)} --slug"
    if not derived:
        raise Invalid("no slug can be made of this name; give one with --slug", hint=f"{again} my-team", field="slug")
    try:
        return check_slug(derived)
    except ValueError as broken:
        raise Invalid(
            f"{broken}; give another with --slug", hint=f"{again} {free_slug(derived)}", field="slug"
        ) from None


def claim_slug(slug: str, workspace_id: str, *, command: str) -> None:
    """Reserve ``slug`` for the workspace for ever, in the caller's transaction; its own old slug is its own.

    Of two racing claims the database lets one through; the other gets ``Conflict`` with a free suggestion, put
    behind ``command`` for the hint.
    """
    try:
        with transaction.atomic():  # a savepoint: PostgreSQL must be able to go on after the refusal
            SlugClaim.objects.create(slug=slug, workspace_id=workspace_id)
    except IntegrityError:
        if SlugClaim.objects.filter(slug=slug, workspace_id=workspace_id).exists():
            return
        suggestion = free_slug(slug)
        raise Conflict(
            f"the slug {slug} is taken",
            code=ErrorCode.SLUG_TAKEN,
            hint=f"{command} {suggestion}",
            slug=slug,
            suggestion=suggestion,
        ) from None
