"""Pages by cursor: opaque, signed, and bound to the list, workspace and filters they were made for."""

from collections.abc import Sequence
from typing import Any, TypeVar

from django.core.signing import BadSignature, Signer
from django.db.models import Model, QuerySet

from cmdop_server.access.errors import Refused
from cmdop_wire.vocab import ErrorCode

M = TypeVar("M", bound=Model)
T = TypeVar("T")

_SALT = "cmdop.api.cursor"


class Cursor:
    """Reads and makes the cursors of one list: ``bound`` names the operation, whose rows, and every filter."""

    def __init__(self, text: str | None, *bound: object) -> None:
        self._bound = [None if part is None else str(part) for part in bound]
        self.position: int | str | None = None if text is None else self._opened(text)

    def _opened(self, text: str) -> int | str:
        try:
            found = Signer(salt=_SALT).unsign_object(text)
        except (BadSignature, ValueError):
            raise _malformed() from None
        if not isinstance(found, list) or len(found) != 2 or found[0] != self._bound:
            raise _malformed()
        position: int | str = found[1]
        return position

    def number(self) -> int | None:
        """Return the position in a list that is ordered by a number."""
        return self.position if isinstance(self.position, int) else None

    def sealed(self, position: int | str | None) -> str | None:
        """Return the cursor that goes on after ``position``; ``None`` at the end of the list."""
        return None if position is None else Signer(salt=_SALT).sign_object([self._bound, position])

    def rows(self, rows: QuerySet[M], limit: int) -> tuple[list[M], str | None]:
        """Return one page of rows that are ordered by descending primary key, and the cursor of the next."""
        after = self.number()
        found = list((rows if after is None else rows.filter(pk__lt=after))[: limit + 1])
        return found[:limit], self.sealed(found[limit - 1].pk if len(found) > limit else None)

    def cut(self, found: Sequence[T], limit: int, key: Any) -> tuple[list[T], str | None]:
        """Return the first ``limit`` of the fetched, and the cursor of the next page by ``key`` of the last."""
        return list(found[:limit]), self.sealed(key(found[limit - 1]) if len(found) > limit else None)


def _malformed() -> Refused:
    return Refused(ErrorCode.MALFORMED, "this cursor does not belong to this list", hint="begin again without a cursor")
