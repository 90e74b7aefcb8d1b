"""Help pages as plain text for 80 columns, from docstrings whose last paragraph is lines to paste."""

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperArgument, TyperOption

from cmdop_cli.catalog import Row
from cmdop_cli.options import GLOBAL_OPTIONS

WIDTH = 80
_TERM = 28  # cells for the left column; a longer term gets a line of its own


def command_page(command: Any, context: Any) -> str:
    """Return the page of one command: usage, sentence, arguments, options, examples."""
    prose, examples = split_help(command.help or "")
    arguments = [each for each in command.params if isinstance(each, TyperArgument) and not each.hidden]
    options = [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]
    rest = command.declared.rest
    words = [context.command_path, *usage_slots(arguments, options, rest)]
    terms = [*((argument_name(each), each.help or "") for each in arguments), *([rest] if rest else [])]
    parts = [
        _wrapped(f"Usage: {' '.join(words)}", indent=len("Usage: ")),
        *(textwrap.fill(paragraph, WIDTH) for paragraph in prose),
        section("Arguments", terms),
        section("Options", [(option_term(each), option_sentence(each)) for each in options]),
        section("Examples", [(line, "") for line in examples]),
        "The options that every command takes: cmdop help options",
    ]
    return "\n\n".join(part for part in parts if part)


def group_page(rows: Mapping[str, Row], summary: str, context: Any, *, is_root: bool) -> str:
    """Return the page of the program or of a noun: its commands, one line each."""
    shown = [(name, entry.summary) for name, entry in rows.items() if not entry.hidden]
    path = context.command_path
    parts = [f"Usage: {path} COMMAND", summary, section("Commands", shown)]
    if is_root:
        parts.append(global_options())
        parts.append("Help on a command: cmdop COMMAND --help. Topics: cmdop help --help.")
    else:
        parts.append(f"Help on a command: {path} COMMAND --help")
    return "\n\n".join(part for part in parts if part)


def global_options() -> str:
    """Return the one block that explains the options every command takes."""
    terms = [(", ".join(option.spellings) + (f" {option.metavar}" if option.metavar else ""), option.help)
             for option in GLOBAL_OPTIONS]  # fmt: skip
    terms.append(("--help, -h", "print help"))
    return section("Options anywhere on the line", terms)


def split_help(text: str) -> tuple[list[str], list[str]]:
    """Return the paragraphs of a docstring and, apart, its example lines: the last paragraph, if it begins with one."""
    paragraphs = [part for part in inspect.cleandoc(text).split("\n\n") if part.strip()]
    examples: list[str] = []
    if paragraphs and paragraphs[-1].lstrip().startswith("cmdop "):
        examples = [line.strip() for line in paragraphs.pop().splitlines()]
    return [" ".join(paragraph.split()) for paragraph in paragraphs], examples


def option_term(option: TyperOption) -> str:
    """Return how an option is written: its spellings and the name of its value."""
    spelled = ", ".join([*option.opts, *option.secondary_opts])
    return spelled if option.is_flag else f"{spelled} {_value_name(option)}"


def _value_name(option: TyperOption) -> str:
    choices = getattr(option.type, "choices", None)
    if option.metavar:
        return option.metavar
    return "|".join(str(choice) for choice in choices) if choices else (option.name or "value").upper()


def option_sentence(option: TyperOption) -> str:
    """Return what an option means, with what must be known to give it."""
    notes = ["required"] if option.required else []
    if option.multiple:
        notes.append("can be repeated")
    return (option.help or "") + (f" ({', '.join(notes)})" if notes else "")


def argument_name(argument: TyperArgument) -> str:
    """Return the name of an argument as help writes it."""
    return str(argument.metavar or argument.name or "").upper()


def slot(argument: TyperArgument) -> str:
    """Return an argument as it stands in a usage line."""
    name = argument_name(argument) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def usage_slots(
    arguments: Sequence[TyperArgument], options: Sequence[TyperOption], rest: tuple[str, str] | None
) -> list[str]:
    """Return what follows a command's name in its usage line."""
    words = ["[OPTIONS]"] if options else []
    return [*words, *(slot(each) for each in arguments), *(["--", f"{rest[0]}..."] if rest else [])]


def section(title: str, terms: Sequence[tuple[str, str]]) -> str:
    """Return ``terms`` with their explanations in two columns under ``title``; nothing for no terms."""
    if not terms:
        return ""
    size = min(max(len(term) for term, _ in terms), _TERM)
    lines = [f"{title}:"]
    for term, text in terms:
        if not text:
            lines.append(f"  {term}")
        elif len(term) > size:
            lines += [f"  {term}", textwrap.indent(textwrap.fill(text, WIDTH - size - 4), " " * (size + 4))]
        else:
            body = textwrap.wrap(text, WIDTH - size - 4)
            lines.append(f"  {term:<{size}}  {body[0]}")
            lines += [" " * (size + 4) + line for line in body[1:]]
    return "\n".join(lines)


def _wrapped(text: str, *, indent: int) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
