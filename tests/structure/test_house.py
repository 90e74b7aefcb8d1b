"""The house around the code: import contracts, locks, generated documents, the pages that describe it."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.processes import REPOSITORY, bare_environment
from tests.structure.test_repository import PACKAGES, text_of, tracked

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
BIN = Path(sys.executable).parent
PAGES = [name for name in tracked() if name.endswith(".md")]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def normal(name: str) -> str:
    """Return a distribution's name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name, maxsplit=1)[0]).lower()


def pins(lock: str) -> set[tuple[str, str]]:
    """Return (name, version) of every pin; a name may have one for each kind of interpreter."""
    return set(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==(\S+)", text_of(f"requirements/{lock}.lock"), re.MULTILINE))


def asked(extra: str | None) -> set[str]:
    """Return the names that pyproject.toml asks for."""
    project = PROJECT["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {normal(name) for name in listed} - {normal(project["name"])}


def test_import_contracts_hold(tmp_path: Path) -> None:
    ran = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        env=bare_environment(tmp_path), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_generated_documents_are_up_to_date(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        env=bare_environment(tmp_path), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_locks_agree_and_each_holds_the_smaller_one() -> None:
    client, server, dev = pins("client"), pins("server"), pins("dev")
    assert client <= server <= dev
    assert asked(None) <= dict(client).keys()
    assert asked("server") <= dict(server).keys()
    assert asked("dev") <= dict(dev).keys()
    assert {normal(name) for name in PROJECT["dependency-groups"]["build"]} <= dict(server).keys()


@pytest.mark.parametrize("lock", ["client", "server", "dev"])
def test_every_pin_has_hashes_and_no_index_is_named(lock: str) -> None:
    text = text_of(f"requirements/{lock}.lock")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock))
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


def test_every_dependency_is_argued_for_once() -> None:
    page = text_of("docs/decisions/dependencies.md")
    argued = re.findall(r"^\| \[?`([^`]+)`", page, re.MULTILINE)
    wanted = (
        asked(None) | asked("server") | asked("dev") | {normal(name) for name in PROJECT["dependency-groups"]["build"]}
    )
    assert sorted(normal(name) for name in argued) == sorted(wanted)


def test_every_decision_is_in_the_index() -> None:
    index = text_of("docs/decisions/README.md")
    pages = {Path(name).name for name in tracked() if name.startswith("docs/decisions/")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    folder = (REPOSITORY / page).parent
    assert [link for link in LINK.findall(text_of(page)) if not (folder / link).exists()] == []


def test_the_layout_page_names_everything_at_the_top_and_every_server_app() -> None:
    page = text_of("docs/layout.md")
    top = {name.split("/")[0] for name in tracked()} - {".gitignore"}
    apps = {"/".join(name.split("/")[:2]) for name in tracked() if re.match(r"cmdop_server/\w+/__init__\.py", name)}
    assert {name for name in top | {app.split("/")[1] for app in apps} if name not in page} == set()


@pytest.mark.parametrize("package", ["cmdop_cli", "cmdop_sdk", "cmdop_agent", "cmdop_server"])
def test_the_layout_page_places_every_module_of_a_package_and_none_that_is_gone(package: str) -> None:
    (table,) = re.findall(rf"\| modules of `{package}` \|\n((?:\|.*\n)+)", text_of("docs/layout.md"))
    named = set(re.findall(r"`(\w+)`", table))
    there = {Path(name).stem for name in tracked() if re.fullmatch(rf"{package}/\w+\.py", name)}
    assert named - {"__main__"} == there - {"__init__", "__main__"}


def test_every_variable_that_the_code_reads_is_documented() -> None:
    pages = text_of("docs/operations.md") + text_of("docs/reference/cli.md")
    read = {
        variable
        for name in tracked()
        if name.endswith(".py") and name.split("/")[0] in PACKAGES
        for variable in re.findall(r"[\"'](CMDOP_[A-Z_]*[A-Z])[\"']", text_of(name))
    }
    assert {variable for variable in read if f"`{variable}`" not in pages} == set()


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "\n## Unreleased\n" in text_of("CHANGELOG.md")


def test_the_distribution_is_the_five_packages() -> None:
    assert tuple(sorted(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])) == tuple(sorted(PACKAGES))
    assert PROJECT["project"]["scripts"] == {"cmdop": "cmdop_cli.__main__:main"}


def test_make_lists_its_verbs(tmp_path: Path) -> None:
    # Without MAKELEVEL: below ``make test`` it would say which directory it enters.
    ran = subprocess.run(
        ["make", "help"],
        env=bare_environment(tmp_path), cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed = {line.split(" · ")[0] for line in ran.stdout.splitlines()}
    assert listed == {"help", "demo", "test", "test-all", "check", "fmt", "bench", "docs", "lock"}


def test_every_schema_of_the_api_has_a_name_of_its_own() -> None:
    # The OpenAPI document knows them by their bare names: of two that are called the same, one would vanish.
    files = [name for name in tracked() if name.startswith("cmdop_server/api/") and name.endswith(".py")]
    names = [node.name for name in files for node in ast.parse(text_of(name)).body if isinstance(node, ast.ClassDef)]
    assert len(names) > 50
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
