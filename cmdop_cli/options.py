"""The global options: what they are called, and what was given of them on one line (D-19).

Data and bookkeeping only; ``app.py`` turns ``GLOBAL_OPTIONS`` into real parameters of every group and command.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from cmdop_cli.failures import usage
from cmdop_cli.state_shape import MODES

OUTPUTS = ("table", "tsv", "json", "ndjson", "quiet")


class GlobalOption(NamedTuple):
    """One option that every command takes: its spellings, the name of its value (``None``: a switch), its sentence.

    ``sets`` and ``value`` say what a short form such as ``--json`` stands for.
    """

    name: str
    spellings: tuple[str, ...]
    metavar: str | None
    help: str
    sets: str = ""
    value: str | bool = True

    @property
    def target(self) -> str:
        """Return the name under which the value is kept."""
        return self.sets or self.name


GLOBAL_OPTIONS = (
    GlobalOption("workspace", ("--workspace", "-w"), "SLUG", "act in this workspace, by slug or id"),
    GlobalOption("profile", ("--profile",), "NAME", "use this stored profile"),
    GlobalOption("mode", ("--mode",), "MODE", "prod or dev"),
    GlobalOption("dev", ("--dev",), None, "the same as --mode dev", sets="mode", value="dev"),
    GlobalOption("api_key", ("--api-key",), "FROM", "read a key from - (stdin), file:PATH or env:NAME"),
    GlobalOption("no_api_key", ("--no-api-key",), None, "ignore CMDOP_API_KEY for this call"),
    GlobalOption("server", ("--server",), "URL", "talk to this server"),
    GlobalOption("output", ("--output", "-o"), "FORM", "table, tsv, json, ndjson or quiet"),
    GlobalOption("json", ("--json",), None, "the same as --output json", sets="output", value="json"),
    GlobalOption("quiet", ("--quiet", "-q"), None, "only the identifier or the secret", sets="output", value="quiet"),
    GlobalOption("fields", ("--fields",), "A,B", "only these fields, in this order"),
    GlobalOption("limit", ("--limit",), "N", "at most so many items"),
    GlobalOption("yes", ("--yes",), None, "answer yes to an ordinary question"),
    GlobalOption("no_input", ("--no-input",), None, "never ask; fail with exit 7 instead"),
    GlobalOption("no_color", ("--no-color",), None, "no bold headings, whatever the settings say"),
    GlobalOption("expect", ("--expect",), "SLUG", "refuse (exit 7) unless this is the workspace"),
    GlobalOption("debug", ("--debug",), None, "write a traceback of a failure to a private file"),
    GlobalOption("version", ("--version",), None, "print the version"),
)
VALUED = {spelling: option for option in GLOBAL_OPTIONS if option.metavar for spelling in option.spellings}
SPELLED = {spelling: option for option in GLOBAL_OPTIONS for spelling in option.spellings}


class Options(NamedTuple):
    """The global options of one call, checked; ``None`` or ``False`` is «not given»."""

    workspace: str | None = None
    profile: str | None = None
    mode: str | None = None
    api_key: str | None = None
    no_api_key: bool = False
    server: str | None = None
    output: str | None = None
    fields: tuple[str, ...] = ()
    limit: int | None = None
    yes: bool = False
    no_input: bool = False
    no_color: bool = False
    expect: str | None = None
    debug: bool = False


class Given:
    """Collects the global options of one line, from whichever level of it they stand on."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str | bool, str]] = {}

    @property
    def has_any(self) -> bool:
        """Tell whether any global option was given."""
        return bool(self._values)

    def add(self, option: GlobalOption, value: str | bool) -> None:
        """Note that ``option`` was given with ``value``; a contradiction or an absurd value is a usage failure."""
        spelled = option.spellings[0]
        if isinstance(value, str) and option.metavar:
            self._check(option, value)
        known = self._values.get(option.target)
        if known is not None and known[0] != value:
            again = "was given twice with different values" if known[1] == spelled else f"contradicts {known[1]}"
            raise usage(f"{spelled} {again}", hint="give it once")
        self._values[option.target] = (value, spelled)

    @staticmethod
    def _check(option: GlobalOption, value: str) -> None:
        spelled = option.spellings[0]
        if option.name == "api_key":
            if value != "-" and not (value.startswith(("file:", "env:")) and value.partition(":")[2]):
                # The value may be a key: it is not repeated here, and must not stay in the shell's history.
                raise usage(
                    "--api-key takes - (stdin), file:PATH or env:NAME, never the key itself",
                    hint="export CMDOP_API_KEY, or pipe the key and give --api-key -",
                )
            return
        if not value.strip():
            raise usage(f"{spelled} needs a value")
        if value.startswith("-"):
            raise usage(f"{spelled} needs a value, and {value} looks like an option")
        if option.name == "mode" and value not in MODES:
            raise usage(f"--mode is one of {', '.join(MODES)}")
        if option.name == "output" and value not in OUTPUTS:
            raise usage(f"--output is one of {', '.join(OUTPUTS)}")
        if option.name == "limit" and not (
            value.isascii() and value.isdigit() and int(value[:9]) > 0 and len(value) < 9
        ):
            raise usage("--limit is a whole number from 1")

    def options(self) -> Options:
        """Return what was given, in its types."""
        plain = {name: value for name, (value, _) in self._values.items()}
        fields = plain.pop("fields", "")
        limit = plain.pop("limit", None)
        return Options(
            **plain,  # type: ignore[arg-type]  # names and types are those of the table above
            fields=tuple(part.strip() for part in str(fields).split(",") if part.strip()),
            limit=None if limit is None else int(limit),
        )


def words(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the words of a line before ``--`` that look like options, with the value that ``=`` attaches, if any."""
    for word in argv:
        if word == "--":
            return
        if word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            yield name, value if equals else None


def wants_json(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Tell whether a failure must be JSON, for a line that may not have been understood."""
    spoken = [word for word, _ in words(argv)]
    values = {value for word, value in words(argv) if word in ("--output", "-o")}
    for before, after in pairwise(argv):
        if before in ("--output", "-o"):
            values.add(after)
    if "--json" in spoken or values & {"json", "ndjson"} or {"-ojson", "-ondjson"} & set(spoken):
        return True
    chosen = bool(values) or "-q" in spoken or "--quiet" in spoken
    return not chosen and environ.get("CMDOP_OUTPUT") in ("json", "ndjson")
