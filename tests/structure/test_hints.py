"""Whatever we tell people to type can be typed: every ``cmdop …`` in a text is a command, with options that it has."""

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from cmdop_cli import app
from cmdop_cli.catalog import CATALOG, Foreign, Noun, Verb, row
from tests.structure.test_repository import WRITTEN, code

# Where a command begins in a text: at its beginning, after a colon, a prompt, a mark of code, or a word that leads on.
BEGINNING = re.compile(r"(?:^|: |`|\$ |\bor |\bthen |\brun |\buse |\bsudo |[A-Z]=\S+ )\bcmdop(?= )", re.MULTILINE)
END = re.compile(r"[`\n|<>;]|, or |, then |\s#|\. |\.$")
HOLE = "\x00"  # what an f-string fills in
PROSE = {"cmdop control plane"}  # the name in a certificate
# Who reads these is at the server's host; anybody else cannot do anything with «cmdop server …».
AT_THE_HOST = re.compile(
    r"cmdop_server/(?:management/.*|__main__|checks|config|data_dir|schema|serve|tls)\.py"
    r"|cmdop_cli/(?:demo/\w+|commands/server)\.py"
)


class Named(NamedTuple):
    """A command as a text names it."""

    place: str
    words: tuple[str, ...]


def texts(name: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file with their lines, docstrings aside, f-strings with holes."""
    tree = code(name)
    passed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed.update(id(part) for part in node.values)
            parts = (str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.lineno, node.value


def named() -> Iterator[Named]:
    """Yield every command that a text of ours names."""
    for name in WRITTEN:
        for line, text in texts(name):
            for found in BEGINNING.finditer(text):
                if text not in PROSE:
                    typed = END.split(text[found.end() :], maxsplit=1)[0]
                    # What is filled in behind a word is an option or nothing; a hole of its own is an argument.
                    words = tuple(word.rstrip(HOLE) or HOLE for word in typed.split())
                    if words:
                        yield Named(f"{name}:{line}", words)


FOUND = sorted(set(named()))


@cache
def options(words: tuple[str, ...]) -> frozenset[str]:
    """Return the options of a verb."""
    verb = row(words)
    assert isinstance(verb, Verb)
    params = app.made(words[-1], verb).params
    return frozenset(name for each in params for name in (*each.opts, *each.secondary_opts)) | {"--help"}


def problem(words: tuple[str, ...]) -> str | None:
    """Return what is wrong with a command."""
    here, path = CATALOG, ()
    found: object = None
    for word in words:
        if word not in here:
            break
        found, path = here[word], (*path, word)
        here = found.verbs if isinstance(found, Noun) else {}
    rest = words[len(path) :]
    if isinstance(found, Foreign):
        return None if path != ("server",) else server_problem(rest)
    if isinstance(found, Noun):
        if rest[:1] == ("--help",) or rest[:1] == (HOLE,) or rest[:1] == ("…",):
            return None
        verb = found.alone if not rest or rest[0].startswith("-") else found.otherwise
        if verb is None:
            return f"{' '.join(path)} has no {rest[0] if rest else 'meaning alone'}"
        path = (*path, verb)
    elif found is None and not words[0].startswith("--") and words[0] not in (HOLE, "COMMAND", "…"):
        return f"there is no {words[0]}"
    if row(path) is None:
        return None
    unknown = [
        word for word in rest if word.startswith("--") and word != "--" and word.partition("=")[0] not in options(path)
    ]
    return f"{' '.join(path)} has no {', '.join(unknown)}" if unknown and "--" not in rest else None


def server_problem(words: tuple[str, ...]) -> str | None:
    """Return what is wrong with the arguments of ``cmdop server``."""
    from cmdop_server.__main__ import Grammar

    parser: argparse.ArgumentParser = Grammar().parser
    for number, word in enumerate(words):
        if word == "…":
            return None
        below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if not below:
            unknown = [
                each for each in words[number:] if each.startswith("--") and each not in parser._option_string_actions
            ]
            return f"server has no {unknown}" if unknown else None
        if word not in below[0].choices:
            return f"server has no {word}"
        parser = below[0].choices[word]
    return None


def test_enough_is_found_to_be_worth_a_test() -> None:
    assert len(FOUND) > 150
    assert any(each.words[:2] == ("server", "start") for each in FOUND)


@pytest.mark.parametrize("each", FOUND, ids=lambda each: f"{each.place} {' '.join(each.words)}".replace(HOLE, "_"))
def test_what_a_text_names_can_be_typed(each: Named) -> None:
    assert problem(each.words) is None


def test_only_who_is_at_the_host_is_sent_to_the_server() -> None:
    sent = [each for each in FOUND if each.words[:1] == ("server",) and not AT_THE_HOST.match(each.place)]
    assert sent == []


@pytest.mark.parametrize(
    "line", ["workspace", "workspace delete acme", "server restart", "server start --wat", "login --wat", "invite bob"]
)
def test_what_cannot_be_typed_is_found_out(line: str) -> None:
    assert problem(tuple(line.split())) is not None
