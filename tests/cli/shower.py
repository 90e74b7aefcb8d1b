"""Shows results on stdout as a command would: ``python -m tests.cli.shower LISTING|record|secret|failure [FORM]``."""

import sys

from cmdop_cli.failures import Failure
from cmdop_cli.output import Output
from cmdop_cli.results import Column, Listing, Record, Secret
from cmdop_wire.ids import make_key
from tests.cli.hostile import NAMES

COLUMNS = (Column("id", kind="id"), Column("name"), Column("tags"), Column("count", kind="number"))


def items() -> list[dict[str, object]]:
    """Return one item for each hostile name, with the name in every place that holds text."""
    return [
        {"id": str(number), "name": name, "tags": {name: [name]}, "count": number} for number, name in enumerate(NAMES)
    ]


def main() -> int:
    """Show what the first argument asks for, in the form of the second."""
    what, form = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else None)
    output = Output(form)
    if what == "listing":
        return output.show(Listing("name", items(), COLUMNS))
    if what == "record":
        return max(output.show(Record("name", item)) for item in items())
    if what == "secret":
        try:
            return output.show(Secret("key", {"id": "key_1", "name": "laptop", "secret": make_key("acme").text}))
        except Failure as failure:
            output.failure(failure)
            return failure.exit_code
    for name in NAMES:
        output.note(name)
        output.warn(name)
        output.failure(Failure("not_found", name, hint=name, why=name, request_id=name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
