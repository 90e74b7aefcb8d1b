"""Every command of README.md is run, in its order, and prints what the document says it prints."""

import socket

from docs.readme import README, alike, commands, played

PRINTED_LITERALLY = """
cmdop server start 2>server.log &
cmdop server bootstrap --email a@example.com --token-only | cmdop login --token -
cmdop workspace create "My Workspace" --slug my-workspace
cmdop workspace use my-workspace
cmdop workspace list
cmdop workspace current
cmdop workspace switch my-workspace
cmdop workspace members
cmdop --workspace=my-workspace auth list-keys
cmdop auth list-keys --workspace=my-workspace
cmdop auth create-key --name "my-laptop"
cmdop auth create-key --workspace --name "ci-cd"
cmdop audit list --days 30
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_command_prints_what_the_readme_says() -> None:
    differing = {
        command: (shown, printed)
        for command, shown, printed in played(README.read_text(), free_port())
        if alike(shown) != alike(printed)
    }
    assert differing == {}, "run: python -m docs.readme"


def test_the_readme_shows_at_least_a_session() -> None:
    assert len(list(commands(README.read_text()))) >= 10


def test_the_commands_of_the_documents_work_literally() -> None:
    lines = PRINTED_LITERALLY.strip().splitlines()
    text = "```console\n" + "".join(f"$ {line}\n" for line in lines) + "```"
    failed = [command for command, _, printed in played(text, free_port()) if "error:" in printed]
    assert failed == []
