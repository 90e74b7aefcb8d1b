"""What is wrong with a line, in the house's words: what, why, fix. Typer says it in its own, and those never show.

Its exceptions have no public names; each kind is known by what it carries.
"""

import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument

from cmdop_cli.catalog import CATALOG, PROGRAM, Noun, row
from cmdop_cli.command_pages import argument_name, option_term, usage_line
from cmdop_cli.failures import Code, Failure
from cmdop_cli.options import SPELLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmdop_cli.context import Call


_ADDING = frozenset({"add", "add-member", "add-user", "add-people", "add-person", "invite", "invite-member"})
_WHO_ADDS = "people are added where the server runs, by its operator; the token that this prints signs them in once"


# What people type who come from elsewhere.
_OTHERS = {
    "ssh": f"{PROGRAM} connect",
    "machines": f"{PROGRAM} connect list",
    "keys": f"{PROGRAM} auth list-keys",
    "use": f"{PROGRAM} workspace use",
}


def usage_failure(wrong: typer.TyperException, call: "Call") -> Failure:
    """Return what Typer complains about as a usage failure (exit 2)."""
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context is not None else _path(call)
    parameter, option = getattr(wrong, "param", None), getattr(wrong, "option_name", None)
    if hasattr(wrong, "possibilities"):
        return _unknown_option(path, str(option), context, call)
    if option is not None:
        meant = SPELLED.get(option)
        takes_none = "not take" in wrong.format_message()
        return Failure(
            Code.USAGE,
            f"{option} {'takes no value' if takes_none else 'needs a value'}",
            why=f"{option}{f' {meant.metavar}' if meant.metavar else ''}: {meant.help}" if meant else "",
            hint=f"{path} --help" if meant is None else "cmdop help options",
        )
    if parameter is not None and hasattr(wrong, "param_type"):
        return Failure(
            Code.USAGE, f"{path} needs {_spelled(parameter, full=True)}: {parameter.help}", hint=f"{path} --help"
        )
    if parameter is not None:
        return Failure(Code.USAGE, f"{_spelled(parameter)} {_wanted(parameter, wrong)}", hint=f"{path} --help")
    message = wrong.format_message().replace("'", "").rstrip(".")
    return Failure(Code.USAGE, message[:1].lower() + message[1:], hint=f"{path} --help")


def too_many(context: Any, extra: "Sequence[str]") -> Failure:
    """Return the refusal of words that are more than a command takes."""
    path, words = context.command_path, " ".join(extra)
    takes_any = any(isinstance(each, TyperArgument) for each in context.command.params)
    message = f"{words} is more than {path} takes" if takes_any else f"{path} takes no words after it, such as {words}"
    fix = f"{path} --help"
    machine = context.params.get("machine")
    if path == f"{PROGRAM} connect to" and machine and (verb := verb_meant(context.obj, machine)):
        return unknown_command(f"{PROGRAM} connect", machine, verb, extra, runs=True)
    if path == f"{PROGRAM} connect to" and machine:  # as ssh takes a command
        fix = shlex.join([PROGRAM, "connect", "exec", machine, "--", *extra])
    return Failure(Code.USAGE, message, why=f"its usage is {usage_line(context.command, path)}", hint=fix)


def unknown_command(path: str, name: str, near: str, after: "Sequence[str]" = (), *, runs: bool) -> Failure:
    """Return the refusal of a word that is no command of ``path``; ``near`` is one, and ``runs`` as it stands.

    ``after`` is what stood behind the word: the fix keeps it, or it would be another command than the one meant.
    """
    is_help, is_root = path == f"{PROGRAM} help", path == PROGRAM
    what = "no topic, and no command" if is_help else f"no command of {path}"
    fix = f"{path} {near}" if near and runs else f"{path} {near} --help" if near else f"{path} --help"
    if near and after and not is_help:
        fix = shlex.join([*path.split(), near, *after])
    if path == f"{PROGRAM} workspace" and name in _ADDING:
        return Failure(Code.USAGE, f"{name} is {what}", why=_WHO_ADDS, hint=_adding(after))
    if is_root and (elsewhere := _OTHERS.get(name) or _verb_elsewhere(name)):
        return Failure(
            Code.USAGE, f"{name} is {what}", why=f"it is {elsewhere}", hint=shlex.join([*elsewhere.split(), *after])
        )
    if is_root and name == "version":
        fix = f"{PROGRAM} --version"
    return Failure(Code.USAGE, f"{name} is {what}", why=f"the nearest is {near}" if near else "", hint=fix)


