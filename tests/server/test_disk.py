"""A disk that takes no more: every command of the operator says so in a sentence, wherever it happens."""

import json
import shlex
import subprocess
import sys

import pytest

from tests.operating import Host, host, used_dir, used_host
from tests.processes import STOP_SECONDS

__all__ = ["host", "used_dir", "used_host"]  # fixtures


def limited(host: Host, blocks: int, line: str) -> "subprocess.CompletedProcess[str]":
    """Run ``line`` where no file may grow beyond ``blocks`` × 512 bytes, as on a disk that is full."""
    program = f"ulimit -f {blocks}; exec {shlex.quote(sys.executable)} -m cmdop_server {line}"
    return subprocess.run(
        ["/bin/sh", "-c", program],
        env=host.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # or it would leave halves of them behind
        cwd=host.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS * 2,
    )


@pytest.mark.parametrize("blocks", [0, 16, 200, 600], ids=lambda blocks: f"{blocks // 2} KiB")
def test_a_server_that_cannot_write_says_so(host: Host, blocks: int) -> None:
    done = limited(host, blocks, "start --ready-json")
    assert done.returncode == 78, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"refused: CMDOP_DATA_DIR: cannot write to {host.data_dir}: "), done.stderr
    assert done.stderr.endswith(f"fix: df -h {host.data_dir}\n")


def test_an_account_is_not_made_on_a_full_disk(used_host: Host) -> None:
    done = limited(used_host, 0, "user create late@example.com --token --json")
    assert done.returncode == 78, done.stderr
    said = json.loads(done.stderr)
    assert (said["code"], said["setting"], said["exit_code"]) == ("refused", "CMDOP_DATA_DIR", 78)
    assert done.stdout == ""


def test_an_answer_that_nobody_can_keep_is_told_from_a_data_directory(used_host: Host) -> None:
    done = limited(used_host, 1_000_000, "purge > /dev/full")
    assert done.returncode == 78, done.stderr
    assert done.stderr == "refused: stdout: cannot be written to: No space left on device\nfix: df -h .\n"
