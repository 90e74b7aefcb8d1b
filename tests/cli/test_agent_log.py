"""What the agent writes down of others: a line for each message, private, and without secrets."""

import logging
from pathlib import Path

import pytest

from cmdop_cli.agent_foreground import keep_log
from cmdop_wire.ids import make_key

LOG = logging.getLogger("cmdop_agent")


@pytest.mark.parametrize(
    "words",
    ["ann\n2026-01-01T00:00:00+0000 INFO stopped", "ann\r\x1b[2Kmade up", "ann\x85next", "ann\u2028next", "\u202eann"],
)
def test_whoever_is_spoken_of_cannot_begin_another_line(tmp_path: Path, words: str) -> None:
    path = tmp_path / "agent.log"
    key = make_key("acme").text
    keep_log(path)
    try:
        LOG.info("session opened by %s", words)
        try:
            raise ValueError("ours")
        except ValueError:
            LOG.exception("a channel failed: %s", f"{words} {key}")
    finally:
        for handler in LOG.handlers[:]:
            LOG.removeHandler(handler)
            handler.close()
    text = path.read_bytes().decode()
    lines = text.splitlines()
    assert len([line for line in lines if line.startswith("20")]) == 2, lines
    assert all(line.isprintable() for line in lines)
    assert lines[2].startswith("Traceback")
    assert key not in text
    assert path.stat().st_mode & 0o777 == 0o600
