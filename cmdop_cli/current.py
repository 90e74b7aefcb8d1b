"""What ``workspace current`` and ``prompt`` say; shared by the fast path and the full one, so both say the same."""

from cmdop_cli.failures import Code
from cmdop_cli.resolver import Resolution
from cmdop_cli.results import Column, Listing, Record, Text
from cmdop_cli.state import Place
from cmdop_cli.state_shape import DEFAULT_MODE

_SHOWN = (Column("label", "workspace"), Column("detail", "from"))
_CHAIN = (Column("name", "source"), Column("value", "says"), Column("outcome"))


def current_result(resolution: Resolution, verified: Place | None = None, *, why: bool = False) -> Record:
    """Return the workspace in force, with its source; ``why`` adds the whole chain."""
    place = verified or resolution.workspace or Place()
    fields: dict[str, object] = {
        "workspace": {"id": place.id, "slug": place.slug},
        "label": place.label,
        "source": str(resolution.source),
        "detail": resolution.detail,
        "profile": resolution.profile,
        "mode": resolution.mode,
        "checked": verified is not None,
    }
    rows = None
    if why:
        chain = [
            {"source": step.source, "name": step.name, "value": step.value, "outcome": step.outcome}
            for step in resolution.chain
        ]
        fields["chain"] = chain
        rows = Listing("resolution", chain, _CHAIN, identifier="value")
    return Record("resolution", fields, _SHOWN, identifier="label", piped=_SHOWN[:1], rows=rows)


def prompt_result(resolution: Resolution) -> Text:
    """Return the piece of a shell prompt: the workspace, the mode unless it is prod, ``?`` where something is wrong.

    Nothing at all where nothing is chosen: a prompt must neither fail nor explain.
    """
    place, problem = resolution.workspace, resolution.problem
    if problem is not None and problem.code in (Code.NO_WORKSPACE, Code.NO_CREDENTIAL):
        return Text([], "prompt")
    if problem is not None or place is None:
        return Text(["?"], "prompt")
    mode = "" if resolution.mode == DEFAULT_MODE else f" {resolution.mode}"
    doubt = "?" if resolution.must_verify else ""
    return Text([f"{place.label}{doubt}{mode}"], "prompt")
