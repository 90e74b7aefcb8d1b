"""What a command loads, by count and by name: milliseconds wobble, modules do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.places import KEYS, state, write

REPOSITORY = Path(__file__).parent.parent.parent

# A module that must not be loaded, and why not.
HEAVY = {
    "asyncio": "0.1 s, and only the network needs it",
    "httpx": "0.3 s; only the SDK's transport may",
    "keyring": "0.2 s, and a desktop's keyring may hang",
    "pydantic": "0.3 s; it belongs to the server",
    "rich": "0.1 s; our tables are plain text",
    "django": "the server's",
    "msgspec": "answers of the network only",
    "websockets": "streams only",
    "ssl": "the network only",
    "yaml": "the gate's rules only",
    "importlib.metadata": "reads every installed package",
    "filelock": "30 ms; on POSIX one call of flock does the same",
}
FAST = HEAVY | {
    "typer": "0.1 s, as long as everything else together",
    "dataclasses": "brings inspect, a third of the time there is",
    "pathlib": "brings urllib",
    "typing": "for annotations only",
    "tomllib": "state.json is all there is to read",
}
LEAN = HEAVY | {"typer": "nothing on the line needs a parser"}
NETWORKED = {
    "click": "httpx's own command line, which is not ours",
    "rich": "the same",
    "pygments": "the same",
    "keyring": "a key was given",
    "websockets": "streams only",
    "yaml": "the gate's rules only",
    "filelock": "nothing is locked",
    "importlib.metadata": "reads every installed package",
}
# The line, the most modules, what it must not load.
BUDGETS: list[tuple[list[str], int, dict[str, str]]] = [
    (["--version"], 100, FAST),
    (["workspace", "current"], 100, FAST),
    (["workspace", "current", "--json"], 100, FAST),
    (["prompt"], 100, FAST),
    (["--help"], 100, LEAN),
    (["workspace", "--help"], 100, LEAN),
    (["help"], 100, LEAN),
    (["help", "connect", "permissions"], 100, LEAN),
    (["auth", "create-key", "--help"], 230, HEAVY),
    (["workspace", "current", "--why"], 230, HEAVY),
    (["-w", "beta", "workspace", "current"], 230, HEAVY),
    (["workspace", "use", "beta"], 140, LEAN),
    (["workspace", "use", "-"], 140, LEAN),
    (["workspace", "use", "--none"], 230, HEAVY),
    (["workspace", "switch", "beta"], 140, LEAN),
    (["mode"], 230, HEAVY),
    (["mode", "dev"], 230, HEAVY),
    (["profile", "list"], 230, HEAVY),
    (["profile", "use", "default"], 230, HEAVY),
    (["config", "list", "--show-origin"], 230, HEAVY),
    (["config", "get", "output"], 230, HEAVY),
    (["config", "path"], 230, HEAVY),
    (["help", "exit-codes"], 230, HEAVY),
    (["help", "environment"], 230, HEAVY),
    (["completion", "bash"], 230, HEAVY),
    (["complete", "works"], 230, HEAVY),
    (["complete", "workspace", "use", "b"], 230, HEAVY),
    (["workspace", "curent"], 230, HEAVY),
    (["workspace", "current", "--nosuch", "--json"], 230, HEAVY),
]
CHILD = """
import json, os, sys
opened = []
def heard(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])
sys.addaudithook(heard)
sys.argv = ["cmdop", *json.loads(sys.argv[1])]
from cmdop_cli.__main__ import run
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
try:
    status = run()
except SystemExit as ended:
    status = ended.code
os.write(kept, json.dumps({"status": status, "modules": sorted(sys.modules), "opened": opened}).encode())
"""


def loaded(environ: dict[str, str], line: list[str], status: int | None = None) -> tuple[list[str], list[str]]:
    """Run a line in a fresh interpreter; return the modules it loaded and the local files it opened."""
    folder = write(environ, state(previous={"id": None, "slug": "beta"})).parent
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(line)], env=environ, cwd=REPOSITORY, capture_output=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["status"] in ((0, 2) if status is None else (status,)), (line, done.stderr)
    return report["modules"], [each for each in report["opened"] if each.startswith(str(folder))]


@pytest.mark.parametrize(("line", "most", "forbidden"), BUDGETS, ids=[" ".join(line) for line, _, _ in BUDGETS])
def test_a_command_loads_no_more_than_it_needs(
    isolated: dict[str, str], line: list[str], most: int, forbidden: dict[str, str]
) -> None:
    modules, _ = loaded(isolated, line)
    wrong = {name: why for name, why in forbidden.items() if name in modules}
    assert not wrong
    assert len(modules) <= most, f"{len(modules)} modules"


@pytest.mark.parametrize("line", [["workspace", "list"], ["audit", "list"]], ids=" ".join)
def test_what_talks_to_the_network_loads_no_more_either(isolated: dict[str, str], line: list[str]) -> None:
    """Nobody listens there, which is found out after everything has been loaded."""
    environ = isolated | {"CMDOP_API_KEY": KEYS["acme"], "CMDOP_SERVER_URL": "http://127.0.0.1:9", "CMDOP_RETRIES": "0"}
    modules, _ = loaded(environ, line, status=Exit.UNREACHABLE)
    assert "httpx" in modules
    wrong = {name: why for name, why in NETWORKED.items() if name in modules}
    assert not wrong
    assert len(modules) <= 450, f"{len(modules)} modules"


def test_the_fast_path_reads_state_json_and_nothing_else(isolated: dict[str, str]) -> None:
    for line in (["workspace", "current"], ["prompt"]):
        _, opened = loaded(isolated, line)
        assert [Path(each).name for each in opened] == ["state.json"], line


def test_help_of_a_noun_imports_no_command(isolated: dict[str, str]) -> None:
    for line in (["--help"], ["workspace", "--help"], ["complete", "works"]):
        modules, _ = loaded(isolated, line)
        commands = {each for each in modules if each.startswith("cmdop_cli.commands.")}
        assert commands <= {"cmdop_cli.commands.completion"}, line


def test_importing_a_command_reads_no_local_file(isolated: dict[str, str]) -> None:
    """What is read at import is read by everybody who only wanted a name from the module."""
    code = """
import os, sys
import cmdop_cli.app, cmdop_cli.frame, cmdop_cli.completions, cmdop_cli.catalog
from cmdop_cli.catalog import paths, row, Verb
before = set()
sys.addaudithook(lambda event, arguments: before.add(str(arguments[0])) if event == "open" else None)
from cmdop_cli.app import load
for words in paths(hidden=True):
    load(row(words).target)
folder = os.environ["CMDOP_CONFIG_DIR"]
assert not [each for each in before if each.startswith(folder)], before
"""
    subprocess.run([sys.executable, "-c", code], env=isolated, cwd=REPOSITORY, check=True)
