"""The help page of one command, from its docstring and parameters; the last paragraph is lines to paste."""

import inspect
from collections.abc import Sequence
from typing import Any

from typer.core import TyperArgument, TyperOption

from cmdop_cli.help_pages import filled, page_width, section


def command_page(command: Any, context: Any) -> str:
    """Return the page of one command: usage, sentence, arguments, options, examples."""
    prose, examples = split_help(command.help or "")
    arguments = [each for each in command.params if isinstance(each, TyperArgument) and not each.hidden]
    options = [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]
    rest = command.declared.rest
    terms = [*((argument_name(each), each.help or "") for each in arguments), *([rest] if rest else [])]
    parts = [
        filled(f"Usage: {usage_line(command, context.command_path)}", page_width(), indent=len("Usage: ")),
        *(filled(paragraph, page_width()) for paragraph in prose),
        section("Arguments", terms),
        section("Options", [(option_term(each), option_sentence(each)) for each in options]),
        section("Examples", [(line, "") for line in examples]),
        "The options that every command takes: cmdop help options",
    ]
    return "\n\n".join(part for part in parts if part)


def usage_line(command: Any, path: str) -> str:
    """Return how a command is written, from its name on."""
    arguments = [each for each in command.params if isinstance(each, TyperArgument) and not each.hidden]
    options = [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]
    return " ".join([path, *usage_slots(arguments, options, command.declared.rest)])


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
