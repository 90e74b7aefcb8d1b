"""What can stand at the end of an unfinished line; the scripts that ask are in ``completion_scripts.py``.

Commands and options come from the catalog and the commands' own parameters; names from the local caches of the profile
and mode in force. No network, no secret.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from cmdop_cli.catalog import CATALOG, Foreign, Noun, Verb
from cmdop_cli.completion_scripts import SCRIPTS
from cmdop_cli.failures import Failure
from cmdop_cli.options import GLOBAL_OPTIONS, OUTPUTS, SPELLED, VALUED
from cmdop_cli.state_shape import MODES

if TYPE_CHECKING:
    from cmdop_cli.context import Call

Candidate = tuple[str, str]  # a word and its sentence


def candidates(words: Sequence[str], call: "Call") -> list[Candidate]:
    """Return what the last of ``words`` may become: those candidates that begin with it."""
    *before, last = words
    if "--" in before:
        return []
    path, given, awaiting = _walked(before)
    _note(before, call)
    if awaiting:
        found = _values(awaiting, call)
    elif last.startswith("-"):
        name, equals, _ = last.partition("=")
        found = ((f"{name}={value}", text) for value, text in _values(name, call)) if equals else _options(path)
    else:
        found = _next_words(path, given, call)
    return [(value, text) for value, text in found if value.startswith(last) and _is_plain(value)]


def of_server(words: Sequence[str]) -> list[str] | None:
    """Return the words after ``server`` of a line that is the control plane's to complete; ``None`` for any other."""
    for end in range(1, len(words)):
        if _walked(words[:end])[0] == ("server",):
            return list(words[end:])
    return None


def _walked(words: Sequence[str]) -> tuple[tuple[str, ...], list[str], str]:
    """Return the command's words, what was given to it, and the option that still awaits its value."""
    path: tuple[str, ...] = ()
    given: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-") and word != "-":
            if "=" not in word and _takes_value(word, path) and next(rest, None) is None:
                return path, given, word
        elif _row((*path, word)) is not None and not given:
            path = (*path, word)
        else:
            given.append(word)
    return path, given, ""


def _note(words: Sequence[str], call: "Call") -> None:
    """Take the global options that stand on the line already: they decide whose names are offered."""
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        option = SPELLED.get(name)
        if option is not None and option.name in ("profile", "mode", "dev"):
            with suppress(Failure):
                call.given.add(option, option.value if option.metavar is None else value if equals else following)


def _row(path: tuple[str, ...]) -> "Verb | Foreign | Noun | None":
    from cmdop_cli.catalog import row

    return row(path)


def _next_words(path: tuple[str, ...], given: Sequence[str], call: "Call") -> Iterable[Candidate]:
    if not path:
        return () if given else ((name, entry.summary) for name, entry in CATALOG.items() if not entry.hidden)
    entry = _row(path)
    verbs: Iterator[Candidate] = iter(())
    if isinstance(entry, Noun) and not given:
        verbs = ((name, each.summary) for name, each in entry.verbs.items() if not each.hidden)
    arguments = [each for each in _parameters(path) if each.param_type_name == "argument"]
    if not arguments:
        return verbs
    return chain(verbs, _values(arguments[min(len(given), len(arguments) - 1)].name or "", call))


def _options(path: tuple[str, ...]) -> Iterator[Candidate]:
    for each in _parameters(path):
        if each.param_type_name == "option" and not each.hidden:
            yield each.opts[0], each.help or ""
    for option in GLOBAL_OPTIONS:
        yield option.spellings[0], option.help
    yield "--help", "print help"


def _takes_value(word: str, path: tuple[str, ...]) -> bool:
    if word in VALUED:
        return True
    return any(word in each.opts and not each.is_flag for each in _parameters(path) if each.param_type_name == "option")


def _parameters(path: tuple[str, ...]) -> list[Any]:
    entry = _row(path)
    if isinstance(entry, Noun) and entry.otherwise is not None:  # the verb that may be left out
        entry = entry.verbs[entry.otherwise]
    if not isinstance(entry, Verb):
        return []
    from cmdop_cli.app import made

    return list(made(path[-1], entry).params)


def _values(name: str, call: "Call") -> Iterable[Candidate]:
    kind = name.lstrip("-").replace("-", "_")
    source = _SOURCES.get("workspace" if name == "-w" else "output" if name == "-o" else kind)
    return source(call) if source else ()


def _workspaces(call: "Call") -> Iterator[Candidate]:
    resolution = call.resolution
    identity = call.state.identity(resolution.profile, resolution.mode)
    for each in identity.memberships if identity else ():
        if each.place.slug:
            yield each.place.slug, each.name


def _profiles(call: "Call") -> Iterator[Candidate]:
    return ((name, "") for name in dict.fromkeys((*call.local.profiles().names(), *call.state.choices)))


def _machines(call: "Call") -> Iterator[Candidate]:
    from cmdop_cli import machine_list

    return ((name, "") for name in machine_list.kept(call))


def _settings(_: "Call") -> Iterator[Candidate]:
    from cmdop_cli.settings import SETTINGS

    return ((name, setting.text) for name, setting in SETTINGS.items())


def _roles(_: "Call") -> Iterator[Candidate]:
    from cmdop_wire.vocab import Role

    return ((str(role), "") for role in Role)


def _scopes(_: "Call") -> Iterator[Candidate]:
    from cmdop_wire.vocab import Scope

    return ((str(scope), "") for scope in Scope)


def _operations(_: "Call") -> Iterator[Candidate]:
    from cmdop_wire.vocab import GateOperation

    return ((str(operation), "") for operation in GateOperation)


def _states(_: "Call") -> Iterator[Candidate]:
    from cmdop_wire.vocab import KeyState

    return ((word, "") for word in (*KeyState, "all"))


def _of(words: Sequence[str]) -> Callable[["Call"], Iterator[Candidate]]:
    return lambda _: ((word, "") for word in words)


_SOURCES: dict[str, Callable[["Call"], Iterable[Candidate]]] = {
    "workspace": _workspaces,
    "slug": _workspaces,
    "expect": _workspaces,
    "to": _workspaces,
    "profile": _profiles,
    "old": _profiles,
    "machine": _machines,
    "setting": _settings,
    "mode": _of(MODES),
    "new": _of((*MODES, "toggle")),
    "output": _of(OUTPUTS),
    "role": _roles,
    "scope": _scopes,
    "operation": _operations,
    "state": _states,
    "shell": _of(tuple(SCRIPTS)),
}


def _is_plain(value: str) -> bool:
    """Keep from the shell whatever it could read as more than a word; names come from servers (D-24)."""
    return bool(value) and value.isascii() and all(each.isalnum() or each in "-_.:=/@" for each in value)