def verb_meant(call: "Call", machine: str) -> str:
    """Return the verb of ``connect`` that was probably meant by a word which became a machine, or ``""``."""
    from cmdop_cli.unreached import nearest

    connect, words = CATALOG["connect"], call.arguments
    if not isinstance(connect, Noun) or machine not in words or "to" in words[: words.index(machine)]:
        return ""
    return nearest(machine, (name for name, each in connect.verbs.items() if not each.hidden))


def _verb_elsewhere(name: str) -> str:
    """Return the command of that name which only one noun has, or ``""``."""
    nouns = [
        noun for noun, each in CATALOG.items() if isinstance(each, Noun) and not each.hidden and name in each.verbs
    ]
    return f"{PROGRAM} {nouns[0]} {name}" if len(nouns) == 1 and nouns[0] != "help" else ""


def _adding(after: "Sequence[str]") -> str:
    """Return how a person becomes a member, with whatever of it stood on the line."""
    words = dict(pairwise(after))
    email = next((each for each in after if "@" in each), "EMAIL")
    slug = words.get("--workspace") or words.get("-w") or "SLUG"
    line = ["server", "user", "create", email, "--workspace", slug, "--role", words.get("--role", "member"), "--token"]
    return shlex.join([PROGRAM, *line])


def _unknown_option(path: str, option: str, context: Any, call: "Call") -> Failure:
    """Return the refusal; its fix is the whole line with the nearest option in place of the unknown one.

    Typer's own idea of near is not taken: to it, any two short options are alike, and --yes is one of them.
    """
    from difflib import get_close_matches

    known = {each for parameter in (context.command.params if context else ()) for each in parameter.opts}
    if path == f"{PROGRAM} connect to" and (agents := _agents_option(option)):
        return agents
    if path == f"{PROGRAM} connect to":  # a misspelt option of the agent made its value look like a machine
        connect = CATALOG["connect"]
        known |= connect.valued if isinstance(connect, Noun) else set()
    names = {each.lstrip("-"): each for each in (*SPELLED, *known) if each.startswith("--")}
    near = [names[each] for each in get_close_matches(option.lstrip("-"), names, n=1, cutoff=0.65)]
    if path == f"{PROGRAM} connect exec" and "--" not in call.arguments and not near:
        from cmdop_cli.reaching import without_dashes

        return without_dashes(call.arguments)
    if not near or near[0] in ("--yes", "--help"):
        return Failure(Code.USAGE, f"there is no option {option} of {path}", hint=f"{path} --help")
    line = [_respelled(word, option, near[0]) for word in call.arguments]
    return Failure(
        Code.USAGE,
        f"there is no option {option} of {path}",
        why=f"the nearest is {near[0]}",
        hint=shlex.join([PROGRAM, *line]),
    )


def _agents_option(option: str) -> Failure | None:
    """Return the refusal of an option of this machine's agent beside another machine, ``None`` if it is none."""
    from cmdop_cli.app import Command, made

    connect = CATALOG["connect"]
    command = made("run", connect.verbs["run"]) if isinstance(connect, Noun) else None
    if not isinstance(command, Command) or option not in {each for one in command.params for each in one.opts}:
        return None
    return Failure(
        Code.USAGE,
        f"{option} does not go together with a machine",
        why="it is about this machine's agent, which cmdop connect runs when no machine is named",
        hint=f"{PROGRAM} connect run --help",
    )


def _respelled(word: str, wrong: str, right: str) -> str:
    name, equals, value = word.partition("=")
    return f"{right}{equals}{value}" if name == wrong else word


def _spelled(parameter: Any, *, full: bool = False) -> str:
    if isinstance(parameter, TyperArgument):
        return argument_name(parameter)
    return option_term(parameter) if full else str(parameter.opts[0])


def _wanted(parameter: Any, wrong: typer.TyperException) -> str:
    """Return what a value should have been."""
    least, most = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return f"is one of {', '.join(str(choice) for choice in choices)}"
    if "int" in getattr(parameter.type, "name", ""):
        bounds = f" from {least}" * (least is not None) + f" to {most}" * (most is not None)
        return f"is a whole number{bounds}"
    message = str(getattr(wrong, "message", "")).replace("'", "").rstrip(".")
    return f"cannot be that: {message[:1].lower()}{message[1:]}"


def _path(call: "Call") -> str:
    """Return the command of a line that was not read to its end."""
    words: tuple[str, ...] = ()
    for word in call.arguments:
        if row((*words, word)) is not None:
            words = (*words, word)
        elif words and not isinstance(row(words), Noun):
            break
    return " ".join([PROGRAM, *words])
