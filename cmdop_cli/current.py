"""What ``workspace current`` and ``prompt`` say. Shared by the fast path and the full one, so that both say the same."""

from cmdop_cli.resolver import Resolution
from cmdop_cli.results import Column, Listing, Record
from cmdop_cli.state import Place


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
        columns = [Column("name", "source"), Column("value", "says"), Column("outcome")]
        rows = Listing("resolution", chain, columns, identifier="value")
    return Record("resolution", fields, [Column("label", "workspace")], identifier="label", rows=rows)
