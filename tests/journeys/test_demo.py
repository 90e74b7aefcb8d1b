"""``make demo`` is what a newcomer sees first: it plays to its end, shows what it promises, and leaves nothing."""

import subprocess
from pathlib import Path

import psutil

from tests.processes import bare_environment
from tests.terminal import COMMAND

PROMISED = (
    "alice@example.com signs in and approves all my workspaces",  # in a browser
    "alice$ cmdop workspace current --why",
    "but the key in CMDOP_API_KEY belongs to acme",
    "the role guest does not include key.create_personal",
    "error: another machine has the hostname web-1",
    "the answer is 42",
    "moved db-1 from globex to acme",
    "after alice pressed Enter",
    "the session on web-1 has ended",  # for who watched
    "alice$ cmdop audit head",
    "Nothing is left behind.",
    "cmdop server start",
)


def test_the_demo_plays_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    there, house = tmp_path / "tmp", tmp_path / "house"
    there.mkdir()
    house.mkdir()
    environ = bare_environment(house) | {"TMPDIR": str(there), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [str(COMMAND), "demo"], env=environ, cwd=house, capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    missing = [each for each in PROMISED if each not in ran.stdout]
    assert not missing, ran.stdout
    lines = ran.stdout.partition("To keep a control plane running:\n")[2].splitlines()
    path_first = f"  source {COMMAND.parent / 'activate'}"  # what is pasted must find cmdop, which is on no path here
    assert lines == [
        path_first,
        "  cmdop server start",
        "and in another terminal:",
        path_first,
        "  cmdop server bootstrap --email you@example.com --token-only | cmdop login --token -",
    ]
    assert list(there.iterdir()) == []
    assert [each.name for each in house.iterdir()] == []
    left = [each for each in psutil.process_iter(["cmdline"]) if str(there) in " ".join(each.info["cmdline"] or ())]
    assert not left
