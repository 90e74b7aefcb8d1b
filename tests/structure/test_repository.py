"""What must be true of the files themselves: no secrets, no machine's paths, nothing unfinished, files that fit."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from cmdop_wire import ids
from tests.processes import REPOSITORY
from tests.tools import tool

PACKAGES = ("cmdop_wire", "cmdop_sdk", "cmdop_agent", "cmdop_cli", "cmdop_server")
LONGEST_FILE = 400  # lines; about 300 is the habit, beyond this it is two files
MADE_UP_SECRETS = {"docs/reference/vectors.json", "tests/wire/test_vectors.py"}
HERE = "tests/structure/test_repository.py"
# Built from pieces, so that this file does not contain them.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(?:wo" + "rk|ro" + r"ot)/\w|/tmp/pl" + "an"),
    "an unfinished place": re.compile(
        r"\b(?:TO" + "DO|FIX" + "ME|XX" + "X|HA" + "CK)\\b|raise NotImplemented" + "Error"
    ),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE " + "KEY-----"),
    "a package index": re.compile(r"(?:pypi|files\.pythonhosted|registry\.npmjs)" + r"\.org|--index-u" + "rl"),
}
SKIPS = re.compile(r"pytest\.(?:mark\.)?(?:skip|skipif|importorskip|xfail)\b|unittest\.skip")
POOR_NAMES = re.compile(r"^(?:managers?|helpers?|utils?|misc|data|handles?|handlers?)$")


@cache
def tracked() -> tuple[str, ...]:
    """Return what belongs to the repository, committed or about to be, relative to its root."""
    listed = subprocess.run(
        [tool("git"), "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.split("\n")  # fmt: skip
    return tuple(name for name in listed if name and (REPOSITORY / name).is_file())


@cache
def text_of(name: str) -> str:
    """Return a file's text, empty for what is no text."""
    try:
        return (REPOSITORY / name).read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def code(name: str) -> ast.Module:
    """Return a Python file, parsed."""
    return ast.parse(text_of(name), name)


PRODUCT = [name for name in tracked() if name.endswith(".py") and name.split("/")[0] in PACKAGES]
WRITTEN = [name for name in PRODUCT if "/migrations/" not in name and text_of(name).strip()]
TESTS = [name for name in tracked() if name.endswith(".py") and name.startswith("tests/")]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name in tracked()
        if name not in (HERE, "completions/_cmdop")
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert found == []


def test_no_file_holds_a_real_secret() -> None:
    candidates = re.compile(r"\bcmd(?:[a-z]{2})?_[A-Za-z0-9_-]{36,110}")

    def is_real(text: str) -> bool:
        try:
            ids.parse_key(text)
        except ValueError:
            return ids.token_kind(text) is not None
        return True

    found = [
        name
        for name in tracked()
        if name not in MADE_UP_SECRETS and any(is_real(text) for text in candidates.findall(text_of(name)))
    ]
    assert found == []


def test_no_test_is_skipped_and_none_sleeps_to_be_in_time() -> None:
    assert [name for name in TESTS if name != HERE and SKIPS.search(text_of(name))] == []


def test_every_file_fits_in_a_head() -> None:
    lengths = {name: len(text_of(name).splitlines()) for name in PRODUCT if "/migrations/" not in name}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def silent_parts(name: str) -> list[str]:
    """Return what is public in a module and has no docstring."""
    module = code(name)
    silent = [] if ast.get_docstring(module) else [name]
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (module, *classes):
        for node in owner.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            is_contract = any(re.search("overload|setter|override", ast.dump(each)) for each in node.decorator_list)
            if not (node.name.startswith("_") or is_contract or node.name == "Meta" or ast.get_docstring(node)):
                silent.append(f"{name}: {node.name}")
    return silent


def test_every_module_and_its_public_parts_say_what_they_are() -> None:
    assert [part for name in WRITTEN for part in silent_parts(name)] == []


def test_names_say_what_a_thing_is() -> None:
    poor = [name for name in PRODUCT if POOR_NAMES.match(Path(name).stem)]
    for name in WRITTEN:
        poor += [
            f"{name}: {node.name}"
            for node in ast.walk(code(name))
            if isinstance(node, ast.ClassDef) and re.search(r"(?:Manager|Helper|Util|Utils|Handler)$", node.name)
            if node.name != "AccountManager"  # Django's word, Django's contract
        ]
    assert poor == []


def test_only_one_place_prints_to_people() -> None:
    allowed = {"cmdop_cli/output.py", "cmdop_server/management/say.py"}
    printing = {
        name
        for name in WRITTEN
        for node in ast.walk(code(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing - allowed == set()
