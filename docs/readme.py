"""Runs every command of README.md on a throw-away server, on a terminal of 80 columns.

``python -m docs.readme`` writes what they print into the file; ``played`` is what a test compares with it. What differs
from run to run (ids, secrets, times, ports, hashes) is shown as in the first run.
"""

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cmdop_cli.demo.terminal import Terminal, settled

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PROMPT = "$ "
JOB = re.compile(r"\[\d+\].*")
DONE = "--- this command has ended: "
SECRET = re.compile(r"\b(cmd_[a-z0-9-]+_[0-9A-Za-z]{4})([0-9A-Za-z]{32})\b")
CHANGING = (
    (re.compile(r"\b(ws|usr|key|evt|sig|fam|req|mch|ses)_[0-9a-z]{20}\b"), r"\1_…"),
    (re.compile(r"\b(cmd_[a-z0-9-]+_|cmd(?:at|rt|dc|st)_)[0-9A-Za-z]+"), r"\1…"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?Z?)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{16,64}\b|[0-9A-Za-z+/]{40,88}=*"), "<hash>"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "<server>"),
    (re.compile(r"\bcmdop [\d.]+ o(?:n \S+|n?\.\.\.)"), "<client>"),  # a long host name is cut to fit the column
    (re.compile(r"\bOS user \S+"), "OS user <user>"),
    (re.compile(r"\b\d+ s(?:econds)?\b|\bnow\b"), "<while>"),
)


def alike(text: str) -> str:
    """Return ``text`` with everything that changes from run to run replaced, and widths forgotten."""
    for pattern, shown in CHANGING:
        text = pattern.sub(shown, text)
    return re.sub(r"[ ─]+", " ", text).strip()


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Return each command of the document with the output that is printed below it."""
    for block in BLOCK.finditer(text):
        for part in re.split(r"(?m)^\$ ", block.group(1))[1:]:
            command, _, output = part.partition("\n")
            yield command, output


class Shell:
    """One bash for the whole document, as a reader would have; its home is a new folder."""

    def __init__(self, home: Path, port: int | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CMDOP_", "XDG_"))}
        for name in ("CI", "NO_COLOR", "COLUMNS", "LINES"):
            kept.pop(name, None)
        environment = {
            **kept,
            "HOME": str(home),
            "CMDOP_CREDENTIAL_STORE": "file",
            "NO_COLOR": "1",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            **({"CMDOP_PORT": str(port), "CMDOP_SERVER_URL": f"http://127.0.0.1:{port}"} if port else {}),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._home = str(home)
        self._terminal = Terminal(["bash", "--norc", "--noediting", "-i"], {**environment, "PS1": "", "PS2": ""})
        self._run("stty -echo; PS1=; set +m; cd")

    def run(self, command: str) -> str:
        """Return what one command prints, errors too; what it prints is how a reader sees whether it worked."""
        if command.endswith("&"):
            # A server in the background: this is the last line that it prints when it serves.
            self._terminal.write(f"{command}\n")
            before = len(self._terminal.text)
            self._terminal.read_until(re.compile("Ctrl-C stops it"), before)
            return self._shown(self._terminal.text[before:])
        return self._run(command)

    def _run(self, command: str) -> str:
        before = len(self._terminal.text)
        self._terminal.write(f"{command}\nprintf '\\n{DONE}%s\\n' $?\n")
        self._terminal.read_until(re.compile(re.escape(DONE) + r"\d+"), before)
        output, _, _ = self._terminal.text[before:].rpartition(DONE)
        return self._shown(output)

    def _shown(self, output: str) -> str:
        # A reader's home and host are not ours, and a key in a document is a false alarm for whoever scans for keys.
        text = settled(output).replace(self._home, "~").replace(f" on {socket.gethostname()}", " on pc")
        text = SECRET.sub(lambda found: found.group(1) + "x" * len(found.group(2)), text)
        lines = text.strip("\n").split("\n")
        return "\n".join(line.rstrip() for line in lines if not JOB.fullmatch(line))

    def close(self) -> None:
        """End the shell and the server that it started."""
        self._run("kill %1; wait")
        self._terminal.close()


def played(text: str, port: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Run every command of ``text`` in order; yield the command, what is printed in the document, what it printed.

    ``port`` stands in for the default one, which may be taken.
    """
    with tempfile.TemporaryDirectory(prefix="cmdop-readme-") as home:
        shell = Shell(Path(home), port)
        try:
            for command, shown in commands(text):
                yield command, shown, shell.run(command)
        finally:
            shell.close()


def main() -> None:
    """Write the real output below each command."""
    text = README.read_text()
    real = {command: output for command, _, output in played(text)}

    def block(found: re.Match[str]) -> str:
        parts = [
            f"{PROMPT}{command}\n" + (f"{real[command]}\n" if real[command] else "")
            for command, _ in commands(found.group(0))
        ]
        return "```console\n" + "".join(parts) + "```"

    README.write_text(BLOCK.sub(block, text))


if __name__ == "__main__":
    main()
