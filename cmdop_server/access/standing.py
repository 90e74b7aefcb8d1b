"""Whether a credential is still good, asked once more under the locks of a change (D-14).

It was proved at the start of the request. What waited for its turn since then may have been revoked, and the revocation
acknowledged: such a change must not happen. ``access`` knows no tables, so whoever has the credentials answers.
"""

from collections.abc import Callable

from cmdop_server.access.actor import Actor
from cmdop_server.access.errors import Unauthenticated

Answer = Callable[[Actor], bool]
_answers: list[Answer] = []


def answered_by(answer: Answer) -> None:
    """Register who knows; ``answer`` runs inside the transaction of the change, after the workspace's lock."""
    if answer not in _answers:
        _answers.append(answer)


def must_stand(actor: Actor) -> None:
    """Raise ``Unauthenticated`` when the actor's credential is dead by now."""
    if not all(answer(actor) for answer in _answers):
        raise Unauthenticated(hint="cmdop login")
