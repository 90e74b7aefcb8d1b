"""How a command says what it needs, beside its function; ``app.py`` reads it, so no command checks it itself."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

Need = Literal["nothing", "account", "workspace"]
Function = TypeVar("Function", bound=Callable[..., Any])


class Declared(NamedTuple):
    """What ``verb`` was told of a command."""

    needs: Need = "nothing"
    mutates: bool = False
    bare_workspace: bool = False
    lenient: bool = False
    rest: tuple[str, str] | None = None
    remote: "Callable[[Mapping[str, Any]], bool] | None" = None
    elsewhere: "Callable[[Mapping[str, Any]], bool] | None" = None


def verb(
    *,
    needs: Need = "nothing",
    mutates: bool = False,
    bare_workspace: bool = False,
    lenient: bool = False,
    rest: tuple[str, str] | None = None,
    remote: "Callable[[Mapping[str, Any]], bool] | None" = None,
    elsewhere: "Callable[[Mapping[str, Any]], bool] | None" = None,
) -> Callable[[Function], Function]:
    """Declare a function to be a command.

    ``needs``: ``account`` wants a credential, ``workspace`` also a workspace; both are settled before the body runs.
    ``mutates``: gets ``--dry-run``, and is refused by the read-only and workspace guards (exit 7).
    ``bare_workspace``: ``--workspace`` without a value is a switch of its own here (D-19, ``auth create-key``).
    ``lenient``: works although a variable that selects authority is empty: what helps to find out, and signing in.
    ``rest``: name and sentence of the words after ``--``, which are kept as they are in ``call.rest``.
    ``remote``: tells from the parameters whether the exit status is that of what ran far away; failures of our own
    are 255 then, except for those of the line and of the guards.
    ``elsewhere``: tells from the parameters whether it acts in a workspace that the resolver knows nothing of; the
    command then holds itself to ``--expect``.
    """

    def mark(function: Function) -> Function:
        function.__dict__["declared"] = Declared(needs, mutates, bare_workspace, lenient, rest, remote, elsewhere)
        return function

    return mark


def declared(function: Any) -> Declared:
    """Return what was declared of ``function``, also when Typer has wrapped it."""
    found = getattr(function, "declared", None)
    return found if isinstance(found, Declared) else Declared()
