"""The manual of the command line as Markdown, made from the commands themselves: ``docs/reference/cli.md``."""

from collections.abc import Iterator

from typer.core import TyperArgument, TyperOption

from cmdop_cli import app, environment, pages
from cmdop_cli.catalog import Foreign, Noun, Verb, rows
from cmdop_cli.meanings import EXIT_MEANINGS
from cmdop_cli.options import GLOBAL_OPTIONS
from cmdop_cli.settings import SETTINGS


def markdown(note: str) -> str:
    """Return the whole manual; ``note`` is what every generated document begins with."""
    parts = [
        "# The command line\n\n" + note.rstrip("\n"),
        "Every command prints its own page with `--help`.",
        *_commands(),
        "## Options that every command takes\n\nAnywhere on the line before `--`, once.\n\n" + _global_options(),
        "## Environment\n\n" + _table(("variable", "meaning"), _environment()),
        "## Settings\n\nKeys of `config.toml`; `cmdop config set NAME VALUE` writes them.\n\n"
        + _table(("setting", "value", "built in", "variable", "meaning"), _settings()),
        "## Exit statuses\n\n"
        + _table(("status", "meaning"), ((str(int(code)), text) for code, text in EXIT_MEANINGS.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[str]:
    for words, entry in rows():
        yield f"{_heading(words)}\n\n{entry.summary}" if isinstance(entry, Noun) else _command(words, entry)


def _heading(words: tuple[str, ...]) -> str:
    return f"{'#' * min(len(words) + 1, 4)} cmdop {' '.join(words)}"


def _command(words: tuple[str, ...], entry: Verb | Foreign) -> str:
    path = f"cmdop {' '.join(words)}"
    if isinstance(entry, Foreign):
        return f"{_heading(words)}\n\n{entry.summary}\n\nIts own `--help` says the rest."
    command = app.made(words[-1], entry)
    assert isinstance(command, app.Command), "a verb is a command"
    prose, examples = pages.split_help(command.help or "")
    arguments = [each for each in command.params if isinstance(each, TyperArgument) and not each.hidden]
    options = [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]
    usage = " ".join([path, *pages.usage_slots(arguments, options, command.declared.rest)])
    terms = [(pages.argument_name(each), each.help or "") for each in arguments]
    terms += [command.declared.rest] if command.declared.rest else []
    terms += [(pages.option_term(each), pages.option_sentence(each)) for each in options]
    parts = [_heading(words), f"    {usage}", *prose]
    if terms:
        parts.append(_table(("", ""), ((f"`{term}`", text) for term, text in terms)).rstrip("\n"))
    if examples:
        parts.append("```\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(parts)


def _global_options() -> str:
    rows = [
        (
            ", ".join(f"`{each}{f' {option.metavar}' if option.metavar else ''}`" for each in option.spellings),
            option.help,
        )
        for option in GLOBAL_OPTIONS
    ]
    return _table(("option", "meaning"), [*rows, ("`--help`, `-h`", "print help")])


def _environment() -> Iterator[tuple[str, ...]]:
    return ((f"`{name}`", text) for name, text in environment.VARIABLES.items())


def _settings() -> Iterator[tuple[str, ...]]:
    for name, setting in SETTINGS.items():
        default = "" if setting.default is None else f"`{str(setting.default).lower()}`"
        yield f"`{name}`", setting.wanted, default, f"`{setting.variable}`" if setting.variable else "", setting.text


def _table(head: tuple[str, ...], rows: "Iterator[tuple[str, ...]] | list[tuple[str, ...]]") -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
