"""Programs that the slow tier runs against, and how to get them: a missing one fails a test, it never skips it.

``python -m tests.tools`` prints the Debian packages that this machine lacks; ``.ci/run`` installs them.
"""

import shutil

# The program, and the Debian package that holds it.
TOOLS = {
    "bash": "bash",
    "zsh": "zsh",
    "fish": "fish",
    "git": "git",
    "vim": "vim",
    "less": "less",
    "htop": "htop",
    "chromium": "chromium",
    "curl": "curl",
    "jq": "jq",
}


def tool(name: str) -> str:
    """Return the path of a program, or fail the test with the line that installs it."""
    path = shutil.which(name)
    assert path is not None, f"this test needs {name}: apt-get install {TOOLS[name]}"
    return path


def missing() -> list[str]:
    """Return the packages whose programs this machine lacks."""
    return sorted(package for name, package in TOOLS.items() if shutil.which(name) is None)


if __name__ == "__main__":
    print(*missing())
